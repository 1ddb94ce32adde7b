"""Labels of texts that have any number of them: from a column to one string a row and back."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.batches.texts import join_labels, split_labels

LABELS = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1, max_size=6)


def read(texts: list[str | None], separator: str | None = None) -> list[list[str] | None]:
    joined = join_labels(pa.array(texts, pa.string()), separator)
    return [None if one is None else split_labels(one) for one in joined.to_pylist()]


@given(st.lists(st.lists(LABELS, max_size=5), max_size=8))
def test_lists_come_back_each_label_once_and_in_order(rows: list[list[str]]) -> None:
    assert read([json.dumps(row) for row in rows]) == [list(dict.fromkeys(row)) for row in rows]


@given(st.lists(st.lists(LABELS.map(lambda text: text.replace("|", "")), max_size=5), max_size=8))
def test_separated_labels_come_back_without_the_spaces_around_them(rows: list[list[str]]) -> None:
    wanted = [list(dict.fromkeys(label.strip() for label in row if label.strip())) for row in rows]
    assert read([" | ".join(row) for row in rows], "|") == wanted


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("[]", []),
        ('["a", "a"]', ["a"]),
        ("[1, 2.50, true, 1e400]", ["1", "2.50", "true", "1e400"]),
        ('["a b", " "]', ["a b", " "]),
        ("", None),
        ("a, b", None),
        ('"a"', None),
        ('{"a": 1}', None),
        ('["a", null]', None),
        ('["a", ["b"]]', None),
        ('["a", ""]', None),
        (r'["a\nb"]', None),
        (r'["a\r"]', None),
        ("[NaN]", None),
        ("[" * 100_000, None),
        (None, None),
    ],
)
def test_what_a_list_is(text: str | None, labels: list[str] | None) -> None:
    assert read([text]) == [labels]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", []),
        (" ; ", []),
        ("a", ["a"]),
        ("a;;b;a", ["a", "b"]),
        ("a\nb;c", None),
        (None, None),
        ('["a;b"]', None),
        ("[]", None),
        ("[a];b", ["[a]", "b"]),
    ],
)
def test_what_is_separated(text: str | None, labels: list[str] | None) -> None:
    assert read([text], ";") == [labels]
