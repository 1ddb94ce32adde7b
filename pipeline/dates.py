"""Logical dates: the day a run is for, which is not always the day it runs on."""

import datetime as dt
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MAX_DAYS = 3_700


class DateError(ValueError):
    """A date or a time zone cannot be understood."""


def logical_date(text: str, timezone: str, now: dt.datetime, flag: str = "--date") -> dt.date:
    """`2026-11-21`, `today` or `yesterday` in `timezone` as a date; raises DateError that names the flag."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DateError(f"--timezone {timezone!r} is unknown; use a name such as UTC or Europe/Berlin") from error
    today = now.astimezone(zone).date()
    if text == "today":
        return today
    if text == "yesterday":
        return today - dt.timedelta(days=1)
    try:
        if len(text) != len("YYYY-MM-DD"):
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


def fill(pattern: str, date: dt.date) -> str:
    """`pattern` with every `{date}` replaced by the ISO date."""
    return pattern.replace("{date}", date.isoformat())
