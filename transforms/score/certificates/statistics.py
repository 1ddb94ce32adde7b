"""How sure one can be after so many rows. Pure functions; every interval is one of 95 %."""

import math
from typing import NamedTuple

Z = 1.959963984540054
"""The standard normal distribution is within ±Z with a probability of 95 %."""
PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
_MOST_EXACT = 10_000
"""Rows up to which the test of McNemar is computed in integers, which grow with them."""
FEWEST = 30
"""Values of which a mean is taken for normally distributed, at least."""


class Interval(NamedTuple):
    """From `low` to `high`, both included."""

    low: float
    high: float


class Judgement(NamedTuple):
    """`verdict` is passed, failed or undecided. `missing`: rows until it is decided, if the share stays as it is.

    None if no number of rows would decide, 0 if it is decided.
    """

    verdict: str
    missing: int | None


def wilson(count: int, rows: int) -> Interval:
    """Wilson's interval of a share of which `count` of `rows` were seen; all of [0, 1] without a row."""
    if not rows:
        return Interval(0.0, 1.0)
    share, square = count / rows, Z * Z
    centre = (share + square / (2 * rows)) / (1 + square / rows)
    reach = Z / (1 + square / rows) * math.sqrt(share * (1 - share) / rows + square / (4 * rows * rows))
    # Rounding alone would lead out of them.
    return Interval(0.0 if count == 0 else centre - reach, 1.0 if count == rows else centre + reach)


def judge_share(count: int, rows: int, limit: float) -> Judgement:
    """Whether the share that is behind `count` of `rows` is at most `limit`, by Wilson's interval.

    Its bound is at the limit L where (share - L)² = Z² L (1 - L) / rows: so many rows decide.
    """
    if not rows:
        return Judgement(UNDECIDED, math.ceil(Z * Z * (1 - limit) / limit))
    distance = limit - count / rows
    return _judged(distance, rows, None if distance == 0 else Z * Z * limit * (1 - limit) / (distance * distance))


def rms_interval(rms: float, deviation: float, rows: int) -> Interval:
    """Of the root of a mean square: `deviation` is the standard deviation of the squares.

    The mean is taken for normally distributed.
    """
    if rows < 2:
        return Interval(0.0, math.inf)
    reach = Z * deviation / math.sqrt(rows)
    return Interval(math.sqrt(max(0.0, rms * rms - reach)), math.sqrt(rms * rms + reach))


def judge_rms(rms: float, deviation: float, rows: int, limit: float) -> Judgement:
    """Whether the root of the mean square is at most `limit`, by `rms_interval`; FEWEST rows at least."""
    if not rows:
        return Judgement(UNDECIDED, FEWEST)
    distance = limit * limit - rms * rms
    needed = None if distance == 0 else max(FEWEST, (Z * deviation / distance) ** 2)
    return _judged(distance, rows, needed)


def _judged(distance: float, rows: int, needed: float | None) -> Judgement:
    if needed is None:
        return Judgement(UNDECIDED, None)
    if rows >= needed:
        return Judgement(PASSED if distance > 0 else FAILED, 0)
    return Judgement(UNDECIDED, math.ceil(needed) - rows)


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact test: how probable it is that two equally good models differ at least so much, in either way.

    `only_first` rows are right with the first model alone, `only_second` with the second alone.
    """
    rows, fewer = only_first + only_second, min(only_first, only_second)
    if rows > _MOST_EXACT:
        return min(1.0, 2 * _lower_tail(rows, fewer))
    # Each of C(rows, 0), C(rows, 1), … from the one before: by itself it takes seconds for tens of thousands of rows.
    ways = term = 1
    for count in range(fewer):
        term = term * (rows - count) // (count + 1)
        ways += term
    return min(1.0, 2 * ways / (1 << rows))


def _lower_tail(rows: int, most: int) -> float:
    """How probable it is that a coin falls so on `most` of `rows` throws or fewer; to nine digits, in floats."""
    largest = math.lgamma(rows + 1) - math.lgamma(most + 1) - math.lgamma(rows - most + 1) - rows * math.log(2)
    ratio = whole = 1.0
    # From the largest term down: each is smaller than the one before, if not by much where half of the rows fall so.
    for count in range(most, 0, -1):
        ratio *= count / (rows - count + 1)
        whole += ratio
        if ratio < whole * 1e-17:
            break
    return math.exp(largest) * whole
