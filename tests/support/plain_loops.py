"""What a plain loop computes: a tokenizer call, Keras, a dictionary."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_text as tf_text
from support.bundles import Built

ADVERSARIAL = [
    "a",
    "   leading and trailing   ",
    "\x00\x07 control\x1b characters",
    "emoji 😀 👩‍👩‍👧 🏳️‍🌈",
    "ÀÉÎÕÜ ñ ç ß ﬁ ½ ™ ² İstanbul",
    "北京 日本語テスト 한국어",
    "مرحبا שלום привет",
    "[CLS] [SEP] [MASK] [PAD] [UNK]",
    "play " * 5_000,
    "x" * 140_000,
    "\u200b\u200d\ufeff zero width",
    "don't stop!!! (really?) $5.00 foo_bar",
    "\ud7ff\ue000\uffff",
]


def plain_loop(built: Built, texts: list[str]) -> npt.NDArray[np.float32]:
    """Row by row, as one would write it in a notebook; logits float32 [B, C]."""
    tokens = built.vocabulary.read_text(encoding="utf-8").split("\n")
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tokens[:-1], tf.range(len(tokens) - 1, dtype=tf.int64)), -1
    )
    tokenizer = tf_text.BertTokenizer(table, lower_case=True, token_out_type=tf.int64)
    first, last = tokens.index("[CLS]"), tokens.index("[SEP]")

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def logits(text: tf.Tensor) -> tf.Tensor:
        pieces = tokenizer.tokenize([text]).merge_dims(1, 2)[0, : built.spec.max_tokens - 2]
        ids = tf.cast(tf.concat([[first], pieces, [last]], 0)[tf.newaxis], tf.int32)
        inputs = {"input_word_ids": ids, "input_mask": tf.ones_like(ids), "input_type_ids": tf.zeros_like(ids)}
        return built.classifier(inputs)[0]

    return np.stack([logits(tf.constant(text)) for text in texts])
