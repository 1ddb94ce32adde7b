"""Rows of tokens for networks as exported, and what is compared with what their makers computed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from support.checkpoints.exports import Case, Tiny
from support.checkpoints.imports import probabilities

from model.bundle import Bundle
from transforms.score.macro_batch import Ragged

MakeTiny = Callable[..., Bundle]
"""Imports a tiny network: itself, flags of the import, settings of write_export."""


def slow_but(names: Iterable[str], fast: tuple[str, ...]) -> list[Any]:
    """The names as parameters of a test, slow but for those that are `fast`."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def ragged(tokens: list[list[int]], first_segment: list[int]) -> Ragged:
    """Rows of tokens one after the other."""
    ends = np.cumsum([0, *map(len, tokens)])
    return Ragged(np.concatenate(tokens).astype(np.int32), ends, np.array(first_segment, np.int32))


def shown(case: Case) -> np.ndarray:
    """What a job shows of the maker's numbers."""
    return case.wanted if case.probabilities or not case.labels else np.asarray(tf.nn.softmax(case.wanted))


def numbers_of(rows: Sequence[Mapping[str, Any]], labels: tuple[str, ...]) -> np.ndarray:
    """Probabilities, or values, of published rows with the ids 0, 1, …: float `[B, C]`."""
    if labels:
        return probabilities(list(rows), labels)
    values = {row["id"]: row["value"] for row in rows}
    return np.array([[values[str(number)]] for number in range(len(values))])


ROWS = [[2, 7, 9, 3], [2, 59, 3], [2, *range(5, 45), 3], [2, 8, 8, 8, 8, 3]]


def plain(network: Tiny, rows: list[list[int]], types: bool = False) -> np.ndarray:
    """Each row alone, without padding, by the network itself."""
    found = []
    for row in rows:
        ids = tf.constant([row], tf.int32)
        found.append(network(ids, tf.ones_like(ids), tf.ones_like(ids) if types else tf.zeros_like(ids)).numpy()[0])
    return np.array(found)


def scored(bundle: Bundle, rows: list[list[int]], name: str = "logits") -> np.ndarray:
    """An output of the scoring graph of a bundle, of single texts."""
    flat = ragged(rows, [len(row) for row in rows])
    score = tf.saved_model.load(bundle.scoring).signatures["score"]
    lengths = tf.constant(np.diff(flat.offsets), tf.int32)
    found = score(tokens=tf.constant(flat.values), lengths=lengths, first_segment=tf.constant(flat.first_segment))
    return np.asarray(found[name])
