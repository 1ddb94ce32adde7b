"""The Jensen-Shannon distance of two histograms, and how far apart chance alone puts them.

The divergence is that of J. Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information
Theory 37 (1991); its square root is a metric (D. Endres and J. Schindelin, same journal 49 (2003)).
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]
Rows = Shares | float
"""Numbers of rows, of one histogram or of several."""

_OF_ONE_ROW = 4 * math.log(2)
"""The divergence (bits) that one row in an otherwise empty bin adds, by what a row in a full bin adds on average."""


def counts_of(numbers: Any) -> Counts:
    """Counts as an array; raises ValueError for what is not a list of integers from 0 on."""
    found = np.asarray(numbers)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu") or (found < 0).any():
        raise ValueError("a histogram is a list of counts, which are integers from 0 on")
    return found.astype(np.int64)


def shares_of(counts: Counts) -> Shares:
    """Counts, of which one is more than 0, as shares of their sum."""
    shares: Shares = counts / counts.sum()
    return shares


def distances(one: Shares, other: Shares) -> Shares:
    """The Jensen-Shannon distances of shares [..., K] of K bins: from 0 (equal) to 1 (no bin in common)."""
    mean = (one + other) / 2
    divergence = (_relative(one, mean) + _relative(other, mean)) / 2
    return np.sqrt(np.clip(divergence, 0, 1))


def js_distance(one: Any, other: Any) -> float:
    """The distance of two histograms with the same bins; raises ValueError where they have no rows or other bins."""
    first, second = counts_of(one), counts_of(other)
    if len(first) != len(second):
        raise ValueError("two histograms are compared bin by bin, and these have different numbers of bins")
    if not (first.sum() and second.sum()):
        raise ValueError("a histogram without rows is like no other; leave it out")
    return float(distances(shares_of(first), shares_of(second)))


def _relative(shares: Shares, mean: Shares) -> Shares:
    """Relative entropies (bits) of shares [..., K]; an empty bin adds nothing."""
    filled = shares > 0
    ratios = np.divide(shares, mean, out=np.ones_like(shares), where=filled)
    return (shares * np.log2(ratios)).sum(axis=-1)  # type: ignore[no-any-return]


def freedom(shares: Shares, rows: float) -> float:
    """Degrees of freedom of the divergence of histograms with about these shares: filled bins less one, at least one.

    A bin counts in full where `rows` rows fill it; a bin of which a row is rare adds less.
    """
    return max(1.0, float(np.minimum(1.0, shares * rows * _OF_ONE_ROW).sum()) - 1)


def chance(rows: Rows, other_rows: Rows) -> Shares:
    """The unit of the divergence by chance: two samples of one distribution are apart by it, times chi-square.

    A divergence near 0 is that of chi-square over 8, in bits (F. Nielsen, "On the Jensen-Shannon symmetrization of
    distances", Entropy 21 (2019), for its expansion); the difference of two shares has a variance of p (1 - p) times
    the sum of one over the numbers of rows.
    """
    return np.asarray((1 / rows + 1 / other_rows) / (8 * math.log(2)))


def by_chance(unit: float, degrees: float, deviations: float) -> float:
    """A distance that chance alone exceeds as seldom as a normal variable its mean by so many `deviations`.

    R. Fisher's approximation: the root of twice a chi-square is about normal, with the mean sqrt(2 degrees - 1) and a
    deviation of 1.
    """
    return math.sqrt(unit / 2) * (math.sqrt(2 * degrees - 1) + deviations)
