"""Logical dates."""

import datetime as dt
from typing import Any

import pytest

from pipeline.errors import ConfigError, DateError
from pipeline.jobs.config import load_job
from pipeline.jobs.dates import fill, fill_sql, logical_date, unpadded

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


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "20261122x",
        "",
        "now",
        "2026-W48-6",
        "20261121",
        "2026W48-6x",
        " 2026-11-21",
        "2026-11-21\n",
        "2026-11-21 ",
        "２０２６-11-21",
        "0000-01-01",
        "2026-1-21",
        "2026-11-21T00:00",
        "TODAY",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(DateError, match="YYYY-MM-DD"):
        logical_date(text, "UTC", NIGHT)


DAY = dt.date(2026, 1, 3)


@pytest.mark.parametrize(
    ("pattern", "filled"),
    [
        ("in/{date}/x-{date}.parquet", "in/2026-01-03/x-2026-01-03.parquet"),
        ("year={date:%Y}/month={date:%m}/day={date:%d}/*", "year=2026/month=01/day=03/*"),
        ("{date:%Y/%m/%d}-{date:%y%j}", "2026/01/03-26003"),
        ("{date:%G-W%V-%u}", "2026-W01-6"),
        ("{date:100%%-%Y}", "100%-2026"),
        ("bq://p.d.t_{date:%Y%m%d}", "bq://p.d.t_20260103"),
        ("a{{b,c}}/{{date}}/{date}", "a{b,c}/{date}/2026-01-03"),
        ("a}}b{{c", "a}b{c"),
    ],
)
def test_a_pattern_is_filled_with_the_date_and_its_parts(pattern: str, filled: str) -> None:
    assert fill(pattern, DAY) == filled


def test_early_years_have_four_digits() -> None:
    assert fill("{date:%Y%m%d}", dt.date(7, 1, 2)) == "00070102"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{year}/x", "the placeholder {year} is unknown; known are {date}"),
        ("{}", "the placeholder {} is unknown"),
        ("{ date }", "the placeholder { date } is unknown"),
        ("{Date}", "the placeholder {Date} is unknown"),
        ("{date-1}", "the placeholder {date-1} is unknown"),
        ("{dates}", "the placeholder {dates} is unknown"),
        ("{a,b}.csv", "no alternatives in braces; repeat --input"),
        ("{date/x", "has a { alone"),
        ("a}b", "has a } alone"),
        ("{date}}/x", "has a } alone"),
        ("{date:}", "{date:} says no part of the date"),
        ("{date:iso}", "{date:iso} says no part of the date"),
        ("{date:%H}", "%H in {date:%H} is unknown"),
        ("{date:%-Y}", "%-Y in {date:%-Y} is unknown"),
        ("{date:%-}", "%- in {date:%-} is unknown"),
        ("{date:%Y%}", "% in {date:%Y%} is unknown"),
    ],
)
def test_a_placeholder_that_is_unknown_is_named_with_those_that_are_known(pattern: str, said: str) -> None:
    with pytest.raises(DateError) as error:
        fill(pattern, DAY)
    assert str(error.value).startswith(f"--input {pattern}: ")
    assert said in str(error.value)
    assert "%Y %m %d" in str(error.value) or "," in pattern


def test_parts_without_leading_zeros_are_those_of_folders_that_hold_numbers() -> None:
    assert fill("y={date:%Y}/m={date:%-m}/d={date:%-d}/{date:%-j}/{date:%-V}", DAY) == "y=2026/m=1/d=3/3/1"
    later = dt.date(2026, 11, 21)
    assert fill("m={date:%-m}/d={date:%-d}", later) == fill("m={date:%m}/d={date:%d}", later)
    assert unpadded(["a/{date:%m}", "y={date:%Y}"]) == ""
    assert unpadded(["y={date:%Y}/m={date:%m}"]) == "; for folders without leading zeros write {date:%-m}"


def test_in_sql_only_dates_are_replaced() -> None:
    sql = "SELECT REGEXP_CONTAINS(t, r'{3}') , '{{date}}', {year}, '{a,b}', '{date}', {date:%Y}"
    filled = "SELECT REGEXP_CONTAINS(t, r'{3}') , '{2026-01-03}', {year}, '{a,b}', '2026-01-03', 2026"
    assert fill_sql(sql, DAY, "--input-filter") == filled
    with pytest.raises(DateError, match=r"--input-filter: %H in \{date:%H\} is unknown"):
        fill_sql("x = {date:%H}", DAY, "--input-filter")


@pytest.mark.parametrize("timezone", ["Mars", "", "America", "../../etc/passwd", "/etc/passwd", "a\0b"])
def test_what_is_no_time_zone_is_refused(timezone: str) -> None:
    with pytest.raises(DateError, match="--timezone"):
        logical_date("today", timezone, NIGHT)


@pytest.mark.parametrize(
    "paths",
    [
        {"output": ("out/{date}",)},
        {"output": ("out/{date:%Y}",)},
        {"output": ("{year}",)},
        {"bundle": "bundles/{date}"},
        {"input": (), "input_query": "{date}.sql"},
        {"input": ("{year}",)},
        {"input": ("bq://p.d.t_{year}",)},
        {"input": ("bq://p.d.t",), "input_filter": "d = '{date:%H}'"},
    ],
)
def test_a_placeholder_where_none_is_replaced_is_refused_with_the_job(paths: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"\{"):
        load_job(None, {"bundle": "b", "input": ("x",), "output": ("y",), **paths})


@pytest.mark.parametrize(
    "paths", [{"output": ("",)}, {"bundle": " "}, {"input": ("a\0b",)}, {"input": ("gs://",)}, {"output": ("gs:///",)}]
)
def test_what_is_no_path_is_refused_with_the_job(paths: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is no path"):
        load_job(None, {"bundle": "b", "input": ("x",), "output": ("y",), **paths})
