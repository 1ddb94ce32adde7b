"""How far from a reference a night may be: as far as the dates before it are from theirs, and no less than by chance.

Each date is compared with the others, as the night is with all of them (leave one out). Its reference are the dates of
the same weekday, of the same part of the week, or all: whichever tells these dates best, so that a weekday swing is no
drift. The bound is that of one further observation of a normal variable (W. Gosset's t), so high that all statistics
together are seldom beyond theirs by chance. Dates that are far from all others are left out: one odd date would else
widen the bounds of all that follow.
"""

import datetime as dt
import math
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.outputs.drift.distance import Counts, Shares, by_chance, chance, distances, freedom
from transforms.outputs.drift.record import FEWEST_DATES

MOST_DATES = 14
FEWEST_ROWS = 100
"""Histograms with fewer rows are not compared."""
LARGE = 0.2
"""With fewer than FEWEST_DATES: what a distance may be beyond chance. It is about a population stability index of 0.25,
which is taken for a large change (N. Siddiqi, Credit Risk Scorecards, 2006)."""
DEVIATIONS = 4.0
"""Of chance alone, see by_chance; one in 30,000, or in 2,000 of histograms with two bins."""
LEAST = 0.02
"""A smaller distance is never beyond a bound, however many rows say that it is not 0: less than one row in a thousand
in a bin that was empty, or 50 % that become 52 %."""
_QUANTILES = {
    3: 12.924,
    4: 8.610,
    5: 6.869,
    6: 5.959,
    7: 5.408,
    8: 5.042,
    9: 4.781,
    10: 4.587,
    11: 4.437,
    12: 4.318,
    13: 4.221,
}
"""Student's t by degrees of freedom, exceeded once in 2,000 times. tests/transforms/outputs/test_drift_nights.py counts
what that is for all statistics together."""


_NORMAL = 1.4826
"""The deviation of a normal variable by its median deviation."""


class Night(NamedTuple):
    """The histogram of a statistic on a date."""

    date: dt.date
    counts: Counts


class Judged(NamedTuple):
    """A distance and its bound, made from so many `dates`; with fewer than FEWEST_DATES it is a rule of thumb."""

    distance: float
    bound: float
    dates: int

    @property
    def beyond(self) -> bool:
        """Whether the night is farther away than it may be."""
        return self.distance > self.bound


_WEEKS: tuple[Callable[[dt.date], Hashable], ...] = (
    lambda date: None,
    lambda date: date.weekday() >= 5,
    lambda date: date.weekday(),
)
"""Which dates are alike: all of them, those of one part of the week, those of one weekday."""


def against_dates(night: Night, dates: Sequence[Night]) -> Judged | None:
    """How far a night is from earlier dates, whose order does not matter; None without one.

    All histograms have the same bins, and FEWEST_ROWS or more.
    """
    if not dates:
        return None
    days = _Days.of(_without_odd(dates))
    count = len(days.dates)
    mine, everyone = _Days.of([night]), np.ones((1, count), np.bool_)
    degrees = freedom(days.weighted(everyone)[0][0], float(np.median(days.rows)))
    if count < FEWEST_DATES:
        return _by_rule(mine.apart(days, everyone), degrees, count)
    best: tuple[float, _Apart, _Apart, int] | None = None
    for like in _WEEKS:
        own = np.array([like(day) == like(night.date) for day in days.dates])[np.newaxis]
        others = days.others(like)
        counted = others.sum(axis=1)
        if not own.any() or not counted.all():
            continue
        left = days.apart(days, others)
        misses = float((left.distances**2).sum())
        if best is None or misses < best[0]:
            # Two dates alone are as far from one as from the other: that is one observation.
            best = misses, mine.apart(days, own), left, count - int((counted == 1).sum()) // 2
    assert best is not None
    _, tonight, left, observed = best
    return _judged(tonight, left, degrees, observed)


def against_baseline(night: Night, dates: Sequence[Night], baseline: Counts) -> Judged:
    """How far a night is from the baseline; the dates say how far is usual. For the rest see against_dates."""
    fixed = _Days.of([Night(night.date, baseline)])
    degrees = freedom(fixed.shares[0], float(baseline.sum()))
    tonight = _Days.of([night]).apart(fixed, np.ones((1, 1), np.bool_))
    dates = _without_odd(dates)
    if len(dates) < FEWEST_DATES:
        return _by_rule(tonight, degrees, len(dates))
    left = _Days.of(dates).apart(fixed, np.ones((len(dates), 1), np.bool_))
    return _judged(tonight, left, degrees, len(dates))


def _without_odd(dates: Sequence[Night]) -> Sequence[Night]:
    """Without the dates that are far from all others, whatever they are compared with; FEWEST_DATES are left.

    Far is told by median and median deviation, which a few odd dates hardly move.
    """
    if len(dates) <= FEWEST_DATES:
        return dates
    days = _Days.of(dates)
    found, units = np.full(len(dates), np.inf), np.zeros(len(dates))
    alone = np.zeros(len(dates), np.bool_)
    for like in _WEEKS:
        others = days.others(like)
        lonely = others.sum(axis=1) == 0
        # What is usual on the only date of its kind is not known: such a date is never odd.
        alone |= lonely
        apart = days.apart(days, np.where(lonely[:, np.newaxis], days.others(_WEEKS[0]), others))
        nearer = apart.distances < found
        found, units = np.where(nearer, apart.distances, found), np.where(nearer, apart.units, units)
    middle = float(np.median(found))
    deviation = max(float(np.median(np.abs(found - middle))) * _NORMAL, math.sqrt(float(np.median(units)) / 2))
    limit = max(LEAST, middle + _quantile(len(dates)) * deviation)
    far = [place for place in np.argsort(-found, kind="stable").tolist() if found[place] > limit and not alone[place]]
    odd = {days.dates[place] for place in far[: len(dates) - FEWEST_DATES]}
    return [one for one in dates if one.date not in odd]


def _quantile(observed: int) -> float:
    return _QUANTILES[min(max(observed - 1, min(_QUANTILES)), max(_QUANTILES))]


class _Apart(NamedTuple):
    """Distances of some dates, and the unit by which chance makes each (see `chance`)."""

    distances: Shares
    units: Shares


class _Days(NamedTuple):
    """Several dates in order, their shares [N, K] and numbers of rows [N]."""

    dates: Sequence[dt.date]
    shares: Shares
    rows: Shares

    @classmethod
    def of(cls, nights: Sequence[Night]) -> "_Days":
        nights = sorted(nights, key=lambda one: one.date)
        counts = np.array([one.counts for one in nights], np.float64)
        rows = counts.sum(axis=1)
        return cls([one.date for one in nights], counts / rows[:, np.newaxis], rows)

    def others(self, like: Callable[[dt.date], Hashable]) -> npt.NDArray[np.bool_]:
        """For each of these dates those of its kind but itself [N, N]."""
        kinds = np.array([like(day) for day in self.dates])
        found: npt.NDArray[np.bool_] = (kinds[:, np.newaxis] == kinds) & ~np.eye(len(kinds), dtype=np.bool_)
        return found

    def weighted(self, chosen: npt.NDArray[np.bool_]) -> tuple[Shares, Shares]:
        """Means of the chosen ones of these dates [M, N], and of how many rows one date would be as exact.

        A date with more rows than the middle one weighs as that one: a large date would else be the mean.
        """
        several = chosen * np.minimum(self.rows, np.median(self.rows))
        weights: Shares = several / several.sum(axis=1, keepdims=True)
        return weights @ self.shares, 1 / (weights**2 / self.rows).sum(axis=1)

    def apart(self, others: "_Days", chosen: npt.NDArray[np.bool_]) -> _Apart:
        """How far each of these N dates is from the mean of those of M others that are chosen for it [N, M]."""
        means, rows = others.weighted(chosen)
        return _Apart(distances(self.shares, means), chance(self.rows, rows))


def _by_rule(tonight: _Apart, degrees: float, dates: int) -> Judged:
    bound = by_chance(float(tonight.units[0]), degrees, DEVIATIONS) + LARGE
    return Judged(float(tonight.distances[0]), bound, dates)


def _judged(tonight: _Apart, left: _Apart, degrees: float, observed: int) -> Judged:
    """A night by how far other dates were, so many of them independent."""
    unit, usual = float(tonight.units[0]), float(np.median(left.units))
    # Of two bins the distance is that of half a normal variable: the deviation of a few dates can be near 0 by luck.
    spread = float(np.std(left.distances)) * math.sqrt(observed / (observed - 1))
    deviation = max(spread, math.sqrt(usual / 2))
    bound = float(left.distances.mean()) + _quantile(observed) * math.sqrt(1 + 1 / observed) * deviation
    # Fewer rows than those dates have are farther apart by chance.
    here, there = (by_chance(one, degrees, DEVIATIONS) for one in (unit, usual))
    bound = max(LEAST, here, math.sqrt(bound**2 + max(0.0, here**2 - there**2)))
    return Judged(float(tonight.distances[0]), bound, len(left.distances))
