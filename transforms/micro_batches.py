"""Micro-batches: which rows of a macro-batch are scored together. Pure functions on token lengths."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

TOKEN_BUDGET = {"cpu": 4_096, "gpu": 65_536}
"""Padded tokens of one micro-batch, by kind of device; constants, so that the same plan gives the same batches."""

Rows = npt.NDArray[np.intp]


def plan_micro_batches(lengths: npt.NDArray[np.integer], token_budget: int) -> list[Rows]:
    """Cuts the rows, sorted by length, so that rows times the longest row stays within `token_budget`.

    Every row is in exactly one micro-batch; a row longer than the budget has one to itself. Raises ValueError for a
    budget below 1.
    """
    if token_budget < 1:
        raise ValueError(f"token budget is {token_budget}; it must be at least 1")
    order = np.argsort(-lengths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        # Longest first: the first row of a micro-batch decides its width.
        count = max(1, token_budget // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + count])
        start += count
    return batches


class Unique(NamedTuple):
    """`first[i]`: row that stands for the i-th distinct sequence; `inverse[r]`: which distinct sequence row r is."""

    first: Rows
    inverse: Rows


def unique_rows(values: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> Unique:
    """Finds equal token sequences (`values[offsets[r]:offsets[r + 1]]`), exactly: hashes only propose."""
    lengths = np.diff(offsets)
    count = len(lengths)
    if count < 2:
        return Unique(np.arange(count), np.arange(count))
    hashes = _row_hashes(values, offsets, lengths)
    order = np.lexsort((np.arange(count), hashes, lengths))
    same = (hashes[order][1:] == hashes[order][:-1]) & (lengths[order][1:] == lengths[order][:-1])
    same &= _equal(values, offsets[:-1], lengths, order[1:], order[:-1], same)
    group = np.concatenate([[0], np.cumsum(~same)])
    first = order[np.concatenate([[True], ~same])]
    inverse = np.empty(count, np.intp)
    inverse[order] = group
    return Unique(first, inverse)


def _row_hashes(
    values: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    within = np.arange(len(values), dtype=np.int64) - np.repeat(offsets[:-1] - offsets[0], lengths)
    with np.errstate(over="ignore"):
        mixed = (values.astype(np.uint64) + np.uint64(1)) * (
            within.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
        )
        mixed ^= mixed >> np.uint64(29)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
        return sums[offsets[1:] - offsets[0]] - sums[offsets[:-1] - offsets[0]]  # type: ignore[no-any-return]


def _equal(
    values: npt.NDArray[np.int32],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    left: Rows,
    right: Rows,
    candidates: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Whether the token sequences of left[i] and right[i] are equal, where `candidates`."""
    equal = np.zeros(len(left), bool)
    at = np.flatnonzero(candidates)
    size = lengths[left[at]]
    filled = at[size > 0]
    equal[at[size == 0]] = True
    if len(filled):
        size = lengths[left[filled]]
        ends = np.cumsum(size)
        within = np.arange(ends[-1]) - np.repeat(ends - size, size)
        base = starts[0]
        ours = values[np.repeat(starts[left[filled]] - base, size) + within]
        theirs = values[np.repeat(starts[right[filled]] - base, size) + within]
        equal[filled] = np.logical_and.reduceat(ours == theirs, ends - size)
    return equal
