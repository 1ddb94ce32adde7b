"""The truncator longest_first cuts a pair as Hugging Face's fast tokenizers do."""

import json
import string
from pathlib import Path

import pytest
import tensorflow as tf
from support.commands import DATA

from model.tokenizer.tokenization import Tokenized, TokenizerSpec, pack
from pipeline.bundling.training_job import training_job

DATA = DATA / "tokenizer" / "longest_first.json"
CUT: dict[str, list[str]] = json.loads(DATA.read_text())
"""Room -> by length of the first text a line, by length of the second a digit: how many tokens of the first stay."""
DIGITS = string.digits + string.ascii_letters
LENGTHS = range(58)
FIRSTS, SECONDS = zip(*((first, second) for first in LENGTHS for second in LENGTHS), strict=True)


def packed(truncator: str, room: int) -> Tokenized:
    """All 3,364 pairs: tokens from 1,000 on in the first text, from 2,000 on in the second."""
    spec = TokenizerSpec(truncator=truncator, max_tokens=room + 3, segments=2)
    segments = [start + tf.ragged.range(lengths) for start, lengths in ((1_000, FIRSTS), (2_000, SECONDS))]
    return pack(segments, spec, start=1, end=2)


@pytest.mark.parametrize("room", CUT)
def test_all_pairs_are_cut_as_the_fast_tokenizer_cuts_them(room: str) -> None:
    kept = [DIGITS.index(digit) for line in CUT[room] for digit in line]
    found = packed("longest_first", int(room))
    expected = []
    for first, second, stay in zip(FIRSTS, SECONDS, kept, strict=True):
        rest = min(second, int(room) - stay)
        expected.append([1, *range(1_000, 1_000 + stay), 2, *range(2_000, 2_000 + rest), 2])
        assert stay <= first
    assert found.tokens.to_list() == expected
    assert found.first_segment.numpy().tolist() == [stay + 2 for stay in kept]
    assert found.truncated.numpy().tolist() == [a + b > int(room) for a, b in zip(FIRSTS, SECONDS, strict=True)]


@pytest.mark.parametrize("room", [28, 29])
def test_it_differs_from_round_robin_where_an_odd_token_is_left_and_the_first_text_is_not_longer(room: int) -> None:
    pairs = [packed(name, room).first_segment.numpy().tolist() for name in ("longest_first", "round_robin")]
    differ = [a != b for a, b in zip(*pairs, strict=True)]
    half = room // 2
    assert differ == [room % 2 == 1 and half < a <= b for a, b in zip(FIRSTS, SECONDS, strict=True)]


def test_a_training_may_ask_for_it(tmp_path: Path) -> None:
    job = training_job(
        {"input": ["rows.csv"], "output": str(tmp_path / "b"), "name": "n", "truncator": "longest_first"}
    )
    assert job.truncator == "longest_first"
