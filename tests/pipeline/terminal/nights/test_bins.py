"""Bins are drawn where the summary has counted: their edges against the functions that choose the bin of a number."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.terminal.pages.nights.drawing import bins
from pipeline.terminal.pages.nights.night import Histogram
from transforms.outputs.summary.statistics import (
    LENGTH_BINS,
    SHARE_BINS,
    VALUE_SIDE,
    length_bins,
    share_bins,
    value_bins,
)

values = st.floats(-(2.0**19), 2.0**19, width=32)


@given(st.integers(1, 60_000))
def test_a_length_lies_in_the_counts_of_its_bin(length: int) -> None:
    number = int(length_bins(np.array([length]))[0])
    counts = bins.length_counts(number)
    assert counts is not None
    assert counts[0] <= length
    assert length <= counts[1] or number == LENGTH_BINS - 1


def test_the_bins_of_lengths_follow_each_other() -> None:
    spans = [bins.length_counts(number) for number in bins.LENGTHS]
    assert spans[:9] == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 9), (10, 11)]
    assert all(one and other and one[1] + 1 == other[0] for one, other in itertools.pairwise(spans))


@given(st.integers(0, 1_000_000))
def test_a_share_lies_in_its_bin(millionths: int) -> None:
    low, high = bins.share_edges(int(share_bins(np.array([millionths]))[0]))
    assert low - 1e-9 <= millionths / 1e6 <= high + 1e-9


@given(values)
def test_a_value_lies_in_its_bin(value: float) -> None:
    low, high = bins.value_edges(int(value_bins(np.array([value], np.float32))[0]))
    assert low <= value <= high


@given(st.lists(values, min_size=1, max_size=50))
def test_bars_of_values_have_every_row_once(found: list[float]) -> None:
    counts = np.bincount(value_bins(np.array(found, np.float32)), minlength=2 * VALUE_SIDE + 1)
    histogram = Histogram(len(found), 0, 0, tuple(counts.tolist()))
    reach = bins.value_range([histogram])
    assert reach is not None
    bars = bins.value_bars(histogram, reach)
    assert len(bars) == bins.VALUE_BARS
    assert abs(sum(bars) - 1) < 1e-9
    assert all(bar >= 0 for bar in bars)


def test_a_bar_has_the_rows_between_its_edges() -> None:
    # 8,000 values between 1 and 3: the plain histogram differs by what one bin of the summary blurs.
    found = np.linspace(1, 3, 8_000, endpoint=False, dtype=np.float32)
    counts = np.bincount(value_bins(found), minlength=2 * VALUE_SIDE + 1)
    bars = bins.value_bars(Histogram(8_000, 0, 0, tuple(counts.tolist())), (1.0, 3.0))
    plain = np.histogram(found, bins.VALUE_BARS, (1, 3))[0] / 8_000
    assert np.abs(np.array(bars) - plain).max() < 0.25 / bins.VALUE_BARS


one = st.builds(
    lambda first, counts: Histogram(sum(counts), sum(counts), first, tuple(counts)),
    st.integers(0, 10),
    st.lists(st.integers(0, 9), max_size=8),
)


@given(st.lists(one, max_size=4))
def test_histograms_together_are_their_sums(found: list[Histogram]) -> None:
    plain = np.zeros(SHARE_BINS, np.int64)
    for histogram in found:
        plain[histogram.first : histogram.first + len(histogram.bins)] += np.array(histogram.bins, np.int64)
    whole = bins.together(found)
    if whole is None:
        assert plain.sum() == 0
        return
    assert bins.shares(whole, range(SHARE_BINS)) == (plain / plain.sum()).tolist()
    filled = np.flatnonzero(plain)
    assert bins.filled(found) == range(filled[0], filled[-1] + 1)
