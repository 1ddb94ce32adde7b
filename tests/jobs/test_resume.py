"""A run that died is gone on with: what it finished and what balances is taken over, everything else is done again."""

import datetime as dt
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from support.jobs import NOW, Outcome, Score, many_texts, write_parquet

from pipeline.errors import RunFailedError
from pipeline.runners.presets import beam_options
from pipeline.scoring import build
from transforms.publish.commit import publish
from transforms.runs.resume import finished_splits
from transforms.runs.run import Run
from transforms.runs.verdicts import read_verdict
from transforms.score import macro_batch

SPLITS, ROWS = 8, 25
BAD = 3
"""Rows of each split that are dead letters."""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Eight files, each a split; the texts of three rows each are missing."""
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", ROWS)
    texts: list[Any] = many_texts(SPLITS * ROWS)
    for i in range(SPLITS):
        texts[i * ROWS : i * ROWS + BAD] = [None] * BAD
    rows = pa.table({"id": [f"r{i}" for i in range(len(texts))], "text": texts})
    return [write_parquet(tmp_path / "in" / f"{i}.parquet", rows.slice(i * ROWS, ROWS)) for i in range(SPLITS)]


class Scoring:
    """Counts what is scored, and raises when so many splits have been."""

    def __init__(self) -> None:
        self.scored, self.fail_after = 0, SPLITS
        self._score_all = macro_batch._score_all

    def __call__(self, ragged: Any, *more: Any) -> Any:
        if self.scored >= self.fail_after:
            raise RuntimeError("the machine is gone")
        self.scored += 1
        return self._score_all(ragged, *more)


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> Scoring:
    spy = Scoring()
    monkeypatch.setattr(macro_batch, "_score_all", spy)
    return spy


def dies(run_job: Score, files: Any, scoring: Scoring, after: int, **settings: Any) -> None:
    scoring.scored, scoring.fail_after = 0, after
    with pytest.raises(RunFailedError):
        run_job(files, **settings)
    scoring.scored, scoring.fail_after = 0, SPLITS


def plain(outcome: Outcome) -> list[tuple[Any, ...]]:
    rows = [(row["id"], row["label"], row["text_hash"], round(row["probability"], 5)) for row in outcome.rows()]
    return sorted(rows)


def the_run(output: Path) -> Run:
    (folder,) = (output / "_runs").iterdir()
    from transforms.runs.plan import read_plan
    from transforms.stores.choose import store_for

    return Run.from_json(read_plan(store_for(str(output)), str(folder / "plan.parquet"))[1]["run"])


def test_splits_of_a_run_that_died_are_not_scored_again(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path
) -> None:
    expected = run_job(files, output=tmp_path / "full")
    dies(run_job, files, scoring, 6)
    dead_run = the_run(tmp_path / "out")
    # The file of the last split was still open.
    assert finished_splits(dead_run).splits == frozenset(range(5))
    outcome = run_job(files)
    assert scoring.scored == SPLITS - 5
    assert (outcome.manifest["run_id"], outcome.manifest["splits_taken_over"]) == (dead_run.run_id, 5)
    counts = {"read": SPLITS * ROWS, "scored": SPLITS * (ROWS - BAD), "skipped": 0, "dead": SPLITS * BAD}
    assert outcome.manifest["counts"] == counts
    assert plain(outcome) == plain(expected)
    assert outcome.codes() == expected.codes()
    assert outcome.manifest["dead_codes"] == {"missing_text": SPLITS * BAD}
    assert not list((tmp_path / "out" / "_runs").glob("*/staged/*"))


def test_a_step_that_raises_in_three_runs_and_then_not(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path
) -> None:
    for _ in range(3):
        dies(run_job, files, scoring, 2)
    outcome = run_job(files)
    assert outcome.manifest["splits_taken_over"] == 3
    assert len({row["id"] for row in outcome.rows()}) == len(outcome.rows()) == SPLITS * (ROWS - BAD)


def test_duplicates_across_what_was_taken_over_are_still_found(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path
) -> None:
    write_parquet(files[-1], {"id": ["r4", "new"], "text": ["play", "book"]})
    dies(run_job, files, scoring, 3)
    outcome = run_job(files)
    assert outcome.manifest["splits_taken_over"] == 2
    assert outcome.codes()["r4"] == "duplicate_id"


def test_a_staged_file_that_is_damaged_or_gone_is_not_taken(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path
) -> None:
    dies(run_job, files, scoring, 6)
    staged = sorted((tmp_path / "out" / "_runs").glob("*/staged/scores-*.parquet"))
    staged[0].write_bytes(staged[0].read_bytes()[:-1] + b"?")
    staged[1].unlink()
    outcome = run_job(files)
    assert outcome.manifest["splits_taken_over"] == 3
    assert len(outcome.rows()) == SPLITS * (ROWS - BAD)


def test_a_split_that_stands_there_twice_is_done_again(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path
) -> None:
    dies(run_job, files, scoring, 6)
    staged = the_run(tmp_path / "out").staged
    record = sorted(Path(staged).glob("scores-*.json"))[0]
    twin = record.with_name(record.name.replace("scores-000000-", "scores-000000-twin"))
    content = json.loads(record.read_bytes())
    Path(str(twin).replace(".json", ".parquet")).write_bytes(Path(content["path"]).read_bytes())
    twin.write_text(json.dumps({**content, "path": str(twin).replace(".json", ".parquet")}))
    outcome = run_job(files)
    assert outcome.manifest["splits_taken_over"] == 4
    assert len(outcome.rows()) == SPLITS * (ROWS - BAD)


@pytest.mark.parametrize("change", ["input", "settings", "date"])
def test_other_work_takes_nothing_over(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path, change: str
) -> None:
    dies(run_job, files, scoring, 6)
    dead_run = the_run(tmp_path / "out")
    settings: dict[str, Any] = {}
    if change == "input":
        write_parquet(files[0], {"id": ["other"], "text": ["play"]})
    elif change == "settings":
        settings = {"top_k": 1}
    else:
        settings = {"date": "2026-11-20"}
    verdict = run_job(files, **settings).verdict
    assert (verdict.status, verdict.taken_over) == ("published", 0)
    assert verdict.run_id != dead_run.run_id


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_another_number_of_workers_is_the_same_work(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path
) -> None:
    dies(run_job, files, scoring, 6)
    assert run_job(files, workers=2).manifest["splits_taken_over"] == 5


def test_a_run_that_was_overtaken_is_not_gone_on_with(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path
) -> None:
    dies(run_job, files, scoring, 6)
    run_job(files, top_k=1)
    scoring.scored = 0
    outcome = run_job(files)
    assert (outcome.manifest["sequence"], outcome.manifest["splits_taken_over"]) == (2, 0)


def test_a_run_that_only_had_to_publish_does_only_that(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> Any:
        raise RuntimeError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr("transforms.publish.commit._commit", killed)
        with pytest.raises(RunFailedError):
            run_job(files)
    scoring.scored, scoring.fail_after = 0, 0
    dead_run = the_run(tmp_path / "out")
    outcome = run_job(files)
    assert outcome.manifest["run_id"] == dead_run.run_id
    assert len(outcome.rows()) == SPLITS * (ROWS - BAD)


def test_a_run_whose_staged_file_was_deleted_before_publishing_is_started_anew(
    run_job: Score, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(run: Run, *_: Any) -> Any:
        next(Path(run.staged).glob("scores-*.parquet")).unlink()
        return publish(run)

    with monkeypatch.context() as patch:
        patch.setattr("transforms.publish.step.publish", delete)
        with pytest.raises(RunFailedError, match="a staged file is gone"):
            run_job(files)
    dead_run = the_run(tmp_path / "out")
    outcome = run_job(files)
    assert outcome.manifest["run_id"] != dead_run.run_id
    assert len(outcome.rows()) == SPLITS * (ROWS - BAD)


def test_a_runner_that_begins_anew_after_the_verdict_reads_nothing_and_publishes_the_same(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Any] = []

    def built(p: beam.Pipeline, *more: Any) -> None:
        jobs.append(more)
        build(p, *more)

    def dies(*_: Any) -> None:
        raise RuntimeError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.scoring.build", built)
        patch.setattr("transforms.publish.step.publish", dies)
        with pytest.raises(RunFailedError):
            run_job(files)
    scoring.scored = 0
    for file in files:
        file.unlink()
    with beam.Pipeline(options=beam_options("direct", 1, [])) as p:
        build(p, *jobs[0])
    verdict = read_verdict(the_run(tmp_path / "out").verdict)
    assert verdict is not None
    outcome = Outcome(verdict=verdict, output=tmp_path / "out")
    assert (scoring.scored, verdict.status) == (0, "published")
    assert outcome.manifest["counts"] == {
        "read": SPLITS * ROWS,
        "scored": SPLITS * (ROWS - BAD),
        "skipped": 0,
        "dead": SPLITS * BAD,
    }
    assert len({row["id"] for row in outcome.rows()}) == len(outcome.rows()) == SPLITS * (ROWS - BAD)


def test_a_runner_that_begins_anew_once_the_earlier_date_was_replaced_does_not_read_it(
    run_job: Score, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_job(files, keep_text_digests=True)
    jobs: list[Any] = []

    def built(p: beam.Pipeline, *more: Any) -> None:
        jobs.append(more)
        build(p, *more)

    def dies_after(run: Run, *_: Any) -> None:
        publish(run)
        raise RuntimeError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.scoring.build", built)
        patch.setattr("transforms.publish.step.publish", dies_after)
        # The step fails; the date is published all the same.
        run_job(files, only_new=True)
    assert not any(Path(part.path).exists() for part in first.verdict.files)
    with beam.Pipeline(options=beam_options("direct", 1, [])) as p:
        build(p, *jobs[0])
    second = Outcome(verdict=first.verdict, output=tmp_path / "out")
    assert (second.manifest["sequence"], second.manifest["counts"]["skipped"]) == (2, SPLITS * (ROWS - BAD))
    assert len({row["id"] for row in second.rows()}) == SPLITS * (ROWS - BAD)


def test_a_slow_run_and_the_one_that_took_over_publish_the_same(
    run_job: Score, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: list[Outcome] = []
    score_all, calls = macro_batch._score_all, iter(range(1_000))

    def slow(ragged: Any, *more: Any) -> Any:
        if next(calls) == 4:
            inner.append(run_job(files))
        return score_all(ragged, *more)

    monkeypatch.setattr(macro_batch, "_score_all", slow)
    outcome = run_job(files)
    assert inner[0].verdict.taken_over == 3
    assert outcome.verdict.run_id == inner[0].verdict.run_id
    assert outcome.verdict.status == inner[0].verdict.status == "published"
    assert len({row["id"] for row in outcome.rows()}) == len(outcome.rows()) == SPLITS * (ROWS - BAD)
    assert np.unique([row["run_id"] for row in outcome.rows()]).size == 1


def test_a_full_disk_fails_the_run_and_the_next_one_goes_on(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = run_job(files, top_k=1)
    written: set[str] = set()

    def flush(self: Any) -> None:
        if "/staged/scores-" in self._path and self._path.endswith(".parquet"):
            written.add(self._path)
        if len(written) == 4:
            # The fourth file of scores does not fit any more.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        io.BufferedWriter.flush(self)

    scoring.scored = 0
    with monkeypatch.context() as patch:
        patch.setattr("transforms.stores.local._NewFile.flush", flush)
        with pytest.raises(RunFailedError, match="No space left on device"):
            run_job(files)
    assert plain(Outcome(verdict=earlier.verdict, output=earlier.output)) == plain(earlier)
    assert earlier.manifest["run_id"] == earlier.verdict.run_id
    scoring.scored = 0
    outcome = run_job(files)
    assert outcome.manifest["splits_taken_over"] == 3
    assert len({row["id"] for row in outcome.rows()}) == len(outcome.rows()) == SPLITS * (ROWS - BAD)


def test_a_clock_that_jumps_back_changes_nothing(
    run_job: Score, files: list[Path], scoring: Scoring, tmp_path: Path
) -> None:
    yesterday, hour = NOW - dt.timedelta(days=1), dt.timedelta(hours=1)
    run_job(files, top_k=1, now=NOW)
    scoring.scored = 0
    dies(run_job, files, scoring, 6, now=NOW + hour)
    outcome = run_job(files, now=yesterday)
    assert (outcome.manifest["sequence"], outcome.manifest["splits_taken_over"]) == (2, 5)
    scoring.scored = 0
    again = run_job(files, now=yesterday - hour)
    assert (again.verdict.status, again.manifest["sequence"]) == ("published", 3)
    assert plain(again) == plain(outcome)
