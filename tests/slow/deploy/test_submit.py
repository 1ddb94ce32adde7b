"""The real scoring job as it is sent to Dataflow: checked by Beam and by us, staged, asked for, and never run there."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
import requests
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from support.cloud.dataflow_stub import DataflowStub
from support.cloud.submission import (
    DEMO,
    as_local_workers,
    essence,
    golden,
    hints_of,
    names,
    read,
    sent_pipeline,
)
from support.commands import invoke
from support.jobs import DATE, NOW

from pipeline.dataflow.profile import load_profile
from pipeline.errors import ConfigError, RunFailedError, TryLaterError
from pipeline.jobs.config import JobConfig
from pipeline.submitting import Submitted, submit
from transforms.batches.coder import RecordBatchCoder
from transforms.runs.history import list_runs

pytestmark = pytest.mark.usefixtures("silence")

PROFILES = ("dataflow-cpu", "dataflow-gpu-l4", "dataflow-gpu-t4")
WRITE_GOLDEN = "WRITE_GOLDEN"
"""Set in the environment, it makes the golden files anew: look at what changed before you commit."""


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
