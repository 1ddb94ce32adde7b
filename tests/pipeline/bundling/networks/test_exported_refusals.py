"""A network whose scores depend on more than the row, or of which a flag says what is not so, is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from support.checkpoints import exports as made
from support.checkpoints.exported_rows import MakeTiny, slow_but
from support.checkpoints.exports import VOCABULARY, Clamped, Inverted, OneHot, Tiny, edit, write_export, write_words
from support.checkpoints.imports import job

from pipeline.bundling.importing import import_model
from pipeline.errors import ConfigError


def nan_weights() -> Tiny:
    network = Tiny()
    network.words.assign(np.where(np.arange(VOCABULARY)[:, None] == 33, np.nan, network.words.numpy()))
    return network


def infinite_scores(network: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return network.sound(rows, mask) / tf.zeros([])


def attention(network: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """A softmax over all places, which is even where the mask has none."""
    weights = tf.nn.softmax(tf.reduce_sum(rows, -1, keepdims=True) - 1e4 * (1 - mask), axis=1)
    return tf.reduce_sum(rows * weights, 1) @ network.head


REFUSED: dict[str, tuple[Callable[[], Tiny | None], dict[str, Any], dict[str, Any], str]] = {
    "padding in the mean": (lambda: Tiny(logits=made.mean_with_padding), {}, {}, "depend on how far it is padded"),
    "the neighbour": (
        lambda: Tiny(logits=made.sees_its_neighbour),
        {},
        {},
        "without padding than with one or",
    ),
    "the batch": (lambda: Tiny(logits=made.over_the_batch), {}, {}, "the rows of a batch change each other's scores"),
    "the place": (lambda: Tiny(logits=made.by_place), {}, {}, "the rows of a batch change each other's scores"),
    "chance": (lambda: Tiny(logits=made.by_chance), {}, {}, "the same rows score differently each time"),
    "changed weights": (lambda: Tiny(logits=made.counts_its_calls), {}, {}, "changes its own weights while it scores"),
    "a file": (
        lambda: Tiny(logits=made.reads_a_file),
        {},
        {},
        "the operation ReadFile, which does more than compute",
    ),
    "tokens": (lambda: Tiny(logits=made.for_each_token), {}, {}, "none of them is a batch of numbers"),
    "NaN weights": (nan_weights, {}, {}, "its variable words has 8 of 480 weights that are NaN or infinite"),
    "infinite scores": (lambda: Tiny(logits=infinite_scores), {}, {}, "gives NaN or infinity for 9 of 9 rows"),
    "a small table": (lambda: Tiny(vocabulary=59), {}, {}, "does not score token 59 of the vocabulary, which has 60"),
    "a table that is cut to": (lambda: Clamped(vocabulary=50), {}, {}, "scores token 59, .* exactly like token 58"),
    "a table of one-hot vectors": (lambda: OneHot(vocabulary=59), {}, {}, "exactly like a number that no token has"),
    "no token counts": (lambda: Tiny(logits=made.constant), {}, {}, "scores rows of different tokens exactly alike"),
    "XLA": (lambda: Tiny(logits=made.by_xla), {}, {}, "is compiled by XLA"),
    "one row a batch": (lambda: Tiny(logits=made.in_a_batch_of_one), {}, {}, "ends in InvalidArgumentError for 3 rows"),
    "an inverted mask of a fixed length": (Inverted, {"length": 20}, {}, "gives NaN or infinity for 1 of 9 rows"),
    "a mask of a fixed length that counts padding": (
        lambda: Tiny(logits=made.partly_masked),
        {"length": 20},
        {},
        "other ids behind a row change its scores",
    ),
    "mask and types of a fixed length swapped": (
        lambda: Tiny(logits=attention),
        {"length": 20},
        {"inputs": "ids=input_word_ids,mask=input_type_ids,types=input_mask"},
        "other ids behind a row change its scores",
    ),
    "sigmoids that are called logits": (
        lambda: Tiny(logits=made.sigmoid),
        {"output": "logits"},
        {"outputs_are": None},
        "has only numbers from 0 to 1, as probabilities do",
    ),
    "lost names": (
        lambda: None,
        {"names": {"ids": "input_1", "mask": "input_2", "types": "input_3"}},
        {},
        "these names do not say which has the token ids",
    ),
    "a wrong name": (
        lambda: None,
        {},
        {"inputs": "ids=words,mask=input_mask,types=input_type_ids"},
        "has no input words",
    ),
    "mask and types swapped": (
        lambda: None,
        {},
        {"inputs": "ids=input_word_ids,mask=input_type_ids,types=input_mask"},
        "gives NaN or infinity|is padded|does not score",
    ),
    "unsaid outputs": (lambda: None, {}, {"outputs_are": None}, "may be logits or probabilities"),
    "a softmax that is called logits": (
        lambda: Tiny(logits=made.softmax),
        {"output": "logits"},
        {"outputs_are": None},
        "every row of its output logits adds up to 1, as probabilities do",
    ),
    "logits that are called probabilities": (
        lambda: None,
        {},
        {"outputs_are": "probabilities"},
        "which are no probabilities; give --outputs-are logits",
    ),
    "probabilities that do not add up": (
        lambda: Tiny(logits=made.sigmoid),
        {},
        {"outputs_are": "probabilities"},
        "in each row, not to 1; give --task multilabel",
    ),
    "a fixed length that is too short": (
        lambda: None,
        {"length": 20},
        {"max_tokens": 21},
        "--max-tokens 21: the model has 20 positions",
    ),
    "more tokens than it has positions": (
        lambda: None,
        {},
        {"max_tokens": 49},
        "--max-tokens 49: the model has 48 positions",
    ),
    "pairs of ids alone": (
        lambda: None,
        {"names": {"ids": "input_word_ids"}},
        {"segments": 2},
        "--segments 2: .* takes token ids alone, so the second text of a pair would score as if",
    ),
    "an activation of a probability": (
        lambda: Tiny(1, logits=made.sigmoid),
        {},
        {"outputs_are": "probabilities", "labels": None, "activation": "sigmoid"},
        "is a probability already",
    ),
    "windows of probabilities": (
        lambda: Tiny(logits=made.softmax),
        {},
        {"outputs_are": "probabilities", "long_texts": "windows"},
        "--long-texts windows: the logits of all windows make those of a text",
    ),
    "the formula of an encoder": (lambda: None, {}, {"norm_first": True}, "--norm-first: with --as-exported"),
    "labels of another number": (lambda: None, {}, {"labels": "a,b"}, "2 labels .2 different. for 3 outputs"),
}


# What is slow here is in test_trials.py or test_signature.py too.
SLOW = ("padding in the mean", "the batch", "the place", "chance", "tokens", "lost names", "a wrong name")


@pytest.mark.parametrize("what", slow_but(REFUSED, tuple(REFUSED.keys() - set(SLOW))))
def test_what_would_score_otherwise_is_refused_with_its_reason(what: str, tiny: MakeTiny, tmp_path: Path) -> None:
    network, settings, flags, reason = REFUSED[what]
    with pytest.raises(ValueError, match=reason) as error:
        tiny(network(), flags, **settings)
    assert str(error.value).count("\n") == 0
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"inputs": "ids=a,ids=b"}, "must be ids=NAME"),
        ({"inputs": "mask=a"}, "must be ids=NAME"),
        ({"inputs": "ids=a,mask=a"}, "must be ids=NAME"),
        ({"inputs": "words=a"}, "must be ids=NAME"),
        ({"outputs_are": "scores"}, "must be logits, probabilities, or NAME=one of the two"),
        ({"as_exported": False, "signature": "serve"}, "are of --as-exported; give it too"),
    ],
)
def test_a_wrong_flag_is_refused_before_anything_is_read(flags: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        job(tmp_path / "nowhere", tmp_path, **{"as_exported": True, **flags})


def test_a_signature_that_lists_other_names_than_its_function_has_is_refused(tmp_path: Path) -> None:
    def rename(meta: Any) -> None:
        outputs = meta.signature_def["serving_default"].outputs
        outputs["topic"].CopyFrom(outputs["scores"])
        del outputs["scores"]

    path = edit(write_export(tmp_path / "export"), rename)
    vocabulary = str(write_words(tmp_path))
    with pytest.raises(ValueError, match=r"is listed with .* and topic, and its function takes .* and gives scores"):
        import_model(job(path, tmp_path, as_exported=True, vocabulary=vocabulary, outputs_are="logits"))
