"""Featurizing with a graph that fails on purpose."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from support.scorers import COLUMNS, NOBODYS, texts_batch

from transforms.featurize.step import TokenArrays, featurize, read_unknown

TEXTS = [f"text {i}" for i in range(9)]


def failing(error: type[tf.errors.OpError], texts: npt.NDArray[np.object_]) -> TokenArrays:
    """One token a text, its number; raises on the text with a 5."""
    if b"text 5" in texts:
        raise error(None, None, "the text says …")
    numbers = np.array([int(text[-1:]) for text in texts], np.int32)
    ones = np.ones(len(texts), np.int32)
    return TokenArrays(numbers, np.arange(len(texts) + 1), ones, ones > 1)


def test_exactly_the_text_at_fault_is_a_dead_letter_and_nothing_quotes_it() -> None:
    tokens, dead = featurize(texts_batch(TEXTS), lambda *t: failing(tf.errors.InvalidArgumentError, *t), COLUMNS)
    assert dead is not None
    assert (dead.column("code").to_pylist(), dead.column("row").to_pylist()) == (["not_tokenized"], [5])
    assert "says" not in str(dead.to_pylist())
    assert tokens.column("tokens").to_pylist() == [[number] for number in range(9) if number != 5]


@pytest.mark.parametrize("error", [*NOBODYS, tf.errors.ResourceExhaustedError])
def test_an_error_of_the_machine_is_no_fault_of_a_text(error: type[tf.errors.OpError]) -> None:
    with pytest.raises(error):
        featurize(texts_batch(TEXTS), lambda *texts: failing(error, *texts), COLUMNS)


@pytest.mark.parametrize("name", ["vocab.txt", "my_words.txt"])
def test_the_vocabulary_may_have_any_name(name: str, tmp_path: Path) -> None:
    assets = tmp_path / "transform_fn" / "assets"
    assets.mkdir(parents=True)
    (assets / name).write_text("[PAD]\na\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    (assets / "labels").write_text("good\nbad\n")
    assert read_unknown(str(tmp_path)) == 2
