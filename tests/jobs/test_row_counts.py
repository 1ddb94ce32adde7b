"""Row counts: a row that is lost, doubled or exchanged anywhere stops the run, and the published date stays."""

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import Outcome, Score, many_texts, write_parquet
from support.runs.publishing import assert_holds, ready

from transforms.batches.dead_letters import position_columns
from transforms.publish.commit import publish
from transforms.read.step import list_splits
from transforms.runs.row_counts import Count, Work, count_batch, count_positions, differences, total, total_work
from transforms.score import macro_batch

POSITIONS = st.lists(st.integers(0, 2**62), min_size=2, max_size=20, unique=True)
SOURCES = st.text(st.characters(codec="utf-8"), max_size=8)


def count(rows: list[int], split: int = 0, source: str = "a") -> Count:
    return count_positions(split, source, np.array(rows, np.int64))


# === By themselves ===


@given(rows=POSITIONS, data=st.data())
def test_neither_order_nor_batches_matter(rows: list[int], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows))
    at = data.draw(st.integers(0, len(rows)))
    again = data.draw(st.permutations([count(shuffled[:at]), count(shuffled[at:]), Count(0, 0, 0)]))
    assert total(again) == total([count(rows)])
    assert differences([count(rows)], [count(shuffled[:at])], [count(shuffled[at:])]) == []


@given(rows=POSITIONS, data=st.data())
def test_one_row_lost_and_another_doubled_is_seen(rows: list[int], data: st.DataObject) -> None:
    lost, doubled = data.draw(st.permutations(rows))[:2]
    after = [row for row in rows if row != lost] + [doubled]
    (problem,) = differences([count(rows)], [count(after)], [])
    assert "not the rows that were read" in problem
    # In whichever way the two are spread over scores and dead letters.
    assert differences([count(rows)], [count([row for row in rows if row != lost])], [count([doubled])])


@given(rows=POSITIONS)
def test_a_row_lost_or_doubled_is_counted(rows: list[int]) -> None:
    assert differences([count(rows)], [count(rows[1:])], []) == [
        f"split 0: {len(rows)} rows read, {len(rows) - 1} scored or dead"
    ]
    assert differences([count(rows)], [count(rows)], [count(rows[:1])])


@given(rows=POSITIONS, sources=st.lists(SOURCES, min_size=2, max_size=2, unique=True))
def test_the_same_positions_of_another_file_or_split_are_other_rows(rows: list[int], sources: list[str]) -> None:
    one, other = (count(rows, source=source) for source in sources)
    assert one.checksum != other.checksum
    assert differences([one], [other], [])
    assert len(differences([count(rows, split=1)], [count(rows, split=2)], [])) == 2


def test_a_split_without_rows_balances_and_one_from_nowhere_does_not() -> None:
    assert differences([Count(3, 0, 0)], [], []) == []
    assert differences([], [count([1], split=9)], []) == ["split 9: 0 rows read, 1 scored or dead"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 99)), max_size=30))
def test_a_batch_of_several_splits_and_files_is_counted_apart(rows: list[tuple[str, int, int]]) -> None:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    source = pa.DictionaryArray.from_arrays(
        pa.array(["ab".index(name) for name in columns[0]], pa.int32()), pa.array(["a", "b"])
    )
    batch = pa.RecordBatch.from_arrays(
        [source, pa.array(columns[1], pa.int32()), pa.array(columns[2], pa.int64())], names=["source", "split", "row"]
    )
    expected = total(count([row], split, name) for name, split, row in rows)
    assert total(count_batch(batch)) == expected
    half = len(rows) // 2
    assert total([*count_batch(batch.slice(0, half)), *count_batch(batch.slice(half))]) == expected


def test_a_file_name_that_is_no_unicode_is_counted() -> None:
    assert count([1], source="caf\udce9").rows == 1
    assert position_columns("café", 0, np.array([1]))


# === Through the whole job ===


def swap_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Loses the first row and doubles the last."""
    return batch.take(pa.array([*range(1, batch.num_rows), batch.num_rows - 1]))


def lose_row(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.slice(1)


Damage = Callable[[pa.RecordBatch], pa.RecordBatch]


def spoil(monkeypatch: pytest.MonkeyPatch, target: str, damage: Damage, which: int | None) -> list[str]:
    """Damages the result of a function (or the item `which` of it) wherever it has at least two rows.

    The list has an entry for each time that happened.
    """
    path, _, name = target.rpartition(".")
    owner: Any = pkgutil.resolve_name(path)
    function, done = getattr(owner, name), []

    def damaged(found: Any) -> Any:
        if found is None or found.num_rows < 2:
            return found
        done.append(target)
        return damage(found)

    def spoiled(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if which is None:
            return damaged(result)
        return type(result)(damaged(found) if i == which else found for i, found in enumerate(result))

    monkeypatch.setattr(owner, name, spoiled)
    return done


# The plain function of each transform, and where in its result the rows are.
PLACES: list[tuple[str, int | None]] = [
    ("transforms.read.step.conform", 0),
    ("transforms.read.step.cut", 0),
    ("transforms.read.step.mark", None),
    ("transforms.read.step._dead", 0),
    ("transforms.validate.validate", 0),
    ("transforms.validate.validate", 1),
    ("transforms.validate.reject", None),
    ("transforms.featurize.step.featurize", 0),
    ("transforms.score.step.score_batch", None),
    ("transforms.score.step.label", 0),
    ("transforms.score.step.label", 1),
    ("transforms.write._Stage.complete", None),
    ("transforms.write._StageDeadLetters.complete", None),
]


@pytest.fixture
def run_hostile(run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Outcome]:
    """Scores texts of which Read, Validate and Score each have at least two to reject at once."""
    score = macro_batch._score_all

    def score_badly(ragged: Any, *more: Any) -> Any:
        outputs, failed, work = score(ragged, *more)
        outputs[::3] = np.nan
        return outputs, failed, work

    monkeypatch.setattr("transforms.score.macro_batch._score_all", score_badly)
    lines = ["id,text,k", *(f"r{i},{text},{i}" for i, text in enumerate(many_texts(12)))]
    lines += [f"{id_},a misfit,{id_}" for id_ in "abc"]
    lines += [f"{id_}, ,0" for id_ in "xyz"]
    file = tmp_path / "in.csv"
    file.write_text("\n".join(lines) + "\n")
    return lambda: run_job(file, schema={"k": "int64"}, strict_columns=True)


def test_without_sabotage_the_hostile_texts_balance(run_hostile: Callable[[], Outcome]) -> None:
    outcome = run_hostile()
    assert outcome.verdict.status == "published"
    assert set(outcome.verdict.dead_codes) == {"wrong_type", "blank_text", "not_finite"}
    assert outcome.verdict.counts == {"read": 18, "scored": 8, "skipped": 0, "dead": 10}


@pytest.mark.parametrize(("target", "which"), PLACES)
def test_a_row_lost_and_another_doubled_in_any_transform_publishes_nothing(
    target: str,
    which: int | None,
    run_hostile: Callable[[], Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    earlier = ready(str(tmp_path / "out"))
    publish(earlier)
    done = spoil(monkeypatch, target, swap_rows, which)
    verdict = run_hostile().verdict
    assert done
    assert verdict.status == "unbalanced"
    assert verdict.problems == ("split 0: 18 rows, but not the rows that were read",)
    assert_holds(str(tmp_path / "out"), earlier)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("transforms.write._columns_of", "rows were given to the file"),
        ("transforms.write._Stage.complete", "18 rows read, 17 scored or dead"),
        ("transforms.validate.reject", "18 rows read, 17 scored or dead"),
    ],
)
def test_a_row_lost_on_the_way_into_a_file_publishes_nothing(
    target: str, problem: str, run_hostile: Callable[[], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, target, lose_row, None)
    verdict = run_hostile().verdict
    assert verdict.status == "unbalanced"
    assert problem in verdict.problems[0]


def test_a_row_group_that_is_not_written_publishes_nothing(
    run_hostile: Callable[[], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.write.StagingFile._write_row_group", lambda file: None)
    verdict = run_hostile().verdict
    assert verdict.status == "unbalanced"
    assert "0 are in it" in verdict.problems[0]


def test_a_split_that_never_comes_back_publishes_nothing(
    run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", 4)
    files = [
        write_parquet(tmp_path / f"{i}.parquet", {"id": [f"{i}-{k}" for k in range(4)], "text": many_texts(4)})
        for i in range(3)
    ]
    earlier = ready(str(tmp_path / "out"))
    publish(earlier)

    def all_but_one(plan: str) -> Any:
        yield from (split for split in list_splits(plan) if split.number != 1)

    monkeypatch.setattr("transforms.read.step.list_splits", all_but_one)
    outcome = run_job(files)
    assert outcome.verdict.status == "unbalanced"
    assert outcome.verdict.problems == ("split 1: was planned and never read",)
    assert_holds(str(tmp_path / "out"), earlier)


def test_a_split_that_is_read_twice_publishes_nothing(
    run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a", "b"], "text": many_texts(2)})

    def twice(plan: str) -> Any:
        yield from [*list_splits(plan), *list_splits(plan)]

    monkeypatch.setattr("transforms.read.step.list_splits", twice)
    assert run_job(file, trust_ids=True).verdict.problems == ("split 0: 2 rows planned, 4 read",)


def test_work_adds_up_and_names_every_precision_and_the_lowest_budget_there_was() -> None:
    assert total_work([]) == Work()
    parts = [Work(1, 2, 3, 4, 5, 6, "float32", 900), Work(10, 20, 30, 40, 50, 60, "bfloat16", 512), Work(1), Work(1)]
    assert total_work(parts) == Work(13, 22, 33, 44, 55, 66, "bfloat16+float32", 512)
