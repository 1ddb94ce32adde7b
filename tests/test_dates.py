"""Logical dates."""

import datetime as dt

import pytest

from pipeline.dates import DateError, fill, logical_date

NIGHT = dt.datetime(2026, 11, 22, 1, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "timezone", "expected"),
    [
        ("today", "UTC", "2026-11-22"),
        ("yesterday", "UTC", "2026-11-21"),
        ("today", "America/New_York", "2026-11-21"),
        ("today", "Asia/Tokyo", "2026-11-22"),
        ("2026-02-28", "Asia/Tokyo", "2026-02-28"),
    ],
)
def test_the_day_is_that_of_the_time_zone(text: str, timezone: str, expected: str) -> None:
    assert logical_date(text, timezone, NIGHT) == dt.date.fromisoformat(expected)


@pytest.mark.parametrize("text", ["2026-02-30", "20261122x", "", "now"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(DateError, match="YYYY-MM-DD"):
        logical_date(text, "UTC", NIGHT)


def test_the_date_is_filled_into_every_place_of_a_pattern() -> None:
    assert fill("in/{date}/x-{date}.parquet", dt.date(2026, 11, 21)) == "in/2026-11-21/x-2026-11-21.parquet"
