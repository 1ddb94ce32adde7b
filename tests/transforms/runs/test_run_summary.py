"""The summary in a manifest is that of the published rows, however the work was cut, interrupted or carried over."""

import dataclasses
import datetime as dt
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.bundles import Built
from support.jobs import NOW, Outcome, Score, many_texts, write_parquet
from support.runs.plain_summary import assert_tells, count, denominators, sampled, share, tally
from support.runs.publishing import planned

from pipeline import scoring
from pipeline.errors import RunFailedError
from transforms.errors import RecordError
from transforms.outputs.summary.record import compressed, merge, one_label
from transforms.outputs.summary.statistics import STATISTICS
from transforms.runs.resume import TakenOver, read_taken, write_taken
from transforms.runs.run import Run
from transforms.runs.staged import StagedFile, summary_of
from transforms.score import macro_batch

LABELS = ("play", "book", "rate")
OF_ROWS = ("probability", "token_count", "truncated")
OF_SAMPLE = ("digits", "urls", "other_scripts")
UNUSUAL = ["see http://a.b and ftp://c.d", "Погода 42", "日本語 play", "https://x", "zzz \u1234 ☃"]
TEXTS = [text + " !" * number for text in UNUSUAL for number in range(12)]
"""So many that the sample has some of them."""
ROWS = 300


def agrees(outcome: Outcome, labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    """Checks the summary of a manifest against the rows beside it, and gives it."""
    found: dict[str, Any] = outcome.manifest["summary"]
    assert_tells(found, outcome.rows(), labels)
    return found


@pytest.fixture
def rows() -> pa.Table:
    texts = [*many_texts(ROWS - len(TEXTS)), *TEXTS]
    return pa.table({"id": [f"r{i}" for i in range(ROWS)], "text": texts})


@pytest.fixture
def file(rows: pa.Table, tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "in.parquet", rows)


@pytest.fixture
def files(rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The same rows, and each file is a split."""
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", 50)
    return [write_parquet(tmp_path / "in" / f"{i}.parquet", rows.slice(50 * i, 50)) for i in range(6)]


def test_it_counts_what_is_published_and_what_was_measured_on_the_way(run_job: Score, file: Path) -> None:
    outcome = run_job(file)
    found = agrees(outcome)
    few = sampled(outcome.rows())
    assert 0 < len(few) < ROWS / 4
    of_all = dict.fromkeys((*OF_ROWS, "margin", "unknown_tokens"), ROWS)
    assert denominators(found) == {**of_all, **dict.fromkeys(("entropy", *OF_SAMPLE), len(few))}
    shares = lambda row: [np.float32(p["probability"]) for p in row["probabilities"]]  # noqa: E731
    margins = (shares(row)[:2] for row in outcome.rows())
    assert found["statistics"]["margin"] == tally(share(float(first - second)) for first, second in margins)
    entropies = sum(-p * math.log(p) / math.log(3) for row in few for p in map(float, shares(row)))
    assert found["statistics"]["entropy"]["sum"] == pytest.approx(entropies * 1e6, rel=1e-5)
    texts = [*many_texts(ROWS - len(TEXTS)), *TEXTS]
    some = [texts[int(row["id"][1:])] for row in few]
    assert len({*TEXTS} & {*some}) > 1
    assert found["statistics"]["urls"] == tally(count(text.count("://")) for text in some)
    for name, is_one in {"digits": lambda c: c in "0123456789", "other_scripts": lambda c: ord(c) > 0x370}.items():
        counted = [sum(c.isalnum() and is_one(c) for c in text) * 1_000_000 // len(text) for text in some]
        assert found["statistics"][name]["sum"] == sum(counted)
    # Six words are in no vocabulary: two in Cyrillic and Japanese, one Ethiopic letter and a snowman.
    assert found["statistics"]["unknown_tokens"]["rows"] == ROWS
    assert found["statistics"]["unknown_tokens"]["sum"] >= 4
    raw = (outcome.output / "dt=2026-11-21" / "_manifest.json").read_text()
    assert not any(text in raw for text in texts if len(text) > 8)


def test_top_k_changes_nothing(run_job: Score, file: Path, tmp_path: Path) -> None:
    whole = agrees(run_job(file))
    assert agrees(run_job(file, top_k=1, output=tmp_path / "one")) == whole


def test_values_of_a_regression(run_job: Score, file: Path, regression: Built) -> None:
    outcome = run_job(file, bundle=str(regression.path))
    found = agrees(outcome, labels=())
    assert denominators(found) == {
        **dict.fromkeys(("value", "token_count", "truncated", "unknown_tokens"), ROWS),
        **dict.fromkeys(OF_SAMPLE, len(sampled(outcome.rows()))),
    }


def test_dead_letters_are_no_part_of_it(run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*many_texts(50), None, " "]
    rows = write_parquet(tmp_path / "in.parquet", {"id": [f"r{i}" for i in range(52)], "text": texts})
    score_all = macro_batch._score_all

    def gives_nan(*given: Any) -> Any:
        outputs, *more = score_all(*given)
        outputs[:7] = math.nan
        return outputs, *more

    monkeypatch.setattr(macro_batch, "_score_all", gives_nan)
    outcome = run_job(rows)
    assert outcome.manifest["counts"]["dead"] == 9
    known = denominators(agrees(outcome))
    assert {known[name] for name in (*OF_ROWS, "margin", "unknown_tokens")} == {43}


def test_a_date_without_rows_has_an_empty_one(run_job: Score, tmp_path: Path) -> None:
    found = run_job(write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": [" "]})).manifest["summary"]
    assert (found["rows"], found["statistics"], found["labels"], found["other_labels"]) == (0, {}, [], None)


# === Interrupted, carried over, on several workers ===


def dies(run_job: Score, files: list[Path], monkeypatch: pytest.MonkeyPatch, after: int, **settings: Any) -> None:
    score_all, calls = macro_batch._score_all, iter(range(1_000))

    def dying(*given: Any) -> Any:
        if next(calls) >= after:
            raise RuntimeError("the machine is gone")
        return score_all(*given)

    with monkeypatch.context() as patch:
        patch.setattr(macro_batch, "_score_all", dying)
        with pytest.raises(RunFailedError):
            run_job(files, **settings)


def test_a_run_that_died_twice_and_was_resumed_has_that_of_a_run_that_did_not(
    run_job: Score, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = agrees(run_job(files, output=tmp_path / "whole"))
    dies(run_job, files, monkeypatch, after=3)
    dies(run_job, files, monkeypatch, after=2)
    outcome = run_job(files)
    assert outcome.manifest["splits_taken_over"] == 3
    assert agrees(outcome) == whole


def test_what_is_taken_over_is_added_up_before_it_is_written(
    run_job: Score, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(run_job, files, monkeypatch, after=4)
    descriptions = sorted((tmp_path / "out" / "_runs").glob("*/staged/scores-*.json"))
    parts = [json.loads(path.read_bytes())["summary"] for path in descriptions]
    found: list[TakenOver] = []

    def noting(run: Run, taken: TakenOver, name: str) -> str:
        path = write_taken(run, taken, name)
        found.append(read_taken(path))
        assert found[0] == taken
        return path

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "write_taken", noting)
        agrees(run_job(files))
    (taken,) = found
    assert [file.summary for file in taken.files["scores"]] == [None] * len(parts) == [None] * 3
    assert taken.summary == merge(parts)


def test_a_summary_of_more_rows_than_the_files_have_is_not_taken_over(tmp_path: Path) -> None:
    run = planned(str(tmp_path / "out"))
    path = write_taken(run, TakenOver(summary={**merge([]), "rows": 1}), "20261122T020000Z-0123ab")
    with pytest.raises(RecordError, match="is damaged"):
        read_taken(path)


def test_a_summary_between_steps_takes_few_bytes() -> None:
    tallies = {one.name: {"rows": 1, "sum": 1, "bins": list(range(one.bins))} for one in STATISTICS}
    labels = [one_label(f"label {number}", number, {"rows": 1, "statistics": tallies}) for number in range(50)]
    summary = {**merge([]), "rows": 1, "labels": labels}
    file = StagedFile(path="p", rows=1, bytes=1, checksum="c", counts=(), summary=compressed(summary))
    assert len(pickle.dumps(file)) < len(json.dumps(summary)) / 4
    assert file.told["summary"] == summary
    assert summary_of([file]) == summary


def test_rows_that_an_earlier_version_has_staged_are_named_as_not_summarised(
    run_job: Score, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(run_job, files, monkeypatch, after=4)
    descriptions = sorted((tmp_path / "out" / "_runs").glob("*/staged/scores-*.json"))
    assert len(descriptions) == 3
    for description in descriptions[:2]:
        content = json.loads(description.read_bytes())
        assert content.pop("summary")["rows"] == 50
        description.write_text(json.dumps(content))
    # A summary that is none, and one of other rows than the file has, are no description of a staged file.
    content = json.loads(descriptions[2].read_bytes())
    descriptions[2].write_text(json.dumps({**content, "summary": {**content["summary"], "rows": 49}}))
    outcome = run_job(files)
    assert outcome.manifest["splits_taken_over"] == 2
    summary, published = outcome.manifest["summary"], outcome.rows()
    assert (summary["not_summarised"], summary["rows"]) == (100, 200)
    assert_tells({**summary, "not_summarised": 0}, [row for row in published if int(row["id"][1:]) >= 100], LABELS)


def test_unchanged_rows_count_for_what_is_published(run_job: Score, rows: pa.Table, tmp_path: Path) -> None:
    write = lambda name, table: write_parquet(tmp_path / name, table)  # noqa: E731
    run_job(write("first.parquet", rows), keep_text_digests=True)
    changed = pa.table({"id": rows["id"], "text": [*rows["text"].to_pylist()[:-40], *many_texts(40, seed=9)]})
    later = {"date": "2026-11-22", "now": NOW + dt.timedelta(1), "only_new": True}
    outcome = dataclasses.replace(run_job(write("later.parquet", changed), **later), date="2026-11-22")
    assert outcome.manifest["counts"]["skipped"] == ROWS - 40
    found = agrees(outcome)
    few = [row for row in sampled(outcome.rows()) if int(row["id"][1:]) >= ROWS - 40]
    expected = {"margin": 40, "unknown_tokens": 40, **dict.fromkeys(("entropy", *OF_SAMPLE), len(few))}
    assert denominators(found) == {**dict.fromkeys(OF_ROWS, ROWS), **expected}


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_two_workers_make_the_same(run_job: Score, files: list[Path], tmp_path: Path) -> None:
    alone = agrees(run_job(files))
    assert agrees(run_job(files, workers=2, output=tmp_path / "two")) == alone
