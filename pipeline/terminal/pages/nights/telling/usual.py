"""What is usual: the middle of the last dates and their spread, and whether a date is far from it.

These are rules of thumb for numbers of which the run itself made no bound. What it compared (docs/use/drift.md) has its
bound in the manifest, and is not judged again.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.terminal.pages.nights.night import Night

Measure = Callable[[Night], float | None]

LAST = 14
"""Dates whose middle is what is usual."""
WEEKS = 28
"""Dates among which those of the same weekday are looked for."""
FEWEST = 7
"""With fewer dates nothing is far."""
_NORMAL = 1.4826
"""The deviation of a normal variable by its median deviation."""
_DEVIATIONS = 5.0
"""Of a normal variable, exceeded once in two million dates: spreads of few dates are too small by chance."""


@dataclass(frozen=True, kw_only=True)
class Usual:
    """The middle, the lowest and the highest of so many dates."""

    middle: float
    lowest: float
    highest: float
    dates: int


def alike(night: Night, others: Sequence[Night]) -> list[Night]:
    """Those of `others` that were published with the model and the precision of a night."""
    same = (night.fingerprint, night.precision, night.settings.get("threshold"))
    return [
        one
        for one in others
        if one.is_published and (one.fingerprint, one.precision, one.settings.get("threshold")) == same
    ]


def usual(others: Sequence[Night], measure: Measure) -> Usual | None:
    """Of the last dates that have the number; None without one. `others` are in order."""
    values = _values(others, measure)[-LAST:]
    if not values:
        return None
    return Usual(middle=statistics.median(values), lowest=min(values), highest=max(values), dates=len(values))


def on_weekday(night: Night, others: Sequence[Night], measure: Measure) -> float | None:
    """The middle of the dates of the last weeks with the weekday of a night; None where there are not two."""
    values = _of_weekday(night, others, measure)
    return statistics.median(values) if len(values) > 1 else None


def is_far(night: Night, others: Sequence[Night], measure: Measure, least: float, noise: float = 0) -> bool:
    """Whether a night is far from the last dates, and from those of its weekday, by more than `least`.

    Far is _DEVIATIONS times the spread of the dates, or times `noise`: the deviation that the number of the night has
    by chance, where it has few rows.
    """
    value, values = measure(night), _values(others, measure)
    if value is None or len(values) < FEWEST:
        return False
    last = values[-LAST:]
    middle = statistics.median(last)
    spread = statistics.median(abs(one - middle) for one in last) * _NORMAL
    margin = max(least, _DEVIATIONS * spread, _DEVIATIONS * noise)
    # On a weekday a number may always be another one than on the others.
    same = _of_weekday(night, others, measure)
    near_weekday = len(same) > 1 and min(same) - margin <= value <= max(same) + margin
    return abs(value - middle) > margin and not near_weekday


def noise_of(share: float | None, rows: int | None) -> float:
    """The deviation that a share of so many rows has by chance; of a mean of numbers in [0, 1] at most."""
    return math.sqrt(max(share * (1 - share), 0) / rows) if share is not None and rows else 0.0


def noise_of_mean(mean: float, rows: int) -> float:
    """The same of a mean of numbers that vary as much as they are large, such as lengths: a rule of thumb."""
    return abs(mean) / math.sqrt(rows)


def _of_weekday(night: Night, others: Sequence[Night], measure: Measure) -> list[float]:
    return _values([one for one in others[-WEEKS:] if one.date.weekday() == night.date.weekday()], measure)


def _values(nights: Sequence[Night], measure: Measure) -> list[float]:
    return [value for night in nights if (value := measure(night)) is not None]
