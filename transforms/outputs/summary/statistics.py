"""The statistics of a summary: what each is of a row, as an integer, and the bin that this integer has.

A bin depends on the number of one row alone, so that any cut of the work gives the same counts.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.batches.measures import MILLION

Integers = npt.NDArray[np.int64]

SHARE_BINS, LENGTH_BINS, DOUBLING_BINS = 20, 64, 17
VALUE_STEPS = 16
"""Bins of values between a power of two and the next one."""
LOWEST, HIGHEST = -10, 20
"""Values below 2**LOWEST have the bin of 0, those from 2**HIGHEST on the outermost one; so have negative ones."""
VALUE_SIDE = VALUE_STEPS * (HIGHEST - LOWEST)
"""Bins on each side of 0."""


def share_bins(millionths: Integers) -> Integers:
    """Of 0 to 1 in equal bins; 1 is in the last one."""
    # Division is much quicker in 32 bits.
    return np.minimum(millionths.astype(np.int32) // (MILLION // SHARE_BINS), SHARE_BINS - 1)


def doubling_bins(counts: Integers) -> Integers:
    """0, 1, 2 and 3, 4 to 7, and so on; the last bin is open."""
    return _looked_up(_DOUBLING, counts, _doubling)


def length_bins(counts: Integers) -> Integers:
    """Four between a power of two and the next one: 1, 2, 3, 4, 5, 6, 7, 8 and 9, and so on; the last bin is open."""
    return _looked_up(_LENGTHS, counts, _lengths)


def value_bins(values: npt.NDArray[np.float32]) -> Integers:
    """VALUE_STEPS between a power of two and the next one, mirrored at 0, whose bin is VALUE_SIDE."""
    steps = _steps(np.abs(values).astype(np.float64), VALUE_STEPS) - LOWEST * VALUE_STEPS
    side = np.clip(steps, -1, VALUE_SIDE - 1) + 1
    return np.where(values < 0, VALUE_SIDE - side, VALUE_SIDE + side)


def _doubling(counts: Integers) -> Integers:
    return np.minimum(np.frexp(counts.astype(np.float64))[1], DOUBLING_BINS - 1).astype(np.int64)


def _lengths(counts: Integers) -> Integers:
    return np.clip(_steps(counts.astype(np.float64), 4), 0, LENGTH_BINS - 1)


def _looked_up(table: Integers, counts: Integers, computed: Callable[[Integers], Integers]) -> Integers:
    """What is `computed` of each count, from its table as long as none is too large for that."""
    return table[counts] if counts.max(initial=0) < len(table) else computed(counts)


def _steps(numbers: npt.NDArray[np.float64], each: int) -> Integers:
    """Of numbers from 0 on: powers of two below it, and `each` equal steps to the next one; 1 has 0."""
    # frexp is exact: no logarithm, whose last bit differs by machine.
    mantissa, exponent = np.frexp(numbers)
    steps = (exponent.astype(np.int64) - 1) * each + (mantissa * (2 * each)).astype(np.int64) - each
    return np.where(numbers > 0, steps, np.iinfo(np.int32).min)


_LENGTHS, _DOUBLING = (computed(np.arange(1_024)) for computed in (_lengths, _doubling))


class Statistic(NamedTuple):
    """`bins` of all rows; of the rows with one label, `pooled` neighbours are one bin."""

    name: str
    bins: int
    pooled: int
    bin_of: Callable[[Any], Integers]


PROBABILITY = Statistic("probability", SHARE_BINS, 2, share_bins)
MARGIN = Statistic("margin", SHARE_BINS, 2, share_bins)
ENTROPY = Statistic("entropy", SHARE_BINS, 2, share_bins)
VALUE = Statistic("value", 2 * VALUE_SIDE + 1, 1, value_bins)
LABELS_GIVEN = Statistic("labels_given", DOUBLING_BINS, 1, doubling_bins)
TOKEN_COUNT = Statistic("token_count", LENGTH_BINS, 2, length_bins)
TRUNCATED = Statistic("truncated", 2, 1, lambda flags: flags)
UNKNOWN_TOKENS = Statistic("unknown_tokens", DOUBLING_BINS, 1, doubling_bins)
DIGITS = Statistic("digits", SHARE_BINS, 4, share_bins)
URLS = Statistic("urls", DOUBLING_BINS, 1, doubling_bins)
OTHER_SCRIPTS = Statistic("other_scripts", SHARE_BINS, 4, share_bins)

STATISTICS = (
    *(PROBABILITY, MARGIN, ENTROPY, VALUE, LABELS_GIVEN, TOKEN_COUNT, TRUNCATED),
    *(UNKNOWN_TOKENS, DIGITS, URLS, OTHER_SCRIPTS),
)
