"""Where the bins of a summary begin and end (transforms/outputs/summary/statistics.py), and equal bins for values."""

import math
from collections.abc import Sequence

from pipeline.terminal.pages.nights.night import Histogram
from transforms.outputs.summary.statistics import LENGTH_BINS, LOWEST, SHARE_BINS, VALUE_SIDE, VALUE_STEPS

Edges = tuple[float, float]
VALUE_BARS = 24
_TAIL = 0.005
"""Of the rows at each end of values: what is beyond them is in the outermost bars."""


def share_edges(number: int) -> Edges:
    """Of a share from 0 to 1."""
    return number / SHARE_BINS, (number + 1) / SHARE_BINS


def length_counts(number: int) -> tuple[int, int] | None:
    """The lowest and the highest count in a bin of lengths; None for a bin that no whole number has."""
    low, high = math.ceil(_stepped(number, 4)), math.ceil(_stepped(number + 1, 4)) - 1
    return (low, high) if low <= high else None


def value_edges(number: int) -> Edges:
    """Of a bin of values."""
    side = number - VALUE_SIDE
    if side == 0:
        return -(2.0**LOWEST), 2.0**LOWEST
    step = abs(side) - 1 + LOWEST * VALUE_STEPS
    low, high = _stepped(step, VALUE_STEPS), _stepped(step + 1, VALUE_STEPS)
    return (low, high) if side > 0 else (-high, -low)


def _stepped(step: int, each: int) -> float:
    """Where a step begins: `each` equal ones between a power of two and the next one."""
    return 2.0 ** (step // each) * (1 + step % each / each)


def shares(histogram: Histogram, bins: Sequence[int]) -> list[float]:
    """Of some bins, as shares of all rows; 0 of a histogram without rows."""
    counts = [
        histogram.bins[number - histogram.first] if 0 <= number - histogram.first < len(histogram.bins) else 0
        for number in bins
    ]
    return [count / histogram.rows if histogram.rows else 0.0 for count in counts]


def together(histograms: Sequence[Histogram]) -> Histogram | None:
    """Several histograms of a statistic as one; None without any row."""
    there = [one for one in histograms if one.rows and one.bins]
    if not there:
        return None
    first = min(one.first for one in there)
    bins = [0] * (max(one.first + len(one.bins) for one in there) - first)
    for one in there:
        for at, count in enumerate(one.bins, one.first - first):
            bins[at] += count
    return Histogram(sum(one.rows for one in there), sum(one.sum for one in there), first, tuple(bins))


def filled(histograms: Sequence[Histogram | None]) -> range:
    """The bins from the first to the last that any of them has rows in."""
    numbers = [one.first + at for one in histograms if one for at, count in enumerate(one.bins) if count]
    return range(min(numbers), max(numbers) + 1) if numbers else range(0)


def value_range(histograms: Sequence[Histogram | None]) -> Edges | None:
    """Where nearly all values of all of them lie; None without any."""
    whole = together([one for one in histograms if one])
    if whole is None:
        return None
    below, low, high = 0, None, None
    for number, count in enumerate(whole.bins, whole.first):
        begin, end = value_edges(number)
        if count and low is None and below + count > _TAIL * whole.rows:
            low = begin
        below += count
        if count and high is None and below >= (1 - _TAIL) * whole.rows:
            high = end
    return None if low is None or high is None else (low, high)


def value_bars(histogram: Histogram, reach: Edges) -> list[float]:
    """Shares of the rows in VALUE_BARS equal bars between two values, each bin spread evenly over its width."""
    low, high = reach
    width = (high - low) / VALUE_BARS
    bars = [0.0] * VALUE_BARS
    for number, count in enumerate(histogram.bins, histogram.first):
        if not count:
            continue
        begin, end = (min(max(edge, low), high) for edge in value_edges(number))
        first = min(int((begin - low) / width), VALUE_BARS - 1)
        if end <= begin:
            bars[first] += count
            continue
        for at in range(first, VALUE_BARS):
            left, right = low + at * width, low + (at + 1) * width
            overlap = min(end, right) - max(begin, left)
            if overlap > 0:
                bars[at] += count * overlap / (end - begin)
    return [bar / histogram.rows for bar in bars]


LENGTHS = [number for number in range(LENGTH_BINS) if length_counts(number)]
"""Bins of lengths that a whole number has."""
