"""Which engine and precision a job has: chosen once, kept by resume and manifest, refused by a worker that cannot."""

import datetime as dt
import logging
import os
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from support.bundles import Built
from support.jobs import DATE, NOW, Outcome, Score, many_texts, prepared, write_parquet

from model.bundle import OPENVINO
from pipeline import preparing
from pipeline.errors import ConfigError, RunFailedError
from pipeline.jobs.config import Chips, JobConfig
from pipeline.jobs.record import compared_precision
from pipeline.runners.computing import choose_for, fastest_told
from pipeline.runners.cores import share_cores
from transforms.read.earlier import _fits
from transforms.score.engines import openvino_scorer
from transforms.score.engines.chips import CLASSES, find_chip
from transforms.score.engines.choice import Choice
from transforms.score.engines.openvino_scorer import THREADS, Compiled

FLOAT32 = Choice(engine=OPENVINO, precision="float32")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "in.parquet", {"id": [f"r{i}" for i in range(60)], "text": many_texts(60)})


@pytest.fixture
def job(classes: Built, file: Path, tmp_path: Path) -> Any:
    """A job on that file with other settings."""
    given = {"bundle": str(classes.path), "input": str(file), "output": str(tmp_path / "out"), "date": DATE}
    return lambda **settings: JobConfig(**{**given, **settings})


def take(choice: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no flag asks for: an engine by name."""
    monkeypatch.setattr(preparing, "choose_for", lambda *_: choice)


def numbers(outcome: Outcome) -> dict[str, dict[str, float]]:
    return {row["id"]: {p["label"]: p["probability"] for p in row["probabilities"]} for row in outcome.rows()}


def test_a_job_by_openvino_publishes_what_one_by_tensorflow_does_and_says_so(
    run_job: Score, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_job(file, output=tmp_path / "tensorflow", keep_text_digests=True)
    assert (before.manifest["engine"], before.manifest["precision"]) == ("tensorflow", "float32")
    take(FLOAT32, monkeypatch)
    found = run_job(file)
    assert (found.manifest["engine"], found.manifest["precision"]) == ("openvino", "float32")
    wanted = numbers(before)
    assert numbers(found).keys() == wanted.keys()
    for name, row in numbers(found).items():
        assert row == pytest.approx(wanted[name], abs=1e-5)
    # In float32 scores of the one are scores of the other.
    later = {"date": "2026-11-22", "now": NOW + dt.timedelta(days=1)}
    again = run_job(file, output=tmp_path / "tensorflow", only_new=True, **later)
    published = Outcome(verdict=again.verdict, output=again.output, date="2026-11-22")
    assert (again.verdict.counts["scored"], again.verdict.counts["skipped"]) == (0, 60)
    assert (published.manifest["engine"], published.manifest["compared_with"]["date"]) == ("openvino", DATE)


@pytest.mark.parametrize(
    ("said", "precision", "engine", "same"),
    [
        ({}, "float32", "openvino", True),
        ({"engine": "openvino"}, "float32", "tensorflow", True),
        ({}, "bfloat16", "tensorflow", True),
        ({}, "bfloat16", "openvino", False),
        ({"engine": "openvino"}, "bfloat16", "openvino", True),
        ({"engine": "openvino"}, "bfloat16", "tensorflow", False),
    ],
)
def test_only_new_takes_scores_of_another_engine_in_float32_only(
    said: dict[str, str], precision: str, engine: str, same: bool
) -> None:
    manifest = {"bundle": "b@1", "precision": precision, "settings": {}, **said}
    assert _fits(manifest, "1", precision, None, engine) is same


def test_an_attempt_by_another_engine_is_other_work_and_one_by_tensorflow_is_as_it_was(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = prepared(job())
    assert plain.about["engine"] == "tensorflow"
    # What versions without engines have staged is the same work.
    assert prepared(job(max_changed_labels=0.2)).about["digest"] == plain.about["digest"]
    take(FLOAT32, monkeypatch)
    other = prepared(job())
    assert (other.about["engine"], other.compute.engine) == ("openvino", "openvino")
    assert other.about["digest"] != plain.about["digest"]


def test_a_worker_that_cannot_compute_what_was_planned_ends_the_run_with_its_chip_and_the_flag(
    run_job: Score, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    # The plan was made for AMX; this worker's OpenVINO says that its chip has nothing of the kind.
    take(Choice(engine=OPENVINO, precision="bfloat16"), monkeypatch)
    monkeypatch.setattr(openvino_scorer, "capabilities", lambda: ("FP32",))
    with pytest.raises(RunFailedError) as raised:
        run_job(file)
    message = str(raised.value)
    for part in ("EngineError", "--precision bfloat16", find_chip().name, f"(class {find_chip().kind})", "--chip"):
        assert part in message


def test_a_worker_without_the_extra_ends_the_run_and_names_the_command(
    run_job: Score, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    take(Choice(engine=OPENVINO, precision="bfloat16"), monkeypatch)
    monkeypatch.setattr(openvino_scorer, "is_installed", lambda: False)
    with pytest.raises(
        RunFailedError, match=r"not installed where this worker is; pip install 'bert-batch\[openvino\]'"
    ):
        run_job(file)


def test_workers_elsewhere_compute_by_tensorflow_unless_their_chips_are_named(job: Any, classes: Built) -> None:
    def chosen(**settings: Any) -> tuple[str, str | None]:
        found = choose_for(job(runner="portable", **settings), classes.bundle)
        return found.engine, found.precision

    assert chosen() == ("tensorflow", None)
    assert chosen(precision="bfloat16") == ("tensorflow", "bfloat16")
    assert chosen(precision="bfloat16", chip="amx") == ("openvino", "bfloat16")
    assert chosen(precision="bfloat16", chip="avx2") == ("tensorflow", "bfloat16")
    assert chosen(chip="amx") == ("tensorflow", None)
    # With a GPU nothing of this matters, and a class of CPUs is a mistake.
    with pytest.raises(ConfigError, match="--chip amx: these workers score on a GPU"):
        choose_for(job(runner="portable", chip="amx"), classes.bundle, True)
    assert compared_precision(None, True) != compared_precision(None, False) == "auto"
    assert compared_precision("float16", True) == compared_precision("float16", False)
    assert choose_for(job(runner="portable", precision="bfloat16"), classes.bundle, True).notes == ()


def test_the_fastest_precision_of_chips_that_are_not_known_is_refused(job: Any, classes: Built) -> None:
    with pytest.raises(ConfigError, match=r"--precision fastest with --runner portable: .*--chip"):
        choose_for(job(runner="portable", precision="fastest"), classes.bundle)
    assert "--chip" in fastest_told(job(runner="portable"), classes.bundle)
    found = choose_for(job(runner="portable", precision="fastest", chip="amx"), classes.bundle)
    assert (found.precision, "there is none for chips of class amx" in found.notes[0]) == ("float32", True)


def test_a_chip_that_this_machine_does_not_have_is_refused(job: Any, classes: Built) -> None:
    here = find_chip()
    assert choose_for(job(chip=here.kind), classes.bundle).engine == "tensorflow"
    other = next(kind for kind in CLASSES if kind != here.kind)
    with pytest.raises(ConfigError, match=f"--chip {other}: this machine computes on class {here.kind}"):
        choose_for(job(chip=other), classes.bundle)


def test_the_flag_knows_every_class_of_chips() -> None:
    assert get_args(Chips) == CLASSES


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_threads_of_openvino_in_all_processes_are_at_most_the_cores(
    workers: int, classes: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv(THREADS, raising=False)

    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    with share_cores(workers):
        share = int(os.environ[THREADS])
        before = threads()
        compiled = Compiled(str(classes.path / "scoring"), "float32")
        ids = np.full((64, 64), 12, np.int32)
        compiled({"tokens": ids, "lengths": np.full(64, 64, np.int32), "first_segment": ids[:, 0]}, "logits")
        more = threads() - before
    model = compiled._request.get_compiled_model()
    # It takes no more than there really are.
    assert model.get_property("INFERENCE_NUM_THREADS") == min(share, len(os.sched_getaffinity(0)))
    assert share * workers <= 8
    # The thread that asks computes too; one more waits for requests.
    assert more <= share + 1
    assert not model.get_property("ENABLE_CPU_PINNING"), "each process would have the same first cores"
