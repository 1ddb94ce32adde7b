"""Micro-batches: which rows of a macro-batch are scored together, and in which shape. Pure functions on lengths."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

TOKEN_BUDGET = {"cpu": 4_096, "gpu": 65_536}
"""Padded tokens of one micro-batch, by kind of device; constants, so that the same plan gives the same batches."""

LEAST_BUDGET = 512
"""The token budget never falls below this, a power of two: a device without memory for so little serves nobody."""

SIMILAR = 0.9
"""Rows of at least this share of the longest are scored with it, up to the token budget."""
SMALL_SHARE = 4
"""Shorter rows join them only up to this part of the budget: many small micro-batches cost more than some padding."""

STATIC_WIDTHS = (8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 448, 512)
"""Widths of compiled micro-batches; longer rows get the next multiple of the last step."""
STATIC_SHARES = (1, 4, 16)
"""A compiled micro-batch fills the token budget, or one of these parts of it.

XLA compiles each shape once a process, when it is first met: with 19 widths at most 57 of them for one budget.
"""

Indices = npt.NDArray[np.intp]
Lengths = npt.NDArray[np.integer]


def plan_micro_batches(lengths: Lengths, token_budget: int) -> list[Indices]:
    """Cuts the rows, sorted by length, so that rows times the longest row stays within `token_budget`.

    A micro-batch ends sooner where rows get clearly shorter, if it is not small by then. Every row is in exactly one; a
    row longer than the budget has one to itself. Raises ValueError for a budget below 1.
    """
    _check_budget(token_budget)
    order = np.argsort(-lengths, kind="stable")
    ascending = lengths[order][::-1]
    batches = []
    start = 0
    while start < len(order):
        # Longest first: the first row of a micro-batch decides its width.
        longest = max(1, int(lengths[order[start]]))
        similar = len(order) - start - int(np.searchsorted(ascending[: len(order) - start], longest * SIMILAR))
        enough = max(similar, -(-token_budget // (SMALL_SHARE * longest)))
        count = max(1, min(token_budget // longest, enough))
        batches.append(order[start : start + count])
        start += count
    return batches


def plan_static(lengths: Lengths, token_budget: int) -> list[Indices]:
    """Cuts the rows, sorted by length, into micro-batches for the shapes of `static_shape`.

    Of the sizes there are for the width of the longest row left, it takes the largest that rows of that width fill;
    if they fill none, the smallest, filled up with shorter rows: only the very last micro-batch can have spare rows.
    """
    _check_budget(token_budget)
    order = np.argsort(-lengths, kind="stable")
    ascending = lengths[order][::-1]
    batches = []
    start = 0
    while start < len(order):
        width = static_width(int(lengths[order[start]]))
        narrower = STATIC_WIDTHS[STATIC_WIDTHS.index(width) - 1] if width in STATIC_WIDTHS[1:] else 0
        # Rows left that need this width: those longer than the next narrower one.
        same = len(order) - start - int(np.searchsorted(ascending[: len(order) - start], narrower, side="right"))
        sizes = _static_sizes(width, token_budget)
        count = next((size for size in sizes if size <= same), sizes[-1])
        batches.append(order[start : start + count])
        start += count
    return batches


def static_shape(rows: int, longest: int, token_budget: int) -> tuple[int, int]:
    """The smallest shape (rows, width) that XLA is asked to compile for so many rows of at most `longest` tokens."""
    width = static_width(longest)
    sizes = _static_sizes(width, token_budget)
    return next((size for size in reversed(sizes) if size >= rows), rows), width


def static_width(longest: int) -> int:
    """`longest` rounded up to one of the widths."""
    at = int(np.searchsorted(STATIC_WIDTHS, longest))
    step = STATIC_WIDTHS[-1] - STATIC_WIDTHS[-2]
    return STATIC_WIDTHS[at] if at < len(STATIC_WIDTHS) else -(-longest // step) * step


def _static_sizes(width: int, token_budget: int) -> list[int]:
    """Rows of a micro-batch of `width`, largest first."""
    full = max(1, token_budget // width)
    return list(dict.fromkeys(max(1, full // share) for share in STATIC_SHARES))


def _check_budget(token_budget: int) -> None:
    if token_budget < 1:
        raise ValueError(f"token budget is {token_budget}; it must be at least 1")


class Unique(NamedTuple):
    """`first[i]`: row that stands for the i-th distinct sequence; `inverse[r]`: which distinct sequence row r is."""

    first: Indices
    inverse: Indices


def unique_rows(values: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> Unique:
    """Finds equal token sequences (`values[offsets[r]:offsets[r + 1]]`), exactly."""
    # Arrow tells byte strings apart in C++; the bytes of the tokens are not copied for it.
    places = (offsets - offsets[0]) * values.itemsize
    buffers = [None, pa.py_buffer(np.ascontiguousarray(places)), pa.py_buffer(np.ascontiguousarray(values))]
    sequences = pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
    inverse = pc.dictionary_encode(sequences).indices.to_numpy().astype(np.intp)
    first = np.empty(int(inverse.max(initial=-1)) + 1, np.intp)
    # The last assignment stays: backwards, that is the first row of each.
    first[inverse[::-1]] = np.arange(len(inverse))[::-1]
    return Unique(first, inverse)
