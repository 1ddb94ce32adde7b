"""Drift as numbers: the distance of two histograms, what chance alone makes, and histograms in the same bins."""

import datetime as dt
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.outputs.drift.bounds import (
    DEVIATIONS,
    LARGE,
    LEAST,
    Night,
    against_baseline,
    against_dates,
)
from transforms.outputs.drift.distance import by_chance, chance, counts_of, freedom, js_distance
from transforms.outputs.drift.histograms import LABEL, MOST_BINS, aligned, coarser
from transforms.outputs.drift.record import FEWEST_DATES
from transforms.outputs.summary.record import merge

counts = st.lists(st.integers(0, 1_000), min_size=1, max_size=12).filter(any)
pairs = st.integers(1, 12).flatmap(
    lambda width: st.tuples(*[st.lists(st.integers(0, 1_000), min_size=width, max_size=width).filter(any)] * 2)
)
MONDAY = dt.date(2026, 11, 2)


def night(day: int, bins: Any) -> Night:
    return Night(MONDAY + dt.timedelta(day), np.array(bins, np.int64))


# === The distance ===


@given(pairs)
def test_it_is_symmetric_and_between_0_and_1(both: tuple[list[int], list[int]]) -> None:
    one, other = both
    assert js_distance(one, other) == pytest.approx(js_distance(other, one), abs=1e-12)
    assert 0 <= js_distance(one, other) <= 1


@given(counts, st.integers(1, 50))
def test_it_is_0_for_equal_shares(one: list[int], times: int) -> None:
    assert js_distance(one, one) == 0
    assert js_distance(one, [times * count for count in one]) == pytest.approx(0, abs=1e-7)


@given(counts, counts)
def test_it_is_1_where_no_bin_is_shared(one: list[int], other: list[int]) -> None:
    assert js_distance([*one, *[0] * len(other)], [*[0] * len(one), *other]) == pytest.approx(1)


@given(pairs)
def test_it_is_what_the_definition_says(both: tuple[list[int], list[int]]) -> None:
    shares = [[count / sum(one) for count in one] for one in both]
    found = 0.0
    for p, q in zip(*shares, strict=True):
        middle = (p + q) / 2
        found += sum(share * math.log2(share / middle) for share in (p, q) if share) / 2
    # The root of what is lost to rounding.
    assert js_distance(*both) == pytest.approx(math.sqrt(max(found, 0)), abs=1e-7)


@given(pairs, st.randoms())
def test_neither_the_order_of_bins_nor_empty_ones_matter(both: tuple[list[int], list[int]], random: Any) -> None:
    places = [*range(len(both[0])), None, None]
    random.shuffle(places)
    moved = [[0 if place is None else one[place] for place in places] for one in both]
    assert js_distance(*moved) == pytest.approx(js_distance(*both), abs=1e-7)


@pytest.mark.parametrize("bad", [[1.5, 2], [0.0, 1.0], [-1, 3], ["1"], [[1]], [True, False], 3, None, [None]])
def test_only_counts_are_histograms(bad: Any) -> None:
    with pytest.raises(ValueError, match="integers from 0 on"):
        counts_of(bad)


def test_histograms_without_rows_or_with_other_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="without rows"):
        js_distance([0, 0], [1, 2])
    with pytest.raises(ValueError, match="different numbers of bins"):
        js_distance([1], [1, 2])


@pytest.mark.parametrize("bins", [2, 5, 20])
def test_chance_makes_the_distances_that_it_should(bins: int) -> None:
    generator, rows, others = np.random.default_rng(7), 2_000, 5_000
    shares = generator.dirichlet(np.full(bins, 20.0))
    found = [
        js_distance(generator.multinomial(rows, shares), generator.multinomial(others, shares)) for _ in range(1_000)
    ]
    unit, degrees = float(chance(rows, others)), freedom(shares, rows)
    assert degrees == bins - 1
    assert np.mean(np.square(found)) == pytest.approx(unit * degrees, rel=0.1)
    # The median of half a normal variable is lower than Fisher's mean.
    assert np.mean(np.array(found) > by_chance(unit, degrees, 0)) == pytest.approx(0.5, abs=0.2)
    assert np.mean(np.array(found) > by_chance(unit, degrees, 4)) <= 0.002


# === The bounds ===

histories = st.integers(2, 6).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, 500), min_size=width, max_size=width).filter(lambda one: sum(one) >= 100),
        min_size=2,
        max_size=15,
    )
)


@given(histories, st.randoms())
def test_the_order_of_dates_does_not_matter(bins: list[list[int]], random: Any) -> None:
    *dates, tonight = [night(day, one) for day, one in enumerate(bins)]
    shuffled = list(dates)
    random.shuffle(shuffled)
    assert against_dates(tonight, dates) == against_dates(tonight, shuffled)
    base = dates[0].counts
    assert against_baseline(tonight, dates, base) == against_baseline(tonight, shuffled, base)


@given(histories)
def test_a_bound_is_never_below_chance(bins: list[list[int]]) -> None:
    *dates, tonight = [night(day, one) for day, one in enumerate(bins)]
    judged = against_dates(tonight, dates)
    assert judged is not None
    assert min(len(dates), FEWEST_DATES) <= judged.dates <= len(dates)
    assert judged.bound >= max(LEAST, by_chance(float(chance(int(tonight.counts.sum()), 10**9)), 1, 0))
    assert 0 <= judged.distance <= 1


def test_equal_nights_are_at_0_and_one_without_dates_is_not_judged() -> None:
    dates = [night(day, [500, 300, 200]) for day in range(14)]
    judged = against_dates(night(14, [500, 300, 200]), dates)
    assert judged is not None
    assert judged.distance == pytest.approx(0, abs=1e-7)
    assert not judged.beyond
    assert against_dates(night(14, [1, 2, 3]), []) is None


def test_with_few_dates_a_rule_of_thumb_decides() -> None:
    dates = [night(day, [500, 300, 200]) for day in range(FEWEST_DATES)]
    few, enough = (against_dates(night(14, [300, 400, 300]), dates[:count]) for count in (6, 7))
    assert few is not None
    assert enough is not None
    assert (few.beyond, enough.beyond) == (False, True)
    assert few.bound > LARGE > enough.bound
    other = against_dates(night(14, [10, 290, 700]), dates[:1])
    assert other is not None
    assert other.beyond
    assert against_baseline(night(14, [10, 290, 700]), [], dates[0].counts).beyond


def test_a_weekday_swing_is_no_drift_and_the_wrong_weekday_is() -> None:
    generator = np.random.default_rng(3)
    shares = {False: [0.5, 0.3, 0.2], True: [0.3, 0.3, 0.4]}

    def drawn(day: int, weekend: bool) -> Night:
        return night(day, generator.multinomial(2_000, shares[weekend]))

    dates = [drawn(day, day % 7 >= 5) for day in range(14)]
    for day in range(14, 21):
        right, wrong = (against_dates(drawn(day, (day % 7 >= 5) == same), dates) for same in (True, False))
        assert right is not None
        assert wrong is not None
        assert (right.beyond, wrong.beyond) == (False, True)


def test_a_smaller_night_may_be_farther_away() -> None:
    generator = np.random.default_rng(5)
    dates = [night(day, generator.multinomial(50_000, [0.5, 0.3, 0.2])) for day in range(14)]
    small, large = (against_dates(night(14, [rows // 2, rows // 2, 0]), dates) for rows in (100, 50_000))
    assert small is not None
    assert large is not None
    assert small.bound > 3 * large.bound


def test_one_odd_date_or_two_blind_no_bound_and_a_weekend_is_not_odd() -> None:
    generator = np.random.default_rng(6)

    def drawn(day: int, odd: bool = False) -> Night:
        shares = [0.2, 0.2, 0.6] if odd else [0.5, 0.3, 0.2] if day % 7 < 5 else [0.4, 0.4, 0.2]
        return night(day, generator.multinomial(2_000, shares))

    base = drawn(-7).counts
    for odd in ((), (3,), (5,), (3, 8)):
        dates = [drawn(day, day in odd) for day in range(14)]
        for day in range(14, 21):
            same, again = drawn(day), drawn(day, odd=True)
            usual, bad = against_dates(same, dates), against_dates(again, dates)
            assert usual is not None
            assert bad is not None
            assert (usual.beyond, bad.beyond) == (False, True)
            # By luck another may look odd, too.
            assert 10 <= usual.dates <= 14 - len(odd)
            against = [against_baseline(one, dates, base).beyond for one in (same, again)]
            assert against == [False, True]


def test_dates_in_pairs_are_half_as_many_observations() -> None:
    # Four pairs of dates of one weekday, and no other date: each is as far from the other as that from it.
    generator = np.random.default_rng(8)
    usual = {weekday: generator.dirichlet([20, 20, 20]) for weekday in range(4)}
    dates = [night(day, generator.multinomial(5_000, usual[day % 7])) for day in (0, 1, 2, 3, 7, 8, 9, 10)]
    judged = against_dates(night(14, dates[0].counts), dates)
    assert judged is not None
    pairs = [js_distance(dates[place].counts, dates[place + 4].counts) for place in range(4)]
    spread = max(float(np.std(pairs, ddof=1)), math.sqrt(float(chance(5_000, 5_000)) / 2))
    # Student's t of three degrees of freedom.
    assert judged.bound == pytest.approx(np.mean(pairs) + 12.924 * math.sqrt(1 + 1 / 4) * spread, rel=1e-3)


def test_few_dates_are_all_kept_and_of_more_seven_however_odd_they_are() -> None:
    usual, odd = [500, 300, 200], [10, 20, 970]
    for bins, left in (([usual] * 4 + [odd] * 2, 6), ([usual] * 6 + [odd], 7), ([usual] * 5 + [odd] * 4, 7)):
        judged = against_dates(night(14, usual), [night(7 * day, one) for day, one in enumerate(bins)])
        assert judged is not None
        assert judged.dates == left


def test_a_date_with_many_more_rows_weighs_as_the_others() -> None:
    # Of one weekday, and too few to leave one out.
    bins = [[500, 500]] * 6 + [[40_000, 60_000]]
    judged = against_dates(night(49, [500, 500]), [night(7 * day, one) for day, one in enumerate(bins)])
    assert judged is not None
    first = (6 * 0.5 + 0.4) / 7
    assert judged.distance == pytest.approx(js_distance([500, 500], [round(first * 10**9), round((1 - first) * 10**9)]))


def test_a_part_of_the_week_is_a_reference_where_no_weekday_is_there_twice() -> None:
    working, weekend = [500, 300, 200], [300, 300, 400]
    dates = [night(day, weekend if day in (5, 6) else working) for day in range(8)]
    right, wrong = (against_dates(night(8, bins), dates) for bins in (working, weekend))
    assert right is not None
    assert wrong is not None
    assert (right.distance, right.beyond, wrong.beyond) == (pytest.approx(0, abs=1e-7), False, True)


def test_dates_that_are_equal_allow_what_chance_makes() -> None:
    # Say, the same texts every night.
    dates = [night(day, [100] * 20) for day in range(14)]
    judged = against_dates(night(14, [100] * 20), dates)
    assert judged is not None
    assert judged.bound == pytest.approx(by_chance(float(chance(2_000, 28_000)), 19, DEVIATIONS))


def test_what_few_rows_are_apart_by_chance_is_added_to_what_the_dates_are() -> None:
    first = (450, 470, 490, 500, 510, 530, 550)
    dates = [night(7 * day, [100 * rows, 100 * (1_000 - rows)]) for day, rows in enumerate(first)]
    small, large = (against_dates(night(49, [rows, rows]), dates) for rows in (200, 50_000))
    assert small is not None
    assert large is not None
    by_luck = [by_chance(float(chance(rows, 700_000)), 1, DEVIATIONS) for rows in (400, 100_000)]
    assert small.bound == pytest.approx(math.sqrt(large.bound**2 + by_luck[0] ** 2 - by_luck[1] ** 2), rel=1e-3)
    assert small.bound > 1.05 * max(large.bound, by_luck[0])


def test_a_bound_against_the_baseline_is_of_as_many_dates_as_there_are() -> None:
    generator = np.random.default_rng(4)
    base = np.array([5_000, 3_000, 2_000])
    dates = [night(day, generator.multinomial(5_000, [0.5, 0.3, 0.2])) for day in range(8)]
    judged = against_baseline(night(8, base), dates, base)
    apart = [js_distance(one.counts, base) for one in dates]
    spread = max(float(np.std(apart, ddof=1)), math.sqrt(float(chance(5_000, 10_000)) / 2))
    # Student's t of seven degrees of freedom; the night has more rows than the dates.
    assert judged.bound == pytest.approx(np.mean(apart) + 5.408 * math.sqrt(1 + 1 / 8) * spread, rel=1e-3)
    assert (judged.dates, judged.distance) == (8, pytest.approx(0, abs=1e-7))


def test_a_date_that_is_hardly_another_is_not_odd() -> None:
    bins = [[500_000, 500_000]] * 13 + [[505_000, 495_000]]
    judged = against_dates(night(14, bins[0]), [night(day, one) for day, one in enumerate(bins)])
    assert judged is not None
    assert judged.dates == 14


def test_few_rows_of_many_are_not_worth_a_word() -> None:
    dates = [night(day, [1_000_000, 0]) for day in range(14)]
    some, many = (against_dates(night(14, [1_000_000, rows]), dates) for rows in (300, 2_000))
    assert some is not None
    assert many is not None
    assert (some.beyond, many.beyond) == (False, True)


# === Histograms of summaries ===


def summary(bins: dict[str, Any], **more: Any) -> dict[str, Any]:
    tallies = {name: {"rows": sum(one), "sum": 0, "bins": one} for name, one in bins.items()}
    return {**merge([]), "rows": 10, "statistics": tallies, **more}


def test_bins_are_brought_to_the_same_places() -> None:
    one = summary({"margin": [1, 2]})
    one["statistics"]["margin"]["first"] = 2
    found = aligned([one, summary({"margin": [5]}), summary({})], "margin")
    assert [part.tolist() for part in found] == [[0, 0, 1, 2], [5, 0, 0, 0], [0, 0, 0, 0]]


def test_labels_that_one_of_them_has_not_told_apart_are_one_group() -> None:
    label = lambda number, rows: {"label": "a", "number": number, "rows": rows, "statistics": {}}  # noqa: E731
    whole = summary({}, labels=[label(0, 3), label(2, 4), label(7, 5)])
    cut = summary({}, labels=[label(0, 1)], other_labels={"from": 2, "rows": 9, "statistics": {}})
    assert [part.tolist() for part in aligned([whole, cut], LABEL)] == [[3, 0, 9], [1, 0, 9]]
    (alone,) = aligned([whole], LABEL)
    assert (len(alone), alone[7], alone.sum()) == (51, 5, 12)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=300).filter(any), st.data())
def test_coarser_bins_lose_no_row_and_are_few(guide: list[int], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.integers(0, 50), min_size=len(guide), max_size=len(guide)))
    one, two = coarser([np.array(guide), np.array(other)], np.array(guide))
    assert (one.sum(), two.sum(), len(one)) == (sum(guide), sum(other), len(two))
    assert (one > 0).sum() <= MOST_BINS
