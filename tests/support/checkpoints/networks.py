"""Small networks of every kind, and rows for them."""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from support.commands import DATA

from model.checkpoints.checkpoint import assign
from model.network.classifier import BertClassifier
from model.network.config import BertConfig
from model.network.encoder import INPUT_NAMES, BertEncoder

ORACLE = DATA / "oracle"

CONFIG = BertConfig(
    vocab_size=64,
    hidden_size=16,
    num_layers=2,
    num_attention_heads=4,
    inner_dim=32,
    max_sequence_length=16,
)

CASES = {
    "cls3_pooler_v2": (3, True),
    "reg1_pooler_v1": (1, True),
    "cls3_nopooler_v1": (3, False),
    "headname_v1": (2, True),
    "output_range1_v1": (3, True),
    "head_dense_v1": (4, True),
}


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of NumPy, which is closed again."""
    with np.load(path) as file:
        return dict(file)


@functools.cache
def case_model(case: str) -> tuple[BertClassifier, BertConfig]:
    """A case with the weights of its maker, made once a process: nobody changes them."""
    classes, pooler = CASES[case]
    config = CONFIG.replace(use_encoder_pooler=pooler)
    encoder = BertEncoder.from_bert_config(config, output_range=1 if case == "output_range1_v1" else None)
    head = tf_keras.layers.Dense(classes) if case == "head_dense_v1" else None
    classifier = BertClassifier(encoder, classes, use_encoder_pooler=pooler, cls_head=head)
    assign(classifier, arrays_of(ORACLE / case / "weights.npz"), origin=case)
    return classifier, config


def ragged(padded: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
    words, mask, types = (np.asarray(padded[name]) for name in INPUT_NAMES)
    return rows(words[mask == 1], mask.sum(axis=1), (mask * (types == 0)).sum(axis=1))


def rows(tokens: object, lengths: object, first_segment: object) -> dict[str, tf.Tensor]:
    values = {"tokens": tokens, "lengths": lengths, "first_segment": first_segment}
    return {name: tf.constant(np.asarray(value, np.int32)) for name, value in values.items()}


def random_rows(lengths: list[int], seed: int) -> tuple[dict[str, tf.Tensor], dict[str, np.ndarray]]:
    """The same random rows in both forms; about half of them have two segments."""
    generator = np.random.default_rng(seed)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, np.newaxis]).astype(np.int32)
    words = generator.integers(0, 64, mask.shape).astype(np.int32) * mask
    first = np.where(generator.random(len(lengths)) < 0.5, lengths, generator.integers(1, np.add(lengths, 1)))
    types = (np.arange(max(lengths)) >= first[:, np.newaxis]).astype(np.int32) * mask
    padded = dict(zip(INPUT_NAMES, (words, mask, types), strict=True))
    return ragged(padded), padded
