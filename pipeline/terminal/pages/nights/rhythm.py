"""Which dates an output should have: told by those that it has."""

import datetime as dt
import statistics
from collections.abc import Collection, Sequence

_WEEKS = 4
"""So many weeks back say on which weekdays there is a run."""
_OFTEN = 3
"""In so many of these weeks a weekday has a run."""
_FEWEST = 3
_LATE = dt.timedelta(hours=3)
"""So much later than usual a date is missed."""
_DAY = dt.timedelta(days=1)


def missing_dates(there: Collection[dt.date], until: dt.date) -> list[dt.date]:
    """Dates after the first of `there`, up to `until`, that are not there although their weekday usually is.

    A weekday is one of the rhythm if three of the last four dates with it are there; of two or three, all of them. So
    one of every other week is not: half of its dates are there, or two of three. Where there are not two such dates, a
    date is missing if both its neighbours are there.
    """
    known = set(there)
    if not known:
        return []
    first = min(known)
    found = []
    for number in range(1, (until - first).days + 1):
        day = first + number * _DAY
        same = [back for week in range(1, _WEEKS + 1) if (back := day - 7 * week * _DAY) >= first]
        ran = sum(one in known for one in same)
        usual = ran >= min(len(same), _OFTEN) if len(same) > 1 else {day - _DAY, day + _DAY} <= known
        if usual and day not in known:
            found.append(day)
    return found


def due_until(published: Sequence[tuple[dt.date, dt.datetime | None]], newest: dt.date, now: dt.datetime) -> dt.date:
    """The last date that should be there by `now`: as many hours after its begin (UTC) as usual, and three more.

    It is `newest` where fewer than three dates say what is usual.
    """
    lags = [when - _midnight(day) for day, when in published if when is not None]
    if len(lags) < _FEWEST:
        return newest
    usual = dt.timedelta(seconds=statistics.median(lag.total_seconds() for lag in lags))
    return max(newest, (now.astimezone(dt.UTC) - usual - _LATE).date())


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)
