"""The real scoring job as it is sent to Dataflow: checked by Beam and by us, staged, asked for, and never run there."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
import requests
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from support.cloud.dataflow_stub import DataflowStub
from support.cloud.emulators import Emulators
from support.cloud.submission import (
    DEMO,
    GIVEN,
    as_local_workers,
    essence,
    golden,
    hints_of,
    names,
    read,
    sent_pipeline,
    upload,
)
from support.commands import ROOT, invoke
from support.jobs import DATE, NOW
from support.runs.forked import Forked

from pipeline.dataflow.profile import load_profile
from pipeline.errors import ConfigError, RunFailedError, TryLaterError
from pipeline.jobs.config import JobConfig
from pipeline.submitting import Submitted, submit
from transforms.batches.coder import RecordBatchCoder
from transforms.runs.history import list_runs

PROFILES = ("dataflow-cpu", "dataflow-gpu-l4", "dataflow-gpu-t4")
WRITE_GOLDEN = "WRITE_GOLDEN"
"""Set in the environment, it makes the golden files anew: look at what changed before you commit."""


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam warns of the emulator's bucket, and waits between looks and between tries; here for a moment."""
    caplog.set_level(logging.CRITICAL + 1)
    sleep = time.sleep
    fast = SimpleNamespace(sleep=lambda seconds: sleep(0.01), time=time.time)
    monkeypatch.setattr("apache_beam.runners.dataflow.dataflow_runner.time", fast)
    monkeypatch.setattr("apache_beam.utils.retry.time", fast)


@pytest.fixture(scope="module")
def uploaded(running_emulators: Emulators) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running_emulators.environment.items():
            patch.setenv(name, value)
        folder = f"gs://{running_emulators.bucket}/demo"
        upload(folder)
    return folder


@pytest.fixture
def demo(uploaded: str, bucket_folder: str) -> JobConfig:
    """The demo job, all on Cloud Storage."""
    return JobConfig(
        bundle=f"{uploaded}/bundle",
        input=f"{uploaded}/validation.parquet",
        output=f"{bucket_folder}/out",
        date=DATE,
        rename={"label": "gold_label"},
    )


@pytest.fixture
def given(bucket_folder: str) -> dict[str, str]:
    return {**GIVEN, "temp": f"{bucket_folder}/temp"}


Template = Callable[..., Any]


@pytest.fixture
def template(demo: JobConfig, given: Mapping[str, str], tmp_path: Path) -> Template:
    """Sends the demo with a profile, to a file in place of Dataflow: nothing of Beam's checks is left out."""

    def send(profile: str, **overrides: str) -> Any:
        file = tmp_path / "job.json"
        loaded = load_profile(f"deploy/profiles/{profile}.yaml", {**given, **overrides})
        job = demo.model_copy(update={"beam_options": (f"--template_location={file}",)})
        sent = submit(job, loaded, now=NOW)
        assert isinstance(sent, Submitted)
        return json.loads(file.read_text(encoding="utf-8"))

    return send


@pytest.fixture
def stub() -> Iterator[DataflowStub]:
    with DataflowStub() as running:
        yield running


Send = Callable[..., Any]


@pytest.fixture
def send(demo: JobConfig, given: Mapping[str, str]) -> Send:
    """Sends the demo to a stand-in for Dataflow."""

    def send(stub: DataflowStub, profile: str = "dataflow-gpu-l4", **settings: Any) -> Any:
        loaded = load_profile(f"deploy/profiles/{profile}.yaml", given)
        job = demo.model_copy(update={"beam_options": (f"--dataflow_endpoint={stub.url}",)})
        return submit(job, loaded, now=NOW, **settings)

    return send


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_decides_what_dataflow_is_asked_for(profile: str, template: Template, given: Any) -> None:
    job = template(profile)
    found = essence(job)
    if os.environ.get(WRITE_GOLDEN):
        golden(profile).parent.mkdir(exist_ok=True)
        golden(profile).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(golden(profile).read_text(encoding="utf-8"))
    assert found["name"] == "bert-batch-20261121"
    options = job["environment"]["sdkPipelineOptions"]["options"]
    assert options["pipelineUrl"].startswith(f"{given['temp']}/staging/")
    assert options["save_main_session"] is False
    assert "tensorflow_text" in options["beam_plugins"]


def test_only_the_scoring_step_asks_for_a_gpu(template: Template) -> None:
    pipeline = sent_pipeline(template("dataflow-gpu-l4"))
    hints = hints_of(pipeline)
    asked = {step: found for step, found in hints.items() if found}
    assert set(asked) == {step for step in hints if step.startswith("Score/RunInference/")}
    assert list(asked.values()) == [
        {
            "accelerator": "type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver:5xx",
            "min_ram_bytes": "14000000000",
        }
    ]
    assert {step.split("/")[0] for step in hints.keys() - asked.keys()} >= {"Read", "Featurize", "Score", "Write"}


def test_what_travels_between_workers_with_and_without_gpu_is_arrow(template: Template) -> None:
    pipeline = sent_pipeline(template("dataflow-gpu-l4"))
    steps = [s for s in pipeline.components.transforms.values() if s.environment_id and not s.subtransforms]
    place = {pcoll: step.environment_id for step in steps for pcoll in step.outputs.values()}
    crossing = {
        pcoll
        for step in steps
        for pcoll in step.inputs.values()
        if place.get(pcoll, "") not in ("", step.environment_id)
    }
    assert len(crossing) == 2  # The tokens, and what the model says of them.
    context = beam.runners.pipeline_context.PipelineContext(pipeline.components)
    for pcoll in crossing:
        coder = context.coders.get_by_id(pipeline.components.pcollections[pcoll].coder_id)
        assert isinstance(coder, RecordBatchCoder), pcoll


def test_with_one_pool_every_worker_has_the_gpu(template: Template) -> None:
    job = template("dataflow-gpu-l4", **{"gpu.placement": "all", "gpu.min_ram": "", "machine_type": ""})
    found = essence(job)
    assert found["service_options"] == ["worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver:5xx"]
    assert found["pool"]["machineType"] == "g2-standard-4"
    assert found["hints"] == {}


def test_what_is_sent_needs_nothing_of_the_machine_it_came_from(
    send: Send, stub: DataflowStub, demo: JobConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = send(stub, "dataflow-cpu", wait=False)
    (job,) = stub.created
    assert json.loads(read(f"{demo.home}/_runs/{sent.run_id}/job.json"))["job_id"] == sent.job_id
    code, out, _ = invoke("runs", "--output", demo.home)
    assert code == 0
    assert sent.job_id in out
    assert f"https://console.cloud.google.com/dataflow/jobs/us-central1/{sent.job_id}?project=demo-project" in out
    # A worker elsewhere gets the pipeline, and nothing else.
    monkeypatch.chdir(tmp_path)
    pipeline = as_local_workers(sent_pipeline(job))
    FnApiRunner().run_via_runner_api(pipeline, beam.options.pipeline_options.PipelineOptions()).wait_until_finish()
    manifest = json.loads(read(f"{demo.home}/dt={DATE}/_manifest.json"))
    assert manifest["run_id"] == sent.run_id
    assert manifest["counts"]["scored"] == pq.read_metadata(DEMO / "validation.parquet").num_rows
    _, out, _ = invoke("runs", "--output", demo.home)
    assert sent.run_id in out
    assert sent.job_id not in out


def test_a_job_that_fails_ends_with_its_name_and_publishes_nothing(send: Send, demo: JobConfig) -> None:
    told: list[Submitted] = []
    said = "the job ended FAILED; Dataflow job 2026-11-22_02_00_00-1, see https:"
    failing = DataflowStub(states=["JOB_STATE_RUNNING", "JOB_STATE_FAILED"])
    with failing as stub, pytest.raises(RunFailedError, match=said):
        send(stub, tell=told.append)
    assert [one.job_id for one in told] == ["2026-11-22_02_00_00-1"]
    assert not [name for name in names(demo.home) if "/dt=" in name]


@pytest.mark.parametrize("how", [{"fail": (429, "Quota 'NVIDIA_L4_GPUS' exceeded")}, {"duplicate": True}])
def test_what_dataflow_does_not_take_now_can_be_sent_later(how: dict[str, Any], send: Send, demo: JobConfig) -> None:
    said = r"NVIDIA_L4_GPUS|already active job named bert-batch-20261121"
    with DataflowStub(**how) as stub, pytest.raises(TryLaterError, match=said):
        send(stub)
    assert len(stub.created) == 1
    assert list_runs(demo.home) == {}


@pytest.mark.parametrize("code", [503, 504])
def test_a_job_that_dataflow_may_have_taken_keeps_its_plan(code: int, send: Send, demo: JobConfig) -> None:
    with DataflowStub(fail=(code, "the answer is lost")) as stub, pytest.raises(TryLaterError, match="may have taken"):
        send(stub)
    (run_id,) = list_runs(demo.home)
    assert [name for name in names(demo.home) if name.endswith(f"{run_id}/plan.parquet")]


class HangsUp(DataflowStub):
    """Takes a job and does not say so."""

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        answer = super().answer(method, path, body)
        if method == "POST" and self.created:
            raise ConnectionAbortedError
        return answer


def test_a_job_whose_answer_never_came_keeps_its_plan(send: Send, demo: JobConfig) -> None:
    with HangsUp() as stub, pytest.raises(requests.exceptions.ConnectionError):
        send(stub)
    assert stub.jobs
    assert len(list_runs(demo.home)) == 1


def test_a_job_is_told_even_if_it_cannot_be_written_down(
    send: Send, stub: DataflowStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    said: list[Any] = []
    monkeypatch.setattr("pipeline.submitting.to_bytes", full)
    sent = send(stub, wait=False, tell=said.append)
    assert said[0] == sent
    assert sent.job_id in said[1]
    assert "job.json cannot be written" in said[1]
    assert "No space left on device" in said[1]


def test_what_dataflow_refuses_for_good_is_a_mistake_of_the_user(send: Send, demo: JobConfig) -> None:
    said = r"does not take the job: 403 .*dataflow\.jobs\.create"
    refusing = DataflowStub(fail=(403, "no permission dataflow.jobs.create"))
    with refusing as stub, pytest.raises(ConfigError, match=said):
        send(stub)
    assert list_runs(demo.home) == {}


def test_every_path_of_this_machine_is_named_and_nothing_is_sent(
    demo: JobConfig, given: Mapping[str, str], tmp_path: Path
) -> None:
    profile = load_profile("deploy/profiles/dataflow-cpu.yaml", given)
    here = {"bundle": str(DEMO / "bundle"), "input": ("in.parquet", "gs://test-bucket/x", "y"), "output": str(tmp_path)}
    with pytest.raises(ConfigError) as found:
        submit(JobConfig(**{**demo.model_dump(by_alias=True), **here}), profile, now=NOW)
    lines = str(found.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"--bundle {DEMO}/bundle",
        "--input in.parquet",
        "--input (3) y",
        f"--output {tmp_path}",
    ]


def test_a_bucket_that_is_not_there_is_found_before_anything_is_sent(demo: JobConfig, given: dict[str, str]) -> None:
    profile = load_profile("deploy/profiles/dataflow-cpu.yaml", {**given, "temp": "gs://no-such-bucket/temp"})
    with pytest.raises(ConfigError, match="no-such-bucket"):
        submit(demo, profile, now=NOW)
    assert names(demo.home) == []


@pytest.fixture
def command(demo: JobConfig, given: Mapping[str, str], tmp_path: Path) -> list[str]:
    file = tmp_path / "job.yaml"
    content = {"bundle": demo.bundle, "input": demo.input[0], "output": demo.home, "date": DATE}
    file.write_text(json.dumps({**content, "rename": {"label": "gold_label"}}), encoding="utf-8")
    pairs = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    return ["submit", "--job", str(file), "--profile", "deploy/profiles/dataflow-gpu-l4.yaml", *pairs]


def test_the_plan_tells_options_steps_and_hints_and_writes_nothing(command: list[str], demo: JobConfig) -> None:
    code, out, _ = invoke(*command, "--plan")
    assert code == 0
    assert "--machine_type=n2-standard-4" in out
    assert "--labels=app=bert-batch" in out
    assert "--no_use_public_ips" in out
    assert "--job_name=bert-batch-20261121" in out
    (inference,) = [line for line in out.splitlines() if line.lstrip().startswith("Score/RunInference ")]
    assert "RecordBatch   [accelerator=type:nvidia-l4;count:1;machine_type:g2-standard-4;" in inference
    assert "min_ram_bytes=14000000000" in inference
    (featurize,) = [line for line in out.splitlines() if line.lstrip().startswith("Featurize ")]
    assert "[" not in featurize
    assert "throughput not measured: score one date" in out
    assert "minutes" not in out
    assert "GPU-hours" not in out
    assert names(demo.home.removesuffix("/out")) == []


def test_the_plan_counts_gpu_hours_by_what_was_measured(command: list[str]) -> None:
    more = ("--set", "tokens_per_second=1000", "--set", "max_workers=2", "--log-format", "json")
    code, out, _ = invoke(*command, "--plan", *more)
    assert code == 0
    found = json.loads(out)["estimate"]
    rows = pq.read_metadata(DEMO / "validation.parquet").num_rows
    assert (found["rows"], found["tokens"]) == (rows, rows * 128)
    assert found["seconds"] == pytest.approx(rows * 128 / 1000 / 2)
    assert found["gpu_hours"] == pytest.approx(rows * 128 / 1000 / 3600)


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ({"states": ["JOB_STATE_FAILED"]}, 1, "ended FAILED"),
        ({"fail": (429, "quota")}, 75, "error: Dataflow does not take the job: 429"),
        ({"duplicate": True}, 75, "already active job"),
    ],
)
def test_the_command_tells_a_scheduler_how_it_ended(
    how: dict[str, Any], code: int, said: str, command: list[str]
) -> None:
    with DataflowStub(**how) as stub:
        found, _, err = invoke(*command, "--", f"--dataflow_endpoint={stub.url}")
    assert found == code
    assert said in err
    assert len(err.strip().splitlines()) == 1 or code == 1


def test_a_detached_command_says_where_to_look_and_ends(command: list[str], stub: DataflowStub) -> None:
    code, out, _ = invoke(*command, "--detach", "--", f"--dataflow_endpoint={stub.url}")
    assert code == 0
    assert re.match(r"Submitted job: 2026-11-22_02_00_00-1\n", out)
    assert not [request for request in stub.requests if request.method == "GET"]


def test_a_waiting_command_tells_its_plan_once_and_then_the_job(command: list[str]) -> None:
    with DataflowStub(states=["JOB_STATE_FAILED"]) as stub:
        _, out, _ = invoke(*command, "--log-format", "json", "--", f"--dataflow_endpoint={stub.url}")
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["planned", "submitted", "error"]


def test_ctrl_c_while_a_job_runs_on_dataflow_says_how_to_end_it(command: list[str]) -> None:
    with DataflowStub(states=["JOB_STATE_RUNNING"]) as stub:
        words = [sys.executable, "-m", "pipeline", *command, "--", f"--dataflow_endpoint={stub.url}"]
        with Forked(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            job_id = process.stdout.readline().removeprefix("Submitted job: ").strip()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert job_id in stub.jobs
    assert err == (
        f"interrupted; Dataflow job {job_id} goes on and may publish its date; to end it: "
        f"gcloud dataflow jobs cancel {job_id} --region us-central1 --project demo-project\n"
    )


def test_score_on_dataflow_does_not_run_here(demo: JobConfig, stub: DataflowStub) -> None:
    job = ("--bundle", demo.bundle, "--input", demo.input[0], "--output", demo.home, "--date", DATE)
    code, _, err = invoke("score", *job, "--runner", "dataflow", "--", "--runner=DirectRunner")
    assert code == 2
    assert "--runner 'DirectRunner': the job would not run on Dataflow" in err
    assert names(demo.home) == []


def test_score_on_dataflow_is_checked_the_same_way(demo: JobConfig, stub: DataflowStub) -> None:
    job = ("--bundle", demo.bundle, "--input", demo.input[0], "--output", demo.home, "--date", DATE)
    beam_options = ("--project=demo-project", "--resource_hints=accelerator=type:nvidia-l44;count:1")
    code, _, err = invoke("score", *job, "--runner", "dataflow", "--", *beam_options, f"--dataflow_endpoint={stub.url}")
    assert code == 2
    for word in ("--region", "--temp_location", "--max_num_workers", "--labels", "--sdk_container_image", "nvidia-l44"):
        assert word in err
    assert stub.requests == []
    assert names(demo.home) == []


def test_a_profile_for_this_machine_scores_here(tmp_path: Path) -> None:
    rows = ("--input", DEMO / "validation.parquet", "--rename", "label=gold_label")
    job = ("--bundle", DEMO / "bundle", *rows, "--output", tmp_path / "out")
    code, out, _ = invoke("submit", "--profile", "deploy/profiles/local.yaml", *job)
    assert code == 0
    assert "700 read = 700 scored" in out
    manifest = json.loads(next(tmp_path.glob("out/dt=*/_manifest.json")).read_bytes())
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = invoke("submit", "--profile", "deploy/profiles/local.yaml", *job, "--plan", "--log-format", "json")
    found = json.loads(out)["estimate"]
    assert found["tokens"] == pytest.approx(manifest["work"]["tokens"], abs=1)
    assert found["tokens_source"].startswith(f"as computed for dt={manifest['logical_date']}")
    assert sorted(tmp_path.rglob("*")) == before
