"""The flex template: its parameters are the command's, and its launcher submits what they say."""

import json
import logging
import re
import typing
from pathlib import Path
from typing import Any

import pytest
import typer
from google.cloud import dataflow
from google.protobuf import json_format
from support.cloud.fake_gcs import FakeGcs
from support.cloud.submission import GIVEN, essence, upload
from support.deploy.deployment import DEPLOY, module, project_version
from support.jobs import DATE

from pipeline.commands.app import app
from pipeline.errors import ConfigError
from pipeline.jobs.config import JobConfig
from pipeline.submitting import Submitted
from transforms.batches.formats import FORMATS

flex = module("flex/main.py")
METADATA = json.loads((DEPLOY / "flex/metadata.json").read_text(encoding="utf-8"))
PARAMETERS = {parameter["name"]: parameter for parameter in METADATA["parameters"]}
NOT_FOR_TEMPLATES = {"plan", "detach", "log_format", "beam_options", "report"}
"""Options of the command that a launch has other means for, or none."""
OPTIONS = {
    "project": GIVEN["project"],
    "region": GIVEN["region"],
    "sdk_container_image": GIVEN["image"],
    "temp_location": "gs://my-bucket/temp",
    "job_name": "nightly-20261121",
    "runner": "DataflowRunner",
    "labels": '{"goog-dataflow-provided-template-type":"flex"}',
}
"""What the launcher adds by itself."""
JOB = {"bundle": "gs://my-bucket/bundle", "input": "gs://my-bucket/texts/*.parquet", "output": "gs://my-bucket/out"}


def arguments(**values: str) -> list[str]:
    return [f"--{name}={value}" for name, value in {**OPTIONS, "profile": "dataflow-gpu-l4", **values}.items()]


def test_dataflow_takes_the_metadata() -> None:
    metadata = dataflow.TemplateMetadata()
    json_format.ParseDict(METADATA, metadata._pb)
    assert len(metadata.parameters) == len(PARAMETERS) == len(flex.PARAMETERS)
    with pytest.raises(json_format.ParseError):
        json_format.ParseDict({**METADATA, "paramaters": []}, dataflow.TemplateMetadata()._pb)


def test_parameters_are_the_options_of_the_command() -> None:
    command = typer.main.get_command(app).commands["submit"]  # type: ignore[attr-defined]
    required = {option.name: option.required for option in command.params if option.name not in NOT_FOR_TEMPLATES}
    assert {name: not parameter.get("isOptional", False) for name, parameter in PARAMETERS.items()} == required
    assert set(flex.PARAMETERS) == PARAMETERS.keys()


def test_the_nightly_launch_is_one_that_dataflow_and_the_launcher_take(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.loads((DEPLOY / "flex/launch.json").read_text(encoding="utf-8"))
    request = dataflow.LaunchFlexTemplateRequest()
    json_format.ParseDict(body, request._pb)
    launch = request.launch_parameter
    assert launch.parameters.keys() <= PARAMETERS.keys()
    # The launcher needs no CUDA, and starts sooner without.
    assert launch.container_spec_gcs_path.endswith(f"/bert-batch-{project_version()}-cpu.json")
    monkeypatch.setattr(flex, "_local", lambda path, folder: path)
    monkeypatch.setattr(flex, "load_job", lambda file, flags: (file, flags))
    environment = {"temp_location": launch.environment.temp_location, "max_num_workers": launch.environment.max_workers}
    image = {"sdk_container_image": launch.environment.sdk_container_image}
    read = flex.read(arguments(**launch.parameters, **environment, **image))
    # A scheduler's request is the same every night: the command finds out which day that is.
    assert read.job == (launch.parameters["job"], {"date": "yesterday", "if_published": "skip"})
    assert (read.profile.temp, read.profile.max_workers) == (launch.environment.temp_location, 4)


def test_types_and_values_are_those_of_the_job() -> None:
    for name, field in JobConfig.model_fields.items():
        parameter = PARAMETERS.get(field.alias or name, {})
        kinds = {field.annotation, *typing.get_args(field.annotation)} - {type(None)}
        if parameter:
            assert (parameter["paramType"] == "BOOLEAN") == (bool in kinds), name
            assert (parameter["paramType"] == "NUMBER") == bool({int, float} & kinds), name
            # A default here would be passed with every launch, and override the job file.
            assert "defaultValue" not in parameter
        if parameter and typing.get_origin(field.annotation) is typing.Literal:
            assert regex_of(name) == f"^({'|'.join(typing.get_args(field.annotation))})$"
    assert set(re.findall(r"\w+", regex_of("format"))) == set(FORMATS.values())
    shipped = [path.stem for path in (DEPLOY / "profiles").glob("dataflow-*.yaml")]
    assert [name for name in shipped if not re.fullmatch(regex_of("profile"), name)] == []
    assert not re.fullmatch(regex_of("profile"), "local")


def regex_of(name: str) -> str:
    (regex,) = PARAMETERS[name]["regexes"]
    return str(regex)


def test_every_kind_of_parameter_is_read() -> None:
    values = {
        **JOB,
        "input": "gs://a/day={date}/*.parquet,gs://b/*.parquet",
        "input_filter": "",
        "rename": "label=gold,a=b",
        "schema": "day:date,auto",
        "top_k": "2",
        "only_new": "true",
        "max_dead_fraction": "0.5",
        "set": "gpu.count=1,labels.team=ml,disk_gb=",
    }
    launch = flex.read(arguments(**values))
    assert launch.job == JobConfig(
        bundle=JOB["bundle"],
        input=("gs://a/day={date}/*.parquet", "gs://b/*.parquet"),
        output=JOB["output"],
        rename={"label": "gold", "a": "b"},
        schema={"day": "date", "*": "auto"},
        top_k=2,
        only_new=True,
        max_dead_fraction=0.5,
    )
    assert launch.profile.labels == {"app": "bert-batch", "team": "ml"}
    assert (launch.profile.disk_gb, launch.profile.image) == (None, GIVEN["image"])
    assert launch.beam_options == [f"--{name}={value}" for name, value in OPTIONS.items()]


def test_a_condition_keeps_its_commas_and_equals_signs() -> None:
    condition = "day = '{date}' AND lang IN ('de', 'en')"
    values = {"input": "bq://my-project.d.t", "input_filter": condition}
    assert flex.read(arguments(**{**JOB, **values})).job.input_filter == condition


def test_a_launch_overrides_the_job_file_and_the_profile(gcs: FakeGcs) -> None:
    for name, text in {
        "job.yaml": "bundle: gs://my-bucket/bundle\ninput: gs://my-bucket/{date}.csv\noutput: gs://my-bucket/out\n",
        "mine.yaml": "runner: dataflow\nregion: europe-west4\nmax_workers: 2\nlabels: {app: mine}\n",
    }.items():
        flex.store_for("gs://bucket").write(f"gs://bucket/conf/{name}", text.encode())
    files = {"job": "gs://bucket/conf/job.yaml", "profile": "gs://bucket/conf/mine.yaml"}
    launch = flex.read(arguments(**files, date="2026-11-20", max_num_workers="7", set="region=europe-west1"))
    assert (launch.job.date, launch.job.input) == ("2026-11-20", ("gs://my-bucket/{date}.csv",))
    assert (launch.profile.region, launch.profile.max_workers) == ("us-central1", 7)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"profile": ""}, "parameter profile is missing: one of dataflow-cpu"),
        ({"profile": "dataflow-gpu-l5"}, "--profile dataflow-gpu-l5: there is no such file"),
        ({**JOB, "rename": "gold"}, "parameter rename: 'gold' is not of the form key=value"),
        ({**JOB, "set": "gpu.count"}, "--set 'gpu.count' is not of the form key=value"),
        ({**JOB, "output": "bq://my-project.d.t"}, "needs --staging"),
        ({"bundle": JOB["bundle"]}, "output"),
        ({**JOB, "temp_location": ""}, "temp is missing"),
    ],
)
def test_mistakes_are_told(values: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        flex.read(arguments(**values))


def test_a_profile_for_one_machine_is_refused(tmp_path: Path) -> None:
    profile = tmp_path / "local.yaml"
    profile.write_text("runner: direct\n")
    launcher = [f"--profile={profile}", *(f"--{name}={value}" for name, value in JOB.items())]
    with pytest.raises(ConfigError, match="its runner is direct, but a template runs on dataflow"):
        flex.read(launcher)


def test_a_mistake_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert flex.main(arguments(profile="")) == 2
    assert "error: parameter profile is missing" in capsys.readouterr().err


def test_the_launcher_gets_its_template(
    bucket_folder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    upload(bucket_folder)
    file = tmp_path / "job_object"
    launch: dict[str, Any] = {
        "bundle": f"{bucket_folder}/bundle",
        "input": f"{bucket_folder}/validation.parquet",
        "output": f"{bucket_folder}/out",
        "rename": "label=gold_label",
        "date": DATE,
        "temp_location": f"{bucket_folder}/temp",
        "machine_type": "n2-standard-16",
        "template_location": str(file),
    }
    assert flex.main(arguments(**launch)) == 0
    sent = essence(json.loads(file.read_text(encoding="utf-8")))
    assert (sent["name"], sent["pool"]["machineType"]) == ("nightly-20261121", "n2-standard-16")
    assert sent["images"] == [GIVEN["image"]]
    assert sent["labels"]["goog-dataflow-provided-template-type"] == "flex"
    assert sent["labels"]["app"] == "bert-batch"
    assert "type:nvidia-l4" in str(sent["hints"])
    assert "template written" in capsys.readouterr().out


def test_a_published_date_is_left_alone_with_99(monkeypatch: pytest.MonkeyPatch) -> None:
    from transforms.runs.verdict_record import ALREADY_PUBLISHED, Verdict

    published = Verdict(status=ALREADY_PUBLISHED, run_id="r", folder="gs://my-bucket/out/dt=2026-11-21")
    monkeypatch.setattr(flex, "submit", lambda *_, **__: published)
    assert flex.main(arguments(**JOB)) == 99
    sent = Submitted(run_id="r", output="o", job_id="j", project="p", region="r", url="u")
    monkeypatch.setattr(flex, "submit", lambda *_, **__: sent)
    assert flex.main(arguments(**JOB)) == 0
