"""Models that fail on purpose, and texts for them."""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf

from model.windows import Folding, Windows
from transforms.batches.fingerprints import text_hash
from transforms.batches.misfits import named
from transforms.batches.schemas import SOURCE, Columns, texts_schema
from transforms.errors import BadRowError, OutOfMemoryError
from transforms.score.macro_batch import Ragged
from transforms.score.memo import Memo
from transforms.score.micro_batches import Indices, plan_micro_batches

COLUMNS = Columns(text="text", id="id")


def texts_batch(texts: list[str]) -> pa.RecordBatch:
    """Texts with ids 0, 1, …"""
    count = len(texts)
    values = pa.array(texts, pa.string())
    source = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(["file"])).cast(SOURCE)
    columns = [pa.array(map(str, range(count))), values, source, pa.array([0] * count, pa.int32())]
    rows = [pa.array(range(count), pa.int64()), named(count, {}), text_hash(values)]
    return pa.RecordBatch.from_arrays([*columns, *rows], schema=texts_schema(COLUMNS))


POISON = 13

EACH = 128
"""What one token of these tests counts as: short rows so come near LEAST_BUDGET."""


class FakeScorer:
    """Gives the sum of tokens and the first segment; raises on POISON, and on more padded tokens than `largest`."""

    width = classes = 2
    engine = "tensorflow"
    precision = "float32"
    fold: Folding | None = None

    def __init__(self, largest: int | None = None, token_budget: int = 512 * EACH) -> None:
        self.largest, self.token_budget = largest, token_budget
        self.memo = Memo(self.width, 1 << 16)
        self.seen: list[tuple[int, ...]] = []
        self.calls = 0

    def plan(self, lengths: npt.NDArray[np.integer]) -> list[Indices]:
        return plan_micro_batches(lengths * EACH, self.token_budget)

    def shape(self, rows: int, longest: int) -> tuple[int, int]:
        return rows, longest * EACH

    def __call__(
        self,
        values: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int32],
        first_segment: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.float32]:
        self.calls += 1
        assert (values.dtype, lengths.dtype, first_segment.dtype) == (np.int32, np.int32, np.int32)
        if self.largest is not None and math.prod(self.shape(len(lengths), int(lengths.max()))) > self.largest:
            raise OutOfMemoryError
        if (values == POISON).any():
            raise BadRowError("the text says …")
        rows = np.split(values, np.cumsum(lengths)[:-1])
        self.seen += [(int(first), *row.tolist()) for row, first in zip(rows, first_segment, strict=True)]
        return np.array([[row.sum(), first] for row, first in zip(rows, first_segment, strict=True)], np.float32)


def ragged(rows: list[tuple[list[int], int]]) -> Ragged:
    lengths = [len(tokens) for tokens, _ in rows]
    return Ragged(
        np.array([token for tokens, _ in rows for token in tokens], np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([first for _, first in rows], np.int32),
    )


def windowed(texts: list[list[list[int]]]) -> Ragged:
    """Texts of windows of tokens."""
    windows = [window for text in texts for window in text]
    tokens = np.array([token for window in windows for token in window], np.int32)
    lengths = np.array([len(window) for window in windows], np.int32)
    counts = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    totals = [sum(map(len, text)) for text in texts]
    ends = np.concatenate([[0], np.cumsum(totals)]).astype(np.int64)
    return Ragged(tokens, ends, np.array(totals, np.int32), Windows(lengths, counts))


NOBODYS = [
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnimplementedError,
    tf.errors.UnknownError,
]
