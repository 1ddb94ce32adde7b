"""Which dates are missing: every night, working days, a first week, an output that ended long ago."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.files.manifests import days

from pipeline.terminal.pages.nights.rhythm import due_until, missing_dates

LAST = dt.date(2026, 11, 21)
"""A Saturday."""


def test_a_night_between_others_is_missing() -> None:
    there = days(30, LAST)
    gone = {there[10], there[20]}
    assert missing_dates([day for day in there if day not in gone], LAST) == sorted(gone)


def test_weekends_are_not_missed_where_there_is_no_run_on_them() -> None:
    there = [day for day in days(40, LAST) if day.weekday() < 5]
    assert missing_dates(there, LAST) == []
    thursday = dt.date(2026, 11, 19)
    assert missing_dates([day for day in there if day != thursday], LAST) == [thursday]


def test_in_the_first_week_a_date_is_missed_between_two_others() -> None:
    there = days(5, LAST)
    assert missing_dates([*there[:2], *there[3:]], LAST) == [there[2]]
    assert missing_dates([*there[:1], *there[3:]], LAST) == []


@pytest.mark.parametrize("every", [14, 21, 28, 30])
def test_an_output_of_every_other_week_or_less_misses_nothing(every: int) -> None:
    there = [LAST - dt.timedelta(every * back) for back in range(10)]
    for count in range(1, 11):
        assert missing_dates(there[-count:], LAST + dt.timedelta(every)) == []


def test_a_weekly_output_misses_a_week() -> None:
    there = [LAST - dt.timedelta(7 * back) for back in range(10)]
    assert missing_dates([*there[:2], *there[3:]], LAST) == [there[2]]


def test_dates_that_ended_long_ago_are_missed_for_some_weeks() -> None:
    there = days(60, LAST)
    found = missing_dates(there, LAST + dt.timedelta(60))
    assert found == [LAST + dt.timedelta(days) for days in range(1, 15)]


@given(st.sets(st.integers(0, 80), min_size=1), st.integers(0, 100))
def test_what_is_there_is_never_missing(numbers: set[int], until: int) -> None:
    first = dt.date(2026, 1, 1)
    there = {first + dt.timedelta(number) for number in numbers}
    found = missing_dates(there, first + dt.timedelta(until))
    assert not there & set(found)
    assert all(min(there) < day <= first + dt.timedelta(until) for day in found)
    assert missing_dates([], first) == []


@pytest.mark.parametrize(("hour", "expected"), [(5, 0), (6, 0), (7, 1), (31, 2)])
def test_a_date_is_due_three_hours_after_the_usual_time(hour: int, expected: int) -> None:
    # Published at 03:30 of the next day.
    def lag(day: dt.date) -> dt.datetime:
        return dt.datetime.combine(day, dt.time(3, 30), dt.UTC) + dt.timedelta(days=1)

    published = [(day, lag(day)) for day in days(9, LAST)]
    now = dt.datetime.combine(LAST, dt.time(), dt.UTC) + dt.timedelta(days=2, hours=hour)
    assert due_until(published, LAST, now) == LAST + dt.timedelta(expected)
    assert due_until(published[:2], LAST, now) == LAST
