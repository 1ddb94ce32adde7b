"""What is right is read from a kept column as a training reads it; columns that hold no labels are refused."""

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.batches.texts import split_labels
from transforms.featurize.fit import targets_of
from transforms.outputs.comparison.names import Names, SideError
from transforms.outputs.comparison.right_ones import LONGEST_LABEL, MOST_LABELS, right_ones

LABELS = ["play", "book", " a b ", "é", "[x]"]


def read(column: pa.Array, separator: str | None = None, **kind: bool) -> list[Any]:
    """The right ones by name."""
    names = Names()
    found = right_ones(column, names, "out/dt=2026-11-21", "gold", separator, **kind).to_pylist()
    if kind.get("numbers"):
        return found
    if kind.get("several"):
        return [None if row is None else [names.names[number] for number in row] for row in found]
    return [None if number is None else names.names[number] for number in found]


def trained(column: pa.Array, separator: str | None = None) -> list[list[str] | None]:
    """What a training makes of the column."""
    joined, _ = targets_of(column, "multilabel", separator)
    return [None if row is None else split_labels(row) for row in joined.to_pylist()]


@given(st.lists(st.none() | st.lists(st.none() | st.sampled_from([*LABELS, "", "a\nb"]), max_size=4), max_size=6))
def test_lists_are_read_as_a_training_reads_them(rows: Sequence[Any]) -> None:
    for column in (
        pa.array(rows, pa.list_(pa.string())),
        pa.array([None if r is None else json.dumps(r) for r in rows], pa.string()),
    ):
        assert read(column, several=True) == trained(column)
        assert read(column.slice(1), several=True) == trained(column)[1:]


@given(
    st.lists(st.none() | st.lists(st.sampled_from(["play", " book", "a b", ""]), max_size=4).map("|".join), max_size=6)
)
def test_separated_labels_are_read_as_a_training_reads_them(rows: Sequence[Any]) -> None:
    column = pa.array(rows, pa.string())
    assert read(column, "|", several=True) == trained(column, "|")


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.float64()), pa.list_(pa.bool_(), 2)])
def test_lists_of_numbers_are_lists_of_labels(kind: pa.DataType) -> None:
    values = [[True, False], None] if kind.value_type == pa.bool_() else [[1, 0], None]
    column = pa.array(values, kind)
    assert read(column, several=True) == trained(column)
    assert read(column, several=True)[0] is not None


def test_a_null_in_a_list_makes_its_row_unknown() -> None:
    assert read(pa.array([["play", None], ["book"]], pa.list_(pa.string())), several=True) == [None, ["book"]]


@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_a_blank_string_is_not_known(blank: str) -> None:
    assert read(pa.array([blank, "play", None])) == [None, "play", None]
    assert read(pa.array([blank, "play"]).dictionary_encode()) == [None, "play"]
    assert read(pa.array([blank, "1.5", None]), numbers=True) == [None, 1.5, None]
    assert read(pa.array([blank, '["play"]']), several=True) == [None, ["play"]]


def test_numbers_are_named_as_a_training_names_them() -> None:
    for column in (pa.array([3, None]), pa.array([3.0, 2.5]), pa.array([True, False])):
        assert read(column) == targets_of(column, "classification")[0].to_pylist()


@pytest.mark.parametrize(
    ("values", "separator", "sentence"),
    [
        (["play", '["book"]'], None, "has strings that are no lists"),
        (["a|b"], None, "has strings that are no lists"),
        (['["a"]'], "|", "leave --label-separator out"),
        ([["a"]], "|", "leave --label-separator out"),
        ([{"a": "x"}], None, "lists of labels are compared"),
        ([[["a"]]], None, "lists of labels are compared"),
        ([[{"a": "x"}]], None, "lists of labels are compared"),
    ],
)
def test_what_a_training_would_not_take_for_lists_is_refused(values: Any, separator: str | None, sentence: str) -> None:
    with pytest.raises(SideError, match=rf"^--label-column 'gold': .*{sentence}"):
        read(pa.array(values), separator, several=True)


@pytest.mark.parametrize("values", [[{"a": "x"}], [["a"]], [b"\xff"]])
def test_other_types_are_no_labels(values: Any) -> None:
    with pytest.raises(SideError, match=r"^--label-column 'gold': has the type .*, and labels are compared"):
        read(pa.array(values))


@pytest.mark.parametrize("values", [["no number"], [dt.datetime(2026, 11, 21)], [b"\xff"], [[1.0]], [{"a": 1.0}]])
def test_what_arrow_makes_no_number_of_is_refused_by_its_type(values: Any) -> None:
    with pytest.raises(SideError, match=r"^--label-column 'gold': has the type .*, and numbers are compared"):
        read(pa.array(values), numbers=True)


@pytest.mark.parametrize("several", [False, True])
def test_texts_and_ids_are_no_labels_and_are_not_shown(several: bool) -> None:
    long = "secret" + "x" * LONGEST_LABEL
    many = [f"secret {number}" for number in range(MOST_LABELS + 1)]
    for texts in ([long], many):
        column = pa.array([[text] for text in texts]) if several else pa.array(texts)
        with pytest.raises(SideError, match="is no column of labels") as refused:
            read(column, several=several)
        assert "secret" not in str(refused.value)
    assert read(pa.array(["x" * LONGEST_LABEL])) == ["x" * LONGEST_LABEL]
