"""Scoring one macro-batch: duplicates once, micro-batches by tokens, failures narrowed down to rows. Knows no Beam."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from transforms.micro_batches import Rows, plan_micro_batches, unique_rows


class Results(NamedTuple):
    """Per row: `outputs` float32 [B, C] (probabilities, or the value with C = 1; NaN where there is none).

    `padded` int32 [B] is the width of the micro-batch a row was scored in, 0 if its result was copied; `failed`
    bool [B] marks rows on which the model raised.
    """

    outputs: npt.NDArray[np.float32]
    padded: npt.NDArray[np.int32]
    failed: npt.NDArray[np.bool_]


class Scorer(Protocol):
    """The model: ragged token rows -> float32 [B, C]."""

    width: int

    def __call__(
        self,
        values: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int32],
        first_segment: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.float32]: ...


class Ragged(NamedTuple):
    """Token rows: row r is `values[offsets[r]:offsets[r + 1]]`; `first_segment` int32 [B]."""

    values: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    first_segment: npt.NDArray[np.int32]

    def take(self, rows: Rows) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Values, lengths and first segments of some rows."""
        starts = self.offsets[:-1][rows]
        lengths = self.offsets[1:][rows] - starts
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        at = np.arange(total) - np.repeat(ends - lengths, lengths) + np.repeat(starts, lengths)
        return self.values[at], lengths.astype(np.int32), self.first_segment[rows]


def score_rows(ragged: Ragged, scorer: Scorer, token_budget: int) -> Results:
    """Scores every row; rows with the same tokens once. A failing micro-batch is narrowed down to the rows at fault."""
    count = len(ragged.first_segment)
    # The first segment decides the type ids: it is part of what makes two rows the same.
    keyed = np.insert(ragged.values, ragged.offsets[:-1], ragged.first_segment)
    unique = unique_rows(keyed, ragged.offsets + np.arange(count + 1))
    results = Results(
        np.full((count, scorer.width), np.nan, np.float32), np.zeros(count, np.int32), np.zeros(count, bool)
    )
    lengths = np.diff(ragged.offsets)[unique.first]
    pending = [unique.first[batch] for batch in plan_micro_batches(lengths, token_budget)]
    while pending:
        rows = pending.pop()
        try:
            _score(rows, ragged, scorer, results)
        except tf.errors.OpError as error:
            if len(rows) == 1:
                results.failed[rows] = True
                continue
            pending.append(rows)
            # What does not fit into memory will not fit the next time either; any other fault is in some row.
            too_large = len(pending) if isinstance(error, tf.errors.ResourceExhaustedError) else 1
            pending[-too_large:] = [half for batch in pending[-too_large:] for half in _halves(batch)]
    stands_for = unique.first[unique.inverse]
    return Results(results.outputs[stands_for], results.padded, results.failed[stands_for])


def _score(rows: Rows, ragged: Ragged, scorer: Scorer, results: Results) -> None:
    values, lengths, first_segment = ragged.take(rows)
    results.outputs[rows] = scorer(values, lengths, first_segment)
    results.padded[rows] = lengths.max(initial=0)


def _halves(rows: Rows) -> list[Rows]:
    half = len(rows) // 2
    return [part for part in (rows[:half], rows[half:]) if len(part)]
