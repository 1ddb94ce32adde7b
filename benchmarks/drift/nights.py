"""Nights of rows that were scored once, with a weekday swing, and what can go wrong in them, judged by the product.

For every night the rows are split anew into a calibration pool, of which its earlier dates are drawn, and a test pool,
of which the night is drawn: no row of it was in a date that it is compared with. The dates have rows several times;
the night has none twice, and is so as far from all rows as one sample of them is.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.drift.scored_rows import Contributions, Integers
from transforms.outputs.drift.bounds import MOST_DATES
from transforms.outputs.drift.compared import Dated, drift_of
from transforms.outputs.drift.histograms import Summary
from transforms.outputs.drift.record import Beyond, beyond
from transforms.publish.gate import Gate

ROWS = 2_000
"""Rows of a night, and of each date before it."""
MONDAY = dt.date(2026, 3, 2)
CALIBRATION = 0.5
"""Share of the rows that are the calibration pool. Of a smaller test pool a night without a row twice would be most of
it, and would have no swing."""
SWING, LONGER = 0.4, 0.3
"""Deviations of the logarithm of how often a label is on a day of the weekend, and of how often longer texts are."""
AS_IT_IS = "as it is"

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The rows of a corpus beside those of the training: what each adds in every form, its label, characters.

    `others` are what is mixed in.
    """

    forms: Mapping[str, Contributions]
    labels: Integers
    lengths: Integers
    others: Mapping[str, Contributions]
    baseline: Summary | None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Shift:
    """What is wrong with a share of the rows of a night: other texts, another form, or more of one label."""

    share: float = 0.0
    mixed: str | None = None
    form: str | None = None
    label: bool = False


UNSHIFTED = Shift()


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The rows of a night: of the pool in their own form, in `form`, and of another corpus."""

    own: Integers
    changed: Integers
    form: str
    others: Integers
    mixed: str | None

    def summary(self, pool: Pool) -> dict[str, Any]:
        """Their summary: the sum of what each adds."""
        parts = [pool.forms[AS_IT_IS].take(self.own), pool.forms[self.form].take(self.changed)]
        if self.mixed is not None:
            parts.append(pool.others[self.mixed].take(self.others))
        return Contributions.joined(*parts).summary()


class Week:
    """How often each row of a pool is on each weekday: Saturday and Sunday have other labels, and longer texts."""

    def __init__(self, generator: np.random.Generator, pool: Pool) -> None:
        labels = int(pool.labels.max()) + 1
        # Each working day is a little unlike the others.
        deviations = np.array([[0.2]] * 5 + [[1.0]] * 2) * SWING
        of_labels = np.exp(generator.normal(0, 1, (7, labels)) * deviations)[:, pool.labels]
        long = (pool.lengths - pool.lengths.mean()) / pool.lengths.std()
        weekend = np.array([[0.0]] * 5 + [[1.0]] * 2)
        self._weights: Weights = of_labels * np.exp(np.clip(long, -2, 2) * weekend * LONGER)

    def of(self, date: dt.date) -> Weights:
        """The weight of every row on that date."""
        weights: Weights = self._weights[date.weekday()]
        return weights


def before(
    generator: np.random.Generator, pool: Pool, week: Week, date: dt.date, calibration: Integers
) -> Iterator[Dated]:
    """The MOST_DATES dates before one, drawn from the calibration pool."""
    for days in range(MOST_DATES, 0, -1):
        day = date - dt.timedelta(days)
        rows = drawn_again(generator, week.of(day), calibration, ROWS)
        yield Dated(day, pool.forms[AS_IT_IS].take(rows).summary())


def drawn_again(generator: np.random.Generator, weights: Weights, rows: Integers, count: int) -> Integers:
    """So many of the rows, each as often as it comes."""
    ends = np.cumsum(weights[rows])
    chosen: Integers = rows[np.searchsorted(ends, generator.random(count) * ends[-1], side="right")]
    return chosen


def drawn_once(generator: np.random.Generator, weights: Weights, rows: Integers, count: int) -> Integers:
    """So many of the rows, none twice, each as probably as its weight says: systematic sampling in a random order.

    W. Madow, "On the theory of systematic sampling, II", Annals of Mathematical Statistics 20 (1949). What would come
    more than once comes once.
    """
    order = generator.permutation(rows)
    several = weights[order]
    while (largest := several.sum() / count) < several.max() * (1 - 1e-9):
        several = np.minimum(several, largest)
    ends = np.cumsum(several) / largest
    chosen: Integers = order[np.searchsorted(ends, generator.random() + np.arange(count), side="right")]
    return chosen


def night(generator: np.random.Generator, pool: Pool, weights: Weights, test: Integers, shift: Shift) -> Drawn:
    """A night of ROWS rows of the test pool, with a shift."""
    shifted = round(ROWS * shift.share)
    rows = drawn_once(generator, weights, test, ROWS)
    own, rest, others = rows[shifted:], rows[:shifted], rows[:0]
    if shift.mixed is not None:
        others, rest = generator.permutation(len(pool.others[shift.mixed]))[:shifted], rows[:0]
    if shift.label:
        label = generator.choice(pool.labels[test])
        rest = drawn_again(generator, weights, test[pool.labels[test] == label], shifted)
    return Drawn(own=own, changed=rest, form=shift.form or AS_IT_IS, others=others, mixed=shift.mixed)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is said of a night: the statistics that are beyond their bounds, and why the gate holds it."""

    beyond: Sequence[Beyond]
    held: Sequence[str]


def judged(tonight: Dated, dates: Sequence[Dated], baseline: Summary | None, rows: int = ROWS) -> Verdict:
    """A night as a run of it would be judged, after these dates."""
    drift = drift_of(tonight, dates, baseline, rows, [one.summary["rows"] for one in dates])
    return Verdict(beyond=beyond(drift), held=list(Gate(drift=True).holds(drift)))


def split(generator: np.random.Generator, pool: Pool) -> tuple[Integers, Integers]:
    """Calibration pool and test pool: all rows, at random."""
    order = generator.permutation(len(pool))
    calibration, test = np.split(order, [int(len(pool) * CALIBRATION)])
    return calibration, test


def nights(
    pool: Pool,
    shift: Shift,
    count: int,
    seed: Sequence[int],
    each_week: int,
    tell: Callable[[int], None] = lambda _: None,
) -> Iterator[Verdict]:
    """So many nights with a shift; after `each_week` of them the weekday swing is drawn anew."""
    for number in range(count):
        generator = np.random.default_rng([*seed, number])
        week = Week(np.random.default_rng([*seed, number // each_week, 1 << 20]), pool)
        date = MONDAY + dt.timedelta(number)
        calibration, test = split(generator, pool)
        dates = list(before(generator, pool, week, date, calibration))
        tonight = night(generator, pool, week.of(date), test, shift)
        yield judged(Dated(date, tonight.summary(pool)), dates, pool.baseline)
        tell(number + 1)
