"""Logical dates: the day a run is for (not always the day it runs on), and how it is filled into paths and SQL."""

import datetime as dt
import re
from collections.abc import Iterable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.errors import DateError

MAX_DAYS = 3_700
SAMPLE = dt.date(2026, 11, 21)
"""Any date, to see whether a pattern can be filled in."""

_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_IN_SQL = re.compile(r"\{(date(?::[^{}]*)?)\}")
_DIRECTIVE = re.compile(r"%(-?.?)", re.DOTALL)
_PARTS = {
    "Y": lambda date: f"{date.year:04}",
    "m": lambda date: f"{date.month:02}",
    "d": lambda date: f"{date.day:02}",
    "y": lambda date: f"{date.year % 100:02}",
    "j": lambda date: f"{date.timetuple().tm_yday:03}",
    "G": lambda date: f"{date.isocalendar().year:04}",
    "V": lambda date: f"{date.isocalendar().week:02}",
    "u": lambda date: str(date.isoweekday()),
    "%": lambda date: "%",
    # As folders are named by what writes numbers there: month=3.
    "-m": lambda date: f"{date.month}",
    "-d": lambda date: f"{date.day}",
    "-j": lambda date: f"{date.timetuple().tm_yday}",
    "-V": lambda date: f"{date.isocalendar().week}",
}
KNOWN = (
    "{date} (2026-11-21) and {date:…} with %Y %m %d %y %j %G %V %u, as in {date:%Y/%m/%d}, and without leading zeros "
    "%-m %-d %-j %-V"
)


def logical_date(text: str, timezone: str, now: dt.datetime, flag: str = "--date") -> dt.date:
    """`2026-11-21`, `today` or `yesterday` in `timezone` as a date; raises DateError that names the flag."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DateError(f"--timezone {timezone!r} is unknown; use a name such as UTC or Europe/Berlin") from error
    today = now.astimezone(zone).date()
    if text == "today":
        return today
    if text == "yesterday":
        return today - dt.timedelta(days=1)
    try:
        # Python reads 20261121 and 2026-W48-6 too.
        if not _ISO.fullmatch(text):
            raise ValueError(text)
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise DateError(f"{flag} {text!r} is no date; use YYYY-MM-DD, today or yesterday") from error


def date_range(first: str, last: str, timezone: str, now: dt.datetime) -> list[dt.date]:
    """Every date from `first` to `last`, both included, each as `logical_date` takes it; raises DateError."""
    start, end = logical_date(first, timezone, now, "--from"), logical_date(last, timezone, now, "--to")
    if start > end:
        raise DateError(f"--from {start} is after --to {end}")
    days = (end - start).days + 1
    if days > MAX_DAYS:
        raise DateError(f"--from {start} --to {end} are {days:,} days; a back-fill takes at most {MAX_DAYS:,}")
    return [start + dt.timedelta(day) for day in range(days)]


def fill(pattern: str, date: dt.date, flag: str = "--input") -> str:
    """A path with every `{date}` replaced by the ISO date, `{date:%Y/%m}` by these parts of it, `{{` by `{`.

    Raises DateError for another placeholder: taken as text, it would name files that never come.
    """

    def part(found: re.Match[str]) -> str:
        if found[0] in ("{", "}"):
            raise DateError(
                f"{flag} {pattern}: has a {found[0]} alone; known are {KNOWN}; write {{{{ and }}}} for braces in the "
                "name of a file"
            )
        if found[1] is None:
            return found[0][0]
        if found[1] == "date" or found[1].startswith("date:"):
            return _value(found[1], date, f"{flag} {pattern}")
        if "," in found[1]:
            raise DateError(
                f"{flag} {pattern}: {found[0]} is no placeholder, and patterns have no alternatives in braces; repeat "
                f"{flag} for each of them, or write {{{{ and }}}} for braces in the name of a file"
            )
        raise DateError(
            f"{flag} {pattern}: the placeholder {found[0]} is unknown; known are {KNOWN}; "
            "write {{ and }} for braces in the name of a file"
        )

    return _PLACEHOLDER.sub(part, pattern)


def fill_sql(text: str, date: dt.date, where: str) -> str:
    """The same for SQL, where other braces mean something else and stay as they are."""
    return _IN_SQL.sub(lambda found: _value(found[1], date, where), text)


def unpadded(patterns: Iterable[str]) -> str:
    """What to try where a part of the date is the value of a folder: who writes numbers there pads none."""
    found = {part for pattern in patterns for part in re.findall(r"=\{date:%([mdjV])\}", pattern)}
    return f"; for folders without leading zeros write {{date:%-{min(found)}}}" if found else ""


def placeholder_in(text: str) -> str | None:
    """What looks like a placeholder in a path where none is replaced."""
    found = re.search(r"\{[^{}]*\}", text)
    return None if found is None else found[0]


def _value(name: str, date: dt.date, where: str) -> str:
    _, colon, form = name.partition(":")
    if not colon:
        return date.isoformat()

    def directive(found: re.Match[str]) -> str:
        if found[1] not in _PARTS:
            raise DateError(f"{where}: {found[0]} in {{{name}}} is unknown; known are {KNOWN}")
        return _PARTS[found[1]](date)

    if "%" not in form:
        raise DateError(f"{where}: {{{name}}} says no part of the date; known are {KNOWN}")
    return _DIRECTIVE.sub(directive, form)
