"""What is not a comparison is refused by name; ids are spread over files of about the same size."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs.plain_comparison import side

from transforms.errors import RecordError
from transforms.outputs.comparison import partitions
from transforms.outputs.comparison.compare import compare
from transforms.outputs.comparison.found import Labelled
from transforms.outputs.comparison.partitions import Joined, partition_of, partitions_for
from transforms.outputs.comparison.sides import Side, SideError

LABELLED = [{"id": "x", "label": "play", "probability": 0.5}]
VALUED = [{"id": "x", "value": 0.5}]


def test_dates_of_other_kinds_of_models_are_not_compared(tmp_path: Path) -> None:
    a, b = side(tmp_path / "a", LABELLED, LABELLED[0]), side(tmp_path / "b", VALUED, VALUED[0])
    with pytest.raises(SideError, match=rf"^{a.name} has one label a text and {b.name} has a value a text: these"):
        compare(a, b, 1)


def test_a_date_without_scores_is_named(tmp_path: Path) -> None:
    a = side(tmp_path / "a", [{"id": "x"}], {})
    with pytest.raises(SideError, match=rf"^{a.name}: its files have none of the columns label, labels, value"):
        compare(a, a, 1)


@pytest.mark.parametrize(
    ("rows", "kind", "what"),
    [
        (LABELLED, pa.list_(pa.string()), "labels are compared"),
        (VALUED, pa.string(), "numbers are compared"),
        ([{"id": "x", "labels": []}], pa.list_(pa.list_(pa.string())), "lists of labels are compared"),
    ],
)
def test_right_labels_of_a_wrong_type_are_refused(tmp_path: Path, rows: Any, kind: pa.DataType, what: str) -> None:
    wrong = {pa.string(): "no number"}.get(kind, [["x"]] if kind == pa.list_(pa.list_(pa.string())) else ["x"])
    a = side(tmp_path / "a", [{**rows[0], "gold": wrong}], rows[0], gold=kind)
    with pytest.raises(SideError, match=rf"^--label-column 'gold': has the type .*{what}"):
        compare(a, a, 1, gold="gold")


def test_a_column_that_neither_has_is_refused(tmp_path: Path) -> None:
    a = side(tmp_path / "a", LABELLED, LABELLED[0])
    with pytest.raises(SideError, match=r"^--label-column 'gold': neither .* has such a column"):
        compare(a, a, 1, gold="gold")
    with pytest.raises(SideError, match=r"^--label-separator is for"):
        compare(a, a, 1, separator="|")


def test_a_part_that_is_gone_and_one_that_is_damaged_are_named(tmp_path: Path) -> None:
    a = side(tmp_path / "a", LABELLED, LABELLED[0])
    gone = Side(name="out/dt=2026-11-21", parts=(*a.parts, str(tmp_path / "gone.parquet")))
    with pytest.raises(SideError, match=r"^out/dt=2026-11-21: .*gone\.parquet is gone"):
        compare(a, gone, 1)
    (tmp_path / "gone.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(RecordError, match=r"gone\.parquet: is damaged"):
        compare(a, gone, 1)


def test_dates_without_rows_have_nothing_in_common(tmp_path: Path) -> None:
    nothing, a = Side(name="empty", parts=()), side(tmp_path / "a", LABELLED, LABELLED[0])
    for one, other in ((nothing, a), (a, nothing), (nothing, nothing)):
        found = compare(one, other, 1)
        assert isinstance(found, Labelled)
        assert (found.ids.both, found.ids.only_a, found.ids.only_b) == (0, int(one is a), int(other is a))


def test_no_more_rows_are_joined_at_once_than_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": f"r{row}", "label": "play", "probability": 0.5} for row in range(5_000)]
    a, b = side(tmp_path / "a", rows, rows[0]), side(tmp_path / "b", rows[::-1], rows[0])
    sizes: list[int] = []
    joined = partitions._joined

    def noting(*sides: Any) -> Joined:
        found = joined(*sides)
        sizes.append(found.a.num_rows)
        return found

    monkeypatch.setattr(partitions, "_joined", noting)
    found = compare(a, b, 5_000, rows_at_once=200)
    assert (found.ids.both, len(sizes), sum(sizes)) == (5_000, 25, 5_000)
    assert max(sizes) < 300


@pytest.mark.parametrize("shape", ["{}", "customer-{:08}", "{:032x}", "{:064}" + "x" * 100])
def test_ids_are_spread_evenly(shape: str) -> None:
    ids = pa.array([shape.format(number) for number in range(64_000)], pa.large_string())
    counts = np.bincount(partition_of(ids, 64), minlength=64)
    assert (counts.min(), counts.max()) == (pytest.approx(1_000, rel=0.2), pytest.approx(1_000, rel=0.2))


@given(st.lists(st.text(max_size=70), max_size=20), st.integers(1, 9), st.integers(0, 20))
def test_the_part_of_an_id_does_not_depend_on_the_ids_beside_it(ids: list[str], parts: int, cut: int) -> None:
    column = pa.array(ids, pa.large_string())
    whole = partition_of(column, parts).tolist()
    assert [*partition_of(column.slice(0, cut), parts), *partition_of(column.slice(cut), parts)] == whole
    assert all(0 <= part < parts for part in whole)


def test_there_are_as_many_files_as_rows_need() -> None:
    assert [partitions_for(rows, 100) for rows in (0, 100, 101, 10**9)] == [1, 1, 2, 256]
