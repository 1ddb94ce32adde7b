"""What is measured of texts is what a plain loop over their characters finds."""

import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.featurize import traits as module
from transforms.featurize.traits import count_tokens, measure, traits

character = st.sampled_from("a Z0!9:/.é中文Ωжא𝕏😀µªﬁＡ\u0301\U00020000\n") | st.characters(codec="utf-8")
text = st.lists(st.sampled_from(["://", ":", "/", "http://"]) | character, max_size=12).map("".join)


def is_other(character: str) -> bool:
    """A letter after the blocks of Latin ones that does not call itself Latin."""
    latin = ord(character) < 0x370 or "LATIN " in unicodedata.name(character, "")
    return character.isalpha() and not latin


def plain(texts: Sequence[str]) -> list[list[int]]:
    return [
        [len(text) for text in texts],
        [sum(c in "0123456789" for c in text) for text in texts],
        [sum(map(is_other, text)) for text in texts],
        [text.count("://") for text in texts],
    ]


def found(column: pa.Array) -> list[list[int]]:
    return [counts.tolist() for counts in traits(column)]


@given(st.lists(text, max_size=12))
def test_traits_are_those_of_a_plain_loop(texts: list[str]) -> None:
    assert found(pa.array(texts, pa.string())) == plain(texts)
    # A slice begins in the middle of what Arrow holds.
    assert found(pa.array(["0://中", *texts, "9"], pa.string()).slice(1, len(texts))) == plain(texts)


def test_portions_of_many_bytes_are_counted_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PORTION_BYTES", 16)
    texts = ["0123456789://中文" * n for n in range(9)] + ["", "a", ":", "//b"] * 5
    assert found(pa.array(texts)) == plain(texts)


def test_of_a_long_text_the_beginning_counts() -> None:
    texts = ["中" * 70_000 + "1" * 9, "7" * 70_000, "short"]
    assert found(pa.array(texts)) == plain([text[:65_536] for text in texts])


def test_a_pair_counts_as_one_text_and_shares_are_in_millionths() -> None:
    measured = measure([pa.array(["ab1", "x"]), pa.array(["жж2", "://://"])], np.array([4, 0]), np.arange(2))
    assert measured.tolist() == [(4, 333_333, 0, 333_333, 0, 0), (0, 0, 2, 0, 0, 0)]
    assert measure([pa.array([], pa.string())], np.array([], np.int64), np.arange(0)).tolist() == []


def test_only_texts_of_the_sample_are_looked_at() -> None:
    texts = [pa.array(["1", "22 ://", "ж3"]), pa.array(["4", "", "5"])]
    whole = measure(texts, np.array([1, 2, 3]), np.arange(3)).tolist()
    nothing = (0,) * 5
    assert measure(texts, np.array([1, 2, 3]), np.array([2])).tolist() == [(1, *nothing), (2, *nothing), whole[2]]
    assert measure(texts, np.array([1, 2, 3]), np.arange(0)).tolist() == [(n, *nothing) for n in (1, 2, 3)]


@given(st.lists(st.lists(st.integers(0, 3), max_size=5), max_size=8))
def test_tokens_are_counted_by_row(rows: list[list[int]]) -> None:
    values = np.array([token for row in rows for token in row], np.int32)
    offsets = np.cumsum([0, *map(len, rows)])
    assert count_tokens(1, values, offsets).tolist() == [row.count(1) for row in rows]
