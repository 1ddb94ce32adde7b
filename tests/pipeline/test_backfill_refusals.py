"""Ranges of dates, and what is wrong with every date of a back-fill: it ends before the first."""

import datetime as dt
from pathlib import Path

import pytest
from support.bundles import Built
from support.commands import backfill_command, invoke

from pipeline.errors import DateError
from pipeline.jobs.dates import MAX_DAYS, date_range

NOW = dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC)

# === Ranges ===


@pytest.mark.parametrize(
    ("first", "last", "dates"),
    [
        ("2026-11-20", "2026-11-20", ["2026-11-20"]),
        ("2026-02-27", "2026-03-01", ["2026-02-27", "2026-02-28", "2026-03-01"]),
        ("2028-02-28", "2028-03-01", ["2028-02-28", "2028-02-29", "2028-03-01"]),
        ("2026-12-31", "2027-01-01", ["2026-12-31", "2027-01-01"]),
        ("yesterday", "today", ["2026-11-21", "2026-11-22"]),
    ],
)
def test_both_ends_of_a_range_belong_to_it(first: str, last: str, dates: list[str]) -> None:
    assert [date.isoformat() for date in date_range(first, last, "UTC", NOW)] == dates


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2026-11-21", "2026-11-20", "--from 2026-11-21 is after --to 2026-11-20"),
        ("2016-01-01", "2026-11-20", "at most 3,700"),
        ("0001-01-01", "9999-12-31", "at most 3,700"),
        ("2026-11-31", "2026-12-01", "--from '2026-11-31' is no date"),
        ("2026-11-01", "soon", "--to 'soon' is no date"),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused(first: str, last: str, message: str) -> None:
    with pytest.raises(DateError, match=message):
        date_range(first, last, "UTC", NOW)


def test_the_longest_range_is_allowed() -> None:
    first = NOW.date() - dt.timedelta(MAX_DAYS - 1)
    assert len(date_range(first.isoformat(), "today", "UTC", NOW)) == MAX_DAYS


# === What is wrong with every date ends before the first ===


# === What is wrong with every date ===


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input", "in.jsonl"], "has no {date}, so every date would get the same rows"),
        (["--report", "page.html"], "each date would replace the page of the one before"),
        (["--from", "2026-11-22"], "--from 2026-11-22 is after --to 2026-11-21"),
        (["--to", "2049-01-01"], "at most 3,700"),
        (["--bundle", "nowhere"], "is no bundle"),
        (["--bundle-fingerprint", "0123"], "not the 0123 of the job"),
        (["--text-pair-column", "b"], "scores single texts"),
        (["--id-from", "x"], "--id-from"),
        (["--if-published", "never"], "--if-published 'never'"),
        (["--log-format", "xml"], "--log-format 'xml' is unknown"),
        (["--", "--direct_num_worker=2"], "did you mean --direct_num_workers?"),
    ],
)
def test_what_is_wrong_with_every_date_is_said_once(
    flags: list[str], message: str, classes: Built, tmp_path: Path
) -> None:
    given = backfill_command(classes, tmp_path)
    if flags[0] == "--input":
        given = given[:-2]
    found, out, err = invoke(*given, *flags)
    assert (found, out, message in err) == (2, "", True), err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_date_is_no_flag_of_a_back_fill_and_a_mistyped_flag_names_the_right_one() -> None:
    assert invoke("backfill", "--from", "today", "--to", "today", "--date", "today")[0] == 2
    found, _, err = invoke("backfill", "--form", "today")
    assert (found, "--from" in err or "--format" in err) == (2, True)
