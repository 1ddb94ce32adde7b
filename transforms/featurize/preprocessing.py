"""The TF Transform preprocessing_fn: the one graph that training and scoring share. Graph code only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from model.tokenizer.tokenization import Tokenizer, TokenizerSpec
from transforms.batches.texts import END

LABELS = "labels"
"""Name of the label vocabulary among the assets of the graph."""

Tensors = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """text, of pairs text_pair too (string [B]) -> tokens, first_segment, truncated (TF Transform emits int64).

    Where the tokenizer makes windows of a long text, `windows` too: their lengths, ragged.

    While fitting there is `target` too: the label (string [B]) of a classification, which becomes its index in the
    label vocabulary (most frequent first, ties by name); of several labels what join_labels made of them (string [B]),
    which becomes the indices of all; or the value (float32 [B]) of a regression. Without `with_target` the graph has no
    target and no label vocabulary: that of a bundle made of a trained model.
    """

    vocabulary: Path
    tokenizer: TokenizerSpec
    task: str
    with_target: bool = True

    def __call__(self, inputs: Tensors) -> Tensors:
        tokenizer = tft.make_and_track_object(lambda: Tokenizer(self.vocabulary, self.tokenizer), name="tokenizer")
        found = tokenizer.tokenize(*(inputs[name] for name in self.tokenizer.names))
        outputs = {
            "tokens": tf.cast(found.tokens, tf.int64),
            "first_segment": tf.cast(found.first_segment, tf.int64),
            "truncated": tf.cast(found.truncated, tf.int64),
        }
        if found.windows is not None:
            outputs["windows"] = found.windows
        if not self.with_target:
            return outputs
        if self.task in ("classification", "multilabel"):
            target = inputs["target"] if self.task == "classification" else _split(inputs["target"])
            outputs["target"] = tft.compute_and_apply_vocabulary(target, vocab_filename=LABELS)
        else:
            outputs["target"] = tf.cast(inputs["target"], tf.float32)
        return outputs


def _split(joined: Any) -> Any:
    """Strings [B] -> the labels of each, as a sparse tensor; the empty string has none."""
    labels = tf.strings.split(joined, END)
    return tf.ragged.boolean_mask(labels, tf.not_equal(labels, "")).to_sparse()
