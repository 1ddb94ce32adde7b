"""What so many rows prove: against statsmodels' values, and against the definitions, computed plainly."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.score.certificates import statistics as module
from transforms.score.certificates.statistics import (
    FAILED,
    FEWEST,
    PASSED,
    UNDECIDED,
    Z,
    judge_rms,
    judge_share,
    mcnemar,
    rms_interval,
    wilson,
)


def test_z_is_the_quantile_of_95_percent() -> None:
    assert pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-14) == Z


@pytest.mark.parametrize(
    ("count", "rows", "low", "high"),
    [
        # statsmodels 0.15.0: proportion_confint(count, rows, method="wilson").
        (0, 765, 0.0, 0.004996425175),
        (0, 764, 0.0, 0.005002932281),
        (3, 5_756, 0.000177268902, 0.001531364728),
        (1, 1, 0.206549314377, 1.0),
        (7, 10, 0.396778147461, 0.892208732594),
        (500, 5_000, 0.091989179982, 0.108624981574),
        (50, 1_000, 0.038130262393, 0.065313820244),
    ],
)
def test_wilson_is_that_of_statsmodels(count: int, rows: int, low: float, high: float) -> None:
    assert wilson(count, rows) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        # statsmodels 0.15.0: mcnemar(table, exact=True).pvalue.
        (0, 0, 1.0),
        (1, 0, 1.0),
        (3, 12, 0.03515625),
        (10, 10, 1.0),
        (100, 150, 0.0018833009350761602),
        (7, 1, 0.0703125),
    ],
)
def test_mcnemar_is_that_of_statsmodels(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p, rel=1e-12)
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


def test_mcnemar_of_very_many_rows_is_a_number() -> None:
    assert 0 < mcnemar(20_000, 20_400) < 0.05
    assert mcnemar(1_000_000, 1_000_000) == 1.0
    assert mcnemar(1_000_000, 2_000_000) == 0.0


@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_mcnemar_in_floats_is_that_in_integers(only_first: int, only_second: int) -> None:
    exact = mcnemar(only_first, only_second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_EXACT", -1)
        assert mcnemar(only_first, only_second) == pytest.approx(exact, rel=1e-8, abs=1e-300)


def test_no_changed_label_proves_below_half_a_percent_only_from_765_rows_on() -> None:
    assert judge_share(0, 765, 0.005) == (PASSED, 0)
    assert judge_share(0, 764, 0.005) == (UNDECIDED, 1)
    assert judge_share(0, 0, 0.005) == (UNDECIDED, 765)


@given(st.integers(0, 3_000), st.integers(1, 3_000), st.floats(0.001, 0.5))
def test_the_verdict_is_that_of_the_interval(count: int, rows: int, limit: float) -> None:
    count = min(count, rows)
    low, high = wilson(count, rows)
    found = judge_share(count, rows, limit)
    if abs(high - limit) > 1e-12 and abs(low - limit) > 1e-12:
        assert found.verdict == (PASSED if high <= limit else FAILED if low >= limit else UNDECIDED)
    assert (found.missing == 0) == (found.verdict != UNDECIDED)


@given(st.integers(0, 50), st.integers(1, 400), st.floats(0.001, 0.5))
def test_so_many_more_rows_decide_and_one_less_does_not(count: int, rows: int, limit: float) -> None:
    count = min(count, rows)
    found = judge_share(count, rows, limit)
    # An interval of hundreds of millions of rows is beyond these floats.
    if not found.missing or found.missing > 10**7:
        return
    # At the same share, whole rows or not: the definition of the interval, solved for its bound.
    share = count / rows

    def inside(size: int) -> bool:
        return abs(share - limit) < Z * math.sqrt(limit * (1 - limit) / size)

    assert not inside(rows + found.missing)
    assert inside(rows + found.missing - 1)


def test_a_share_that_is_the_limit_is_never_decided() -> None:
    assert judge_share(1, 100, 0.01) == (UNDECIDED, None)


def test_the_root_of_a_mean_square_has_the_interval_of_the_mean() -> None:
    differences = np.random.default_rng(2).normal(0, 0.1, 400)
    squares = differences**2
    rms, deviation = float(np.sqrt(squares.mean())), float(squares.std())
    low, high = rms_interval(rms, deviation, 400)
    assert high**2 - squares.mean() == pytest.approx(1.959964 * squares.std() / 20, rel=1e-6)
    assert squares.mean() - low**2 == pytest.approx(1.959964 * squares.std() / 20, rel=1e-6)
    assert low < 0.1 < high
    assert judge_rms(rms, deviation, 400, high * 1.001).verdict == PASSED
    assert judge_rms(rms, deviation, 400, low * 0.999).verdict == FAILED
    undecided = judge_rms(rms, deviation, 400, (rms + high) / 2)
    assert undecided.verdict == UNDECIDED
    more = 400 + undecided.missing
    assert rms_interval(rms, deviation, more).high <= (rms + high) / 2 < rms_interval(rms, deviation, more - 1).high


def test_few_values_decide_nothing() -> None:
    assert judge_rms(0.0, 0.0, FEWEST - 1, 1.0) == (UNDECIDED, 1)
    assert judge_rms(0.0, 0.0, FEWEST, 1.0) == (PASSED, 0)
    assert judge_rms(0.0, 0.0, 0, 1.0) == (UNDECIDED, FEWEST)
    assert rms_interval(1.0, 1.0, 1) == (0.0, math.inf)
    assert judge_rms(0.0, 0.0, 100, 0.0) == (UNDECIDED, None)
