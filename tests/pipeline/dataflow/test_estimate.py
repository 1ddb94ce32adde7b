"""Estimates are arithmetic on what somebody measured, and where nobody has they say so."""

from typing import Any

import pytest
from support.commands import ROOT

from pipeline.dataflow.estimate import Estimate, computed_tokens, estimate
from pipeline.dataflow.profile import load_profile

GIVEN = {
    "project": "demo-project",
    "region": "us-central1",
    "temp": "gs://demo-bucket/temp",
    "image": "us-docker.pkg.dev/demo/images/bert-batch@sha256:" + "0" * 64,
}


def profile(name: str, **overrides: str) -> Any:
    given = {} if name == "local" else GIVEN
    return load_profile(f"{ROOT}/deploy/profiles/{name}.yaml", {**given, **overrides})


def of_a_hundred(rows: int, profile: Any) -> Estimate:
    return estimate(rows, 100.0, "a test", profile)


@pytest.mark.parametrize("name", ["local", "dataflow-cpu", "dataflow-gpu-l4"])
def test_time_and_hours_of_gpus_are_never_invented(name: str) -> None:
    found = of_a_hundred(1_000, profile(name))
    assert (found.rows, found.tokens, found.tokens_per_row, found.tokens_source) == (1_000, 100_000, 100.0, "a test")
    assert (found.seconds, found.gpu_hours, found.worker_seconds) == (None, None, None)
    assert found.source.startswith("not measured: score one date")
    assert "--set tokens_per_second=" in found.source


def test_time_is_what_was_measured_over_all_workers() -> None:
    found = of_a_hundred(1_000_000, profile("dataflow-cpu", tokens_per_second="5000", max_workers="10"))
    assert (found.tokens, found.worker_seconds, found.seconds, found.gpu_hours) == (100_000_000, 20_000, 2_000, 0)
    assert found.source == "5,000 tokens/s a worker, by the profile"


def test_this_machine_is_one_worker() -> None:
    found = of_a_hundred(1_000, profile("local", workers="4", tokens_per_second="5000"))
    assert (found.workers, found.seconds, found.worker_seconds) == (1, 20, 20)


def test_hours_of_gpus_are_those_of_all_workers() -> None:
    measured = {"tokens_per_second": "50000", "max_workers": "4"}
    found = of_a_hundred(3_600_000, profile("dataflow-gpu-l4", **measured))
    assert found.worker_seconds == 7200
    assert found.seconds == 1800
    assert found.gpu_hours == 2


def test_tokens_a_row_are_those_computed_if_the_record_is_of_the_whole_run() -> None:
    manifest = {"counts": {"scored": 10}, "work": {"tokens": 250}, "splits_taken_over": 0}
    assert computed_tokens(manifest) == 25
    assert computed_tokens({**manifest, "splits_taken_over": 1}) is None
    assert computed_tokens({**manifest, "counts": {"scored": 0}}) is None
    assert computed_tokens({**manifest, "work": {}}) is None
