"""`submit` and `score --runner dataflow` as commands: what they print, and how they end."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.cloud.dataflow_stub import DataflowStub
from support.cloud.submission import (
    DEMO,
    names,
)
from support.commands import ROOT, invoke
from support.jobs import DATE
from support.runs.forked import Forked

from pipeline.jobs.config import JobConfig

pytestmark = pytest.mark.usefixtures("silence")


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
