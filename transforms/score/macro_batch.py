"""Scoring one macro-batch: known results first, duplicates once, micro-batches by tokens, failures narrowed to rows.

Knows no Beam and no engine.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.windows import Windows, neighbours
from transforms.errors import BadRowError, DeviceMemoryError, OutOfMemoryError
from transforms.runs.row_counts import Work
from transforms.score.engines.scorer import Scorer
from transforms.score.micro_batches import LEAST_BUDGET, Indices, Unique, unique_rows

Tell = Callable[[int], None]


class Results(NamedTuple):
    """Per row: `outputs` float32 [B, C] (probabilities, or the value with C = 1; NaN where there is none).

    `failed` bool [B] marks rows on which the model raised; `work` says what was computed for all of them. Of rows with
    windows, `deciding` int32 [B] is the window that decided, or NOBODY.
    """

    outputs: npt.NDArray[np.float32]
    failed: npt.NDArray[np.bool_]
    work: Work
    deciding: npt.NDArray[np.int32] | None = None


class Ragged(NamedTuple):
    """Token rows: row r is `values[offsets[r]:offsets[r + 1]]`; `first_segment` int32 [B].

    `windows`, where the bundle makes them, parts the tokens of each row; see windows.py.
    """

    values: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    first_segment: npt.NDArray[np.int32]
    windows: Windows | None = None

    @property
    def keyed(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Values and offsets with the first segment in front of each row: it decides the type ids."""
        values = np.insert(self.values, self.offsets[:-1], self.first_segment)
        return values, self.offsets + np.arange(len(self.offsets))

    def take(self, rows: Indices) -> "Ragged":
        """Some rows."""
        values, offsets = take(self.values, self.offsets, rows)
        windows = None if self.windows is None else self.windows.take(rows)
        return Ragged(values, offsets, self.first_segment[rows], windows)

    def slice(self, rows: slice) -> "Ragged":
        """Neighbouring rows, not copied."""
        offsets = self.offsets[rows.start : rows.stop + 1]
        windows = None if self.windows is None else self.windows.slice(rows)
        values = self.values[offsets[0] : offsets[-1]]
        return Ragged(values, offsets - offsets[0], self.first_segment[rows], windows)


def take(
    values: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], rows: Indices
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Values and offsets of some rows."""
    places, taken = neighbours(offsets, rows)
    return values[places], taken


class _Spent:
    """The work of one macro-batch, as it comes together."""

    def __init__(self) -> None:
        self.tokens = self.padded = self.nanos = 0

    def work(self, scorer: Scorer, rows: int, **counts: int) -> Work:
        """Of a macro-batch of `rows`; `counts` are what Work counts of rows and of windows."""
        return Work(
            **counts,
            tokens=self.tokens,
            padded=self.padded,
            model_nanos=self.nanos,
            precision=scorer.precision if rows else "",
            token_budget=scorer.token_budget if rows else 0,
        )


class Computed(NamedTuple):
    """Of rows that are equal one is computed: `unique` says which, `known` bool [U] whether its outputs float32 [U, C]
    are those of an earlier macro-batch, `failed` bool [U] whether the model raised.
    """

    unique: Unique
    known: npt.NDArray[np.bool_]
    outputs: npt.NDArray[np.float32]
    failed: npt.NDArray[np.bool_]
    spent: _Spent


def score_rows(ragged: Ragged, scorer: Scorer, tell: Tell = lambda rows: None) -> Results:
    """Scores every row; rows with the same tokens once. A failing micro-batch is narrowed down to the rows at fault.

    `tell` is called with the number of rows that each micro-batch finished, those with the same tokens included.

    The last bits of a row's outputs depend on the rows it shares a micro-batch with: scored again it gets the same
    within rounding (1e-6 of a probability in float32), not the same bytes. Raises DeviceMemoryError, and whatever the
    model raises that no row is to blame for.
    """
    unique, known, outputs, wrong, spent = compute_rows(ragged, scorer, tell)
    good = int((~wrong).sum())
    work = spent.work(
        scorer,
        rows=len(unique.inverse),
        scored=good - int(known.sum()),
        copied=int((~wrong[unique.inverse]).sum()) - good,
        remembered=int(known.sum()),
    )
    return Results(outputs[unique.inverse], wrong[unique.inverse], work)


def compute_rows(ragged: Ragged, scorer: Scorer, tell: Tell) -> Computed:
    """What score_rows does, before equal rows get what one of them has."""
    count = len(ragged.first_segment)
    values, offsets = ragged.keyed
    unique = unique_rows(values, offsets)
    if len(unique.first) < count:
        values, offsets = take(values, offsets, unique.first)
    keys = scorer.memo.keys(values, offsets)
    known, outputs = scorer.memo.recall(keys)
    rows = unique.first[~known]
    alike = np.bincount(unique.inverse, minlength=len(unique.first))
    tell(int(alike[known].sum()))
    left = alike[~known]
    distinct = ragged.take(rows) if len(rows) < count else ragged
    new, failed, spent = _score_all(distinct, scorer, lambda done: tell(int(left[done].sum())))
    outputs[~known] = new
    sound = np.isfinite(new).all(axis=1)  # Failed rows are NaN too.
    scorer.memo.remember(keys[~known][sound], new[sound])
    wrong = np.zeros(len(unique.first), bool)
    wrong[~known] = failed
    return Computed(unique, known, outputs, wrong, spent)


def _score_all(
    ragged: Ragged, scorer: Scorer, finished: Callable[[Indices], None]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], _Spent]:
    """Outputs [B, C] and which rows failed, of rows that are all different; each row is `finished` once."""
    count = len(ragged.first_segment)
    outputs, failed, spent = np.full((count, scorer.width), np.nan, np.float32), np.zeros(count, bool), _Spent()
    planned = scorer.plan(np.diff(ragged.offsets))
    order = np.concatenate([np.empty(0, np.intp), *planned])
    # In the order of the plan every micro-batch is a slice; what is pending is always all rows up to some place.
    ragged = ragged.take(order)
    pending = _slices(planned)
    while pending:
        rows = pending.pop()
        budget, size = scorer.token_budget, rows.stop - rows.start
        try:
            outputs[order[rows]] = _score(ragged.slice(rows), scorer, spent)
            finished(order[rows])
        except OutOfMemoryError as error:
            # What does not fit into memory will not fit the next time either, here or in the next macro-batch.
            lengths = np.diff(ragged.offsets[: rows.stop + 1])
            if _fits_smaller(scorer, budget, size, int(lengths[rows].max()), error):
                # A plan is longest first, and so are these rows: it keeps their order.
                pending = _slices(scorer.plan(lengths))
            else:
                failed[order[rows]] = True
                finished(order[rows])
        except BadRowError:
            # Any other error would fail every row, while the device is gone for example.
            if size == 1:
                failed[order[rows]] = True
                finished(order[rows])
            else:
                middle = rows.start + size // 2
                pending += [slice(rows.start, middle), slice(middle, rows.stop)]
    return outputs, failed, spent


def _fits_smaller(scorer: Scorer, budget: int, size: int, longest: int, error: Exception) -> bool:
    """Halves the `budget` that was too large for the device; False if there is one row only, without spare rows."""
    if scorer.token_budget < budget:
        return True  # Another thread has halved it meanwhile.
    rows, width = scorer.shape(size, longest)
    if rows * width <= LEAST_BUDGET:
        raise DeviceMemoryError(
            f"no memory on the device for a micro-batch of {rows} x {width} tokens, and {LEAST_BUDGET} must fit: "
            "end what else uses it, or start fewer workers"
        ) from error
    if rows > 1:
        scorer.token_budget = min(budget, max(LEAST_BUDGET, rows * width // 2))
    return rows > 1


def _slices(planned: Sequence[Indices]) -> list[slice]:
    ends = np.cumsum([len(rows) for rows in planned], dtype=np.intp)
    return [slice(int(end) - len(rows), int(end)) for end, rows in zip(ends, planned, strict=True)]


def _score(ragged: Ragged, scorer: Scorer, spent: _Spent) -> npt.NDArray[np.float32]:
    lengths = np.diff(ragged.offsets)
    start = time.perf_counter_ns()
    outputs = scorer(ragged.values, lengths.astype(np.int32), ragged.first_segment)
    spent.nanos += time.perf_counter_ns() - start
    rows, width = scorer.shape(len(lengths), int(lengths.max(initial=0)))
    spent.tokens += int(lengths.sum())
    spent.padded += rows * width
    return outputs
