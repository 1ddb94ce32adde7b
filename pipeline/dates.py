"""Logical dates: the day a run is for, which is not always the day it runs on."""

import datetime as dt
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class DateError(ValueError):
    """A date or a time zone cannot be understood."""


def logical_date(text: str, timezone: str, now: dt.datetime) -> dt.date:
    """`2026-11-21`, `today` or `yesterday` in `timezone` as a date; raises DateError."""
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
        raise DateError(f"--date {text!r} is no date; use YYYY-MM-DD, today or yesterday") from error


def fill(pattern: str, date: dt.date) -> str:
    """`pattern` with every `{date}` replaced by the ISO date."""
    return pattern.replace("{date}", date.isoformat())
