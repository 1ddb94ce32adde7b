"""Estimates are arithmetic on committed figures, and where there is no figure they say so."""

import re
from typing import Any

import pytest
from support.commands import ROOT

from pipeline.dataflow.estimate import CPU_TOKENS_PER_SECOND, Tokens, estimate, relative_work, tokens_of, vcpus
from pipeline.dataflow.profile import load_profile

BASE = {"num_layers": 12, "hidden_size": 768, "inner_dim": 3072}
LARGE = {"num_layers": 24, "hidden_size": 1024, "inner_dim": 4096}
GIVEN = {
    "project": "demo-project",
    "region": "us-central1",
    "temp": "gs://demo-bucket/temp",
    "image": "us-docker.pkg.dev/demo/images/bert-batch@sha256:" + "0" * 64,
}
HUNDRED = Tokens(per_row=100.0, source="a test")


def profile(name: str, **overrides: str) -> Any:
    given = {} if name == "local" else GIVEN
    return load_profile(f"{ROOT}/deploy/profiles/{name}.yaml", {**given, **overrides})


def test_the_figure_for_a_cpu_is_the_committed_one() -> None:
    results = (ROOT / "benchmarks" / "reports" / "RESULTS.md").read_text(encoding="utf-8")
    assert "4,096 tokens, at which the model reaches" in results
    section = results.split("## Token budget on a CPU")[1].split("\n## ")[0]
    (row,) = re.findall(r"^\| 4,096 \| .*$", section, re.MULTILINE)
    headings = next(line for line in section.splitlines() if line.startswith("| tokens of a micro-batch"))
    column = [cell.strip() for cell in headings.split("|")].index("tokens/s, rows of 128")
    assert int(row.split("|")[column].replace(",", "")) == CPU_TOKENS_PER_SECOND


def test_the_figure_for_a_cpu_is_scaled_by_model_and_processors() -> None:
    assert relative_work(BASE) == 1
    # 24 · 12 · 1024² over 12 · 12 · 768².
    assert relative_work(LARGE) == pytest.approx(32 / 9)
    found = estimate(1_000_000, HUNDRED, profile("dataflow-cpu", max_workers="10"), LARGE, cores=99)
    assert found.tokens == 100_000_000
    assert found.worker_seconds == pytest.approx(100_000_000 / (CPU_TOKENS_PER_SECOND * 8 / 2 / (32 / 9)))
    assert found.seconds == pytest.approx(found.worker_seconds / 10)
    assert found.gpu_hours == 0


def test_this_machine_is_one_worker_with_its_own_cores() -> None:
    found = estimate(1_000, HUNDRED, profile("local", workers="4"), BASE, cores=4)
    assert found.seconds == found.worker_seconds == pytest.approx(100_000 / (2 * CPU_TOKENS_PER_SECOND))


def test_hours_of_gpus_are_never_invented() -> None:
    found = estimate(1_000, HUNDRED, profile("dataflow-gpu-l4"), BASE, cores=2)
    assert (found.seconds, found.gpu_hours, found.worker_seconds) == (None, None, None)
    assert "no throughput of nvidia-l4 is committed" in found.source
    assert "tokens_per_second" in found.source


def test_hours_of_gpus_are_those_of_all_workers() -> None:
    measured = {"tokens_per_second": "50000", "max_workers": "4"}
    found = estimate(3_600_000, HUNDRED, profile("dataflow-gpu-l4", **measured), LARGE, cores=2)
    assert found.worker_seconds == 7200
    assert found.seconds == 1800
    assert found.gpu_hours == 2


def test_an_unknown_machine_has_no_figure() -> None:
    found = estimate(1_000, HUNDRED, profile("dataflow-cpu", machine_type=""), BASE, cores=2)
    assert found.worker_seconds is None
    assert "machine_type" in found.source


@pytest.mark.parametrize(
    ("name", "processors"),
    [
        ("n2-standard-8", 8),
        ("e2-highmem-16", 16),
        ("c3-standard-22-lssd", 22),
        ("n2-custom-6-24576", 6),
        ("n2d-custom-6-24576-ext", 6),
        ("custom-4-8192", 4),
        ("e2-medium", None),
        ("f1-micro", None),
    ],
)
def test_processors_of_a_machine_are_in_its_name(name: str, processors: int | None) -> None:
    assert vcpus(name) == processors


def test_tokens_a_row_are_those_computed_if_the_record_is_of_the_whole_run() -> None:
    manifest = {"counts": {"scored": 10}, "work": {"tokens": 250}, "splits_taken_over": 0}
    assert tokens_of(manifest) == 25
    assert tokens_of({**manifest, "splits_taken_over": 1}) is None
    assert tokens_of({**manifest, "counts": {"scored": 0}}) is None
    assert tokens_of({**manifest, "work": {}}) is None
