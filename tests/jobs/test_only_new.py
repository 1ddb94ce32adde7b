"""--only-new: unchanged rows keep their scores, others are scored, and the date is what a full run publishes."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import Built, with_other_weights
from support.jobs import Outcome, Score, many_texts, write_parquet

from pipeline.errors import ConfigError
from transforms.read.duplicates import _HASHED, find_matches, find_repeats
from transforms.read.unchanged import MATCH
from transforms.score import macro_batch

NIGHT1, NIGHT2 = "2026-11-20", "2026-11-21"
EARLY, LATE = dt.datetime(2026, 11, 21, 2, tzinfo=dt.UTC), dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC)
Rows = dict[str, dict[str, Any]]


def by_id(outcome: Outcome) -> Rows:
    rows = outcome.rows()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


def same(left: Rows, right: Rows, besides: tuple[str, ...] = ("run_id", "scored_at")) -> None:
    """The same rows by id: exactly, numbers to 1e-6."""
    assert left.keys() == right.keys()
    for key, row in left.items():
        for name in row.keys() - set(besides):
            value, wanted = row[name], right[key][name]
            if name == "probabilities":
                assert [p["label"] for p in value] == [p["label"] for p in wanted]
                value, wanted = ([p["probability"] for p in listed] for listed in (value, wanted))
            exact = name not in ("probabilities", "probability", "value")
            assert value == (wanted if exact else pytest.approx(wanted, abs=1e-6)), name


def night(run_job: Score, tmp_path: Path, rows: dict[str, Any], date: str, **settings: Any) -> Outcome:
    file = write_parquet(tmp_path / f"{date}-{len(list(tmp_path.iterdir()))}.parquet", rows)
    now = EARLY if date == NIGHT1 else LATE
    settings = {"keep_text_digests": date == NIGHT1, **settings}
    outcome = run_job(file, date=date, now=now, **settings)
    assert outcome.verdict.status == "published"
    return Outcome(verdict=outcome.verdict, output=outcome.output, date=date)


def counts(outcome: Outcome) -> tuple[int, int, int, int]:
    found = outcome.manifest["counts"]
    return found["read"], found["scored"], found["skipped"], found["dead"]


def test_only_new_and_changed_rows_are_scored(run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = many_texts(300)
    first = night(run_job, tmp_path, {"id": [f"r{i}" for i in range(300)], "text": texts, "price": range(300)}, NIGHT1)
    # Shuffled; ten gone, twenty changed, ten new, every kept value another one, one id twice, one text missing.
    order = np.random.default_rng(1).permutation(290)
    ids = [f"r{i}" for i in order] + [f"n{i}" for i in range(10)] + ["r5", "r290"]
    changed = [texts[i] + " again" if i < 20 else texts[i] for i in order]
    now = {
        "id": ids,
        "text": changed + many_texts(10, 9) + [texts[5], None],
        "price": list(range(1_000, 1_000 + len(ids))),
    }
    full = night(run_job, tmp_path, now, NIGHT2, output=tmp_path / "full")
    tokens: list[int] = []
    score_all = macro_batch._score_all

    def spy(ragged: Any, *more: Any) -> Any:
        tokens.append(len(ragged.first_segment))
        return score_all(ragged, *more)

    monkeypatch.setattr(macro_batch, "_score_all", spy)
    second = night(run_job, tmp_path, now, NIGHT2, only_new=True)
    assert sum(tokens) == 30
    assert counts(second) == (302, 30, 270, 2)
    assert second.manifest["compared_with"] == {"date": NIGHT1, "run_id": first.verdict.run_id}
    found, earlier = by_id(second), by_id(first)
    same(found, by_id(full))
    assert second.codes() == full.codes() == {"r5": "duplicate_id", "r290": "missing_text"}
    for key, row in found.items():
        unchanged = key in earlier and earlier[key]["text_hash"] == row["text_hash"]
        assert row["scored_at"] == (EARLY if unchanged else LATE)
        assert (row["run_id"], row["logical_date"]) == (second.verdict.run_id, dt.date(2026, 11, 21))


def test_everything_is_scored_where_there_is_nothing_to_compare_with(run_job: Score, tmp_path: Path) -> None:
    only = night(run_job, tmp_path, {"id": ["a", "b"], "text": many_texts(2)}, NIGHT1, only_new=True)
    assert counts(only) == (2, 2, 0, 0)
    assert only.manifest["compared_with"] is None


def test_the_newest_date_up_to_this_one_counts_and_a_later_one_never(run_job: Score, tmp_path: Path) -> None:
    rows = {"id": ["a", "b"], "text": many_texts(2)}
    later = night(run_job, tmp_path, rows, NIGHT2)
    first = night(run_job, tmp_path, rows, NIGHT1, only_new=True)
    assert counts(first) == (2, 2, 0, 0)
    again = night(run_job, tmp_path, rows, NIGHT1, only_new=True)
    assert (counts(again), again.manifest["compared_with"]["date"]) == ((2, 0, 2, 0), NIGHT1)
    assert again.manifest["precision"] == later.manifest["precision"] == "float32"


@pytest.mark.parametrize(
    "other", [{"top_k": 2}, {"precision": "bfloat16"}, {"bundle": "another"}], ids=["top_k", "precision", "bundle"]
)
def test_scores_made_another_way_are_not_taken(
    run_job: Score, tmp_path: Path, classes: Built, other: dict[str, Any]
) -> None:
    if "bundle" in other:
        other = {"bundle": str(with_other_weights(classes, tmp_path / "bundle", seed=8).path)}
    rows = {"id": ["a", "b"], "text": many_texts(2)}
    night(run_job, tmp_path, rows, NIGHT1)
    assert counts(night(run_job, tmp_path, rows, NIGHT2, only_new=True, **other)) == (2, 2, 0, 0)


def test_a_night_between_with_another_bundle_is_passed_over(run_job: Score, tmp_path: Path, regression: Built) -> None:
    rows = {"id": ["a", "b"], "text": many_texts(2)}
    night(run_job, tmp_path, rows, "2026-11-19", keep_text_digests=True)
    night(run_job, tmp_path, rows, NIGHT1, bundle=str(regression.path))
    second = night(run_job, tmp_path, rows, NIGHT2, only_new=True)
    assert (counts(second), second.manifest["compared_with"]["date"]) == ((2, 0, 2, 0), "2026-11-19")


def test_values_of_a_regression_are_taken_too(run_job: Score, tmp_path: Path, regression: Built) -> None:
    rows = {"id": [f"r{i}" for i in range(50)], "text": many_texts(50)}
    first = night(run_job, tmp_path, rows, NIGHT1, bundle=str(regression.path))
    second = night(run_job, tmp_path, rows, NIGHT2, bundle=str(regression.path), only_new=True)
    assert counts(second) == (50, 0, 50, 0)
    same(by_id(second), by_id(first), ("run_id", "logical_date"))


def test_a_dead_letter_of_the_night_before_is_tried_again(run_job: Score, tmp_path: Path) -> None:
    night(run_job, tmp_path, {"id": ["a", "b"], "text": ["play", None]}, NIGHT1)
    second = night(run_job, tmp_path, {"id": ["a", "b"], "text": ["play", "book"]}, NIGHT2, only_new=True)
    assert counts(second) == (2, 1, 1, 0)


def test_an_unchanged_row_whose_kept_value_does_not_fit_is_carried_and_counted(run_job: Score, tmp_path: Path) -> None:
    good = pa.table({"id": ["a", "b"], "text": ["play", "book"], "note": ["x", "y"]})
    night(run_job, tmp_path, good, NIGHT1)  # type: ignore[arg-type]
    note = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff", b"y"], pa.binary()).buffers())
    bad = good.set_column(2, "note", note)
    second = night(run_job, tmp_path, bad, NIGHT2, only_new=True)  # type: ignore[arg-type]
    assert (counts(second), second.codes()) == ((2, 0, 2, 0), {})
    assert second.manifest["kept_misfits"] == {"note": 1}


@pytest.mark.parametrize("trust_ids", [False, True])
def test_many_splits_and_many_parts_meet(
    run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust_ids: bool
) -> None:
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", 40)
    monkeypatch.setattr("transforms.read.inspect_file.MAX_ROWS", 7)
    monkeypatch.setattr("transforms.write.ROW_GROUP_ROWS", 16)
    rows = pa.table({"id": [f"r{i}" for i in range(200)], "text": many_texts(200), "n": range(200)})
    files = [write_parquet(tmp_path / f"in-{i}.parquet", rows.slice(20 * i, 20), row_group_size=7) for i in range(10)]
    first = run_job(files, date=NIGHT1, now=EARLY, keep_text_digests=True)
    assert len(first.verdict.files) == 5
    backwards = write_parquet(
        tmp_path / "backwards.parquet", rows.take(pa.array(range(199, -1, -1))), row_group_size=30
    )
    second = run_job(backwards, date=NIGHT2, now=LATE, only_new=True, trust_ids=trust_ids)
    first = Outcome(verdict=first.verdict, output=first.output, date=NIGHT1)
    assert counts(second) == (200, 0, 200, 0)
    same(by_id(second), by_id(first), ("run_id", "logical_date"))


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_two_worker_processes_find_the_same(run_job: Score, tmp_path: Path) -> None:
    rows = {"id": [f"r{i}" for i in range(100)], "text": many_texts(100)}
    first = night(run_job, tmp_path, rows, NIGHT1)
    second = night(run_job, tmp_path, rows, NIGHT2, only_new=True, workers=2)
    assert counts(second) == (100, 0, 100, 0)
    same(by_id(second), by_id(first), ("run_id", "logical_date"))


def test_what_workers_elsewhere_score_on_must_be_said(run_job: Score, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["play"]})
    with pytest.raises(ConfigError, match="--precision"):
        run_job(file, only_new=True, runner="portable", beam_options=("--job_endpoint=localhost:1",))


def test_an_earlier_file_that_is_gone_fails_the_run_and_publishes_nothing(run_job: Score, tmp_path: Path) -> None:
    rows = {"id": ["a", "b"], "text": many_texts(2)}
    first = night(run_job, tmp_path, rows, NIGHT1)
    (part,) = first.verdict.files
    Path(part.path).unlink()
    with pytest.raises(Exception, match="FileNotFoundError"):
        night(run_job, tmp_path, rows, NIGHT2, only_new=True)
    assert not (first.output / f"dt={NIGHT2}").exists()


keys = st.integers(0, 3)
entry = st.tuples(keys, keys, keys, keys)


@given(st.lists(entry, max_size=12, unique_by=lambda e: e[:2]), st.lists(entry, max_size=12))
def test_matches_are_those_of_a_plain_dictionary(before: list[Any], today: list[Any]) -> None:
    packed = np.zeros(len(before) + len(today), _HASHED)
    for i, (a, b, *text) in enumerate(before):
        packed[i] = (a, b, -1 - i % 2, i, *text, 0)
    for i, (a, b, *text) in enumerate(today):
        packed[len(before) + i] = (a, b, i % 3, i, *text, i % 2)
    expected = set()
    where = {key: (i % 2, i) for i, key in enumerate(before)}
    for i, key in enumerate(today):
        if key in where:
            part, at = where[key]
            expected.add((part, i % 2, i % 3, i, at))
    np.random.default_rng(len(before)).shuffle(packed)
    found = {(part, *map(int, row)) for part, rows in find_matches(packed).items() for row in rows}
    assert found == expected
    assert all(rows.dtype == MATCH for rows in find_matches(packed).values())
    assert find_repeats(packed[packed["piece"] >= 0]).keys() <= {0, 1, 2}
