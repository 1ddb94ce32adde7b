"""Which tokens of a long text stay, or which windows it becomes: against a plain loop, and against transformers."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import DATA

from model.checkpoints.detect import load, write_vocabulary
from model.long_texts import MAX_WINDOWS, WAYS, LongTexts
from model.tokenizer.tokenization import Tokenized, Tokenizer, TokenizerSpec, cut_windows, pack

KIN = DATA / "hf_kin"
CASES = sorted(folder.parent.name for folder in KIN.glob("*/windows.json"))
START, END = 1, 2


def plain(tokens: list[int], room: int, how: str) -> list[int]:
    """The tokens of one text that stay."""
    if len(tokens) <= room or how == "cut":
        return tokens[:room]
    if how == "tail":
        return tokens[-room:]
    head = room // 2 + room % 2
    return tokens[:head] + tokens[len(tokens) - (room - head) :]


def plain_windows(tokens: list[int], room: int, stride: int) -> list[list[int]]:
    """Windows one after the other, until one reaches the end."""
    windows = [tokens[:room]]
    begin = 0
    while begin + room < len(tokens):
        begin += room - stride
        windows.append(tokens[begin : begin + room])
    return windows


def texts(rows: list[int]) -> tf.RaggedTensor:
    """Rows of so many tokens, each of them another one."""
    return tf.RaggedTensor.from_row_lengths(tf.range(100, 100 + sum(rows)), tf.constant(rows, tf.int64))


ROWS = st.lists(st.integers(0, 40), max_size=12)


@settings(deadline=None, max_examples=60)
@given(ROWS, st.integers(3, 20), st.sampled_from([way for way in WAYS if way != "windows"]))
def test_the_tokens_stay_that_a_plain_loop_keeps(rows: list[int], max_tokens: int, how: str) -> None:
    segment = texts(rows)
    spec = TokenizerSpec(max_tokens=max_tokens, long_texts=LongTexts(how=how))
    found = pack([segment], spec, start=START, end=END)
    expected = [[START, *plain(row, max_tokens - 2, how), END] for row in segment.to_list()]
    assert found.tokens.to_list() == expected
    assert found.first_segment.numpy().tolist() == [len(row) for row in expected]
    assert found.truncated.numpy().tolist() == [row > max_tokens - 2 for row in rows]
    assert found.windows is None


@settings(deadline=None, max_examples=100)
@given(ROWS, st.integers(3, 20), st.data())
def test_a_text_becomes_the_windows_of_a_plain_loop(rows: list[int], max_tokens: int, data: Any) -> None:
    stride = data.draw(st.integers(0, max_tokens - 3))
    most = data.draw(st.sampled_from([1, 2, 3, MAX_WINDOWS]))
    segment = texts(rows)
    long_texts = LongTexts(how="windows", stride=stride, max_windows=most)
    found = cut_windows(segment, TokenizerSpec(max_tokens=max_tokens, long_texts=long_texts), start=START, end=END)
    expected = [plain_windows(row, max_tokens - 2, stride) for row in segment.to_list()]
    expected = [[[START, *window, END] for window in row] if len(row) <= most else [] for row in expected]
    assert windows_of(found) == expected
    assert found.first_segment.numpy().tolist() == [sum(map(len, row)) for row in expected]
    assert not found.truncated.numpy().any()
    for text, row in zip(segment.to_list(), expected, strict=True):
        # Nothing is lost, and what neighbours have in common is exactly the stride.
        kept = [token for number, window in enumerate(row) for token in window[1 + (stride if number else 0) : -1]]
        assert kept == text or not row
        assert all(a[-1 - stride : -1] == b[1 : 1 + stride] for a, b in itertools.pairwise(row))


def windows_of(found: Tokenized) -> list[list[list[int]]]:
    assert found.windows is not None
    rows = []
    for tokens, lengths in zip(found.tokens.to_list(), found.windows.to_list(), strict=True):
        rows.append([tokens[sum(lengths[:i]) : sum(lengths[: i + 1])] for i in range(len(lengths))])
        assert sum(lengths) == len(tokens)
    return rows


@pytest.mark.parametrize("case", CASES)
def test_windows_are_those_of_transformers(case: str, tmp_path: Path) -> None:
    read = lambda name: json.loads((KIN / case / name).read_text(encoding="utf-8"))  # noqa: E731
    stored, lines = read("windows.json"), read("texts.json")
    checkpoint = load(KIN / case / "model")
    vocabulary = write_vocabulary(checkpoint.vocabulary or (), tmp_path / "vocab.txt")
    assert len(stored["cuts"]) >= 4
    for cut in stored["cuts"]:
        spec = TokenizerSpec(
            flavour=checkpoint.flavour,
            lower_case=checkpoint.lower_case is not False,
            max_tokens=stored["max_length"],
            long_texts=LongTexts(how="windows", stride=cut["stride"]),
        )
        found = Tokenizer(vocabulary, spec).tokenize(tf.constant([lines[cut["text"]]]))
        assert windows_of(found) == [cut["windows"]]
        assert len(cut["windows"]) > 1


def test_what_a_bundle_says_is_read_back_and_nothing_else() -> None:
    for kind in (*(LongTexts(how=how) for how in WAYS), LongTexts(how="windows", stride=7, by="max", max_windows=9)):
        assert LongTexts.of(kind.described) == kind
    assert LongTexts().described == {}
    assert LongTexts(how="tail").described == {"how": "tail"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LongTexts(how="middle"), "long texts are 'middle'; known are cut, tail, head-tail, windows"),
        (lambda: LongTexts(how="windows", by="median"), "folded by 'median'; known are mean and max"),
        (lambda: LongTexts(how="windows", stride=-1), "stride of windows is -1"),
        (lambda: LongTexts.of({"how": "windows", "stride": True, "by": "mean", "max_windows": 1}), "stride of"),
        (lambda: LongTexts.of({"how": "tail", "stride": 3}), "described by 'how', 'stride', which is not known"),
        (lambda: LongTexts.of({"how": "cut"}), "described by 'how'"),
        (lambda: LongTexts.of({"how": "windows"}), "described by 'how'"),
        (lambda: TokenizerSpec(segments=2, long_texts=LongTexts(how="tail")), "a row is a pair of texts"),
        (
            lambda: TokenizerSpec(max_tokens=16, long_texts=LongTexts(how="windows", stride=14)),
            "hold 14 of the text, and 14 of them would be those of the window before",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
