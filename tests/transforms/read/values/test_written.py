"""What --schema makes of text: a table of what people write, and Python's own types as the independent reader."""

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.jobs.column_types import arrow_types
from transforms.read.values.written import parse

UTC = dt.UTC
BAD = "bad"
relaxed = settings(deadline=None)


def one(text: str, kind: str, **more: bool) -> Any:
    values, bad = parse(pa.array([text, None, text], pa.string()), arrow_types()[kind], **more)
    assert values.type == arrow_types()[kind]
    assert values[1].as_py() is None
    assert not bad[1]
    assert bad[0] == bad[2]
    assert not (bad[0] and values[0].is_valid)
    return BAD if bad[0] else values[0].as_py()


NOON = dt.datetime(2024, 2, 29, 12, tzinfo=UTC)
TABLE = {
    "int64": {
        "5": 5, " 5\t": 5, "+5": 5, "-5": -5, "05": 5, "5.0": 5, "5.": 5, "": None, "  ": None, "5.5": BAD, "1e3": BAD,
        "0x1F": BAD, "1_000": BAD, "1,000": BAD, "9223372036854775807": 2**63 - 1, "9223372036854775808": BAD,
        "-9223372036854775808": -(2**63), "five": BAD, "٣": BAD, "1 2": BAD, "NaN": BAD,
    },
    "float64": {
        "1": 1.0, " 1.5 ": 1.5, ".5": 0.5, "5.": 5.0, "+1": 1.0, "1e5": 1e5, "-1E-3": -1e-3, "1e300": 1e300, "": None,
        "inf": math.inf, "-Infinity": -math.inf, "0.1234567890123456789": 0.12345678901234568,
        "1e400": BAD, "9007199254740993": BAD, "9007199254740992": 2.0**53, "1344900117571260918": BAD,
        "9007199254740993.0": BAD, "0x10": BAD, "1_0": BAD, "1,5": BAD, ".": BAD, "e5": BAD, "abc": BAD,
    },
    "bool": {
        "true": True, "TRUE": True, "t": True, "yes": True, "Y": True, "1": True, " true ": True, "false": False,
        "F": False, "No": False, "0": False, "": None, "2": BAD, "on": BAD, "wahr": BAD,
    },
    "date": {
        "2024-02-29": dt.date(2024, 2, 29), " 2024-02-29 ": dt.date(2024, 2, 29), "0001-01-01": dt.date(1, 1, 1),
        "9999-12-31": dt.date(9999, 12, 31), "": None, "2024-02-30": BAD, "2023-02-29": BAD, "0000-01-01": BAD,
        "2024-2-9": BAD, "29.02.2024": BAD, "10000-01-01": BAD, "2024-02-29T00:00:00": BAD,
    },
    "timestamp": {
        "2024-02-29T12:00:00Z": NOON, "2024-02-29T12:00:00": NOON, "2024-02-29 12:00:00": NOON,
        "2024-02-29T12:00": NOON,
        "2024-02-29 12:00:00 UTC": NOON, " 2024-02-29 12:00:00 ": NOON, "2024-02-29": NOON.replace(hour=0),
        "2024-02-29T14:00:00+02:00": NOON, "2024-02-29T14:00:00+0200": NOON, "2024-02-29 14:00:00 +02": NOON,
        "2024-02-29T07:30:00-04:30": NOON, "2024-02-29 12:00:00.5": NOON.replace(microsecond=500_000),
        "2024-02-29T12:00:00,25Z": NOON.replace(microsecond=250_000),
        "2024-02-29T12:00:00.123456789Z": NOON.replace(microsecond=123_456), "": None,
        "0001-01-01": dt.datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00+01:00": BAD,
        "9999-12-31T23:59:59.9999999": dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "9999-12-31T23:59:59-10:00": BAD, "2024-02-30": BAD, "2024-02-29T24:00:00": BAD, "2024-02-29T12:60:00": BAD,
        "2024-02-29T12:00:00.1234567890": BAD, "2024-02-29T12:00:00+25:00": BAD, "1709208000": BAD, "today": BAD,
        "2024-02-29T12:00:00 CET": BAD,
    },
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in TABLE.items() for text in texts])
def test_what_people_write(kind: str, text: str) -> None:
    assert one(text, kind) == TABLE[kind][text]


@relaxed
@given(st.text(st.sampled_from("0123456789-+.eE x"), max_size=22))
def test_a_number_is_what_python_reads_or_marked(text: str) -> None:
    found = one(text, "float64")
    try:
        value = float(text) if "_" not in text else None
    except ValueError:
        value = None
    if not text.strip():
        assert found is None
    elif value is None or math.isinf(value):
        assert found == BAD
    elif found == BAD:
        assert abs(value) >= 2**53
        assert Decimal(text.strip()) != Decimal(value)
    else:
        assert found == value
    whole = one(text, "int64")
    if whole not in (None, BAD):
        assert Decimal(text.strip()) == whole


@relaxed
@given(st.one_of(st.integers(-(2**63), 2**63 - 1).map(str), st.floats(allow_nan=False, allow_infinity=False).map(repr)))
def test_what_python_prints_is_read_back_exactly_or_not_taken_for_a_number_unasked(text: str) -> None:
    if "e" not in text and "." in text:
        assert one(text, "float64", exact=True) in (float(text), BAD)
        assert one(text, "float64", exact=True) == float(text) or abs(float(text)) >= 2**53
    elif "e" not in text:
        assert one(text, "int64", exact=True) == int(text)
    assert one(text + "0" if "." in text else "0" + text, "float64", exact=True) in (BAD, float(text))
    for longer in (f"+{text}", f"0{text}", f"{text}e0"):
        assert one(longer, "float64", exact=True) == one(longer, "int64", exact=True) == BAD


@relaxed
@given(
    st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)),
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from(["T", " "]),
    st.booleans(),
)
def test_times_are_those_of_datetime(at: dt.datetime, minutes: int, between: str, zoned: bool) -> None:
    zone = dt.timezone(dt.timedelta(minutes=minutes)) if zoned else UTC
    text = (at.replace(tzinfo=zone) if zoned else at).isoformat(between)
    assert one(text, "timestamp") == at.replace(tzinfo=zone)
    assert one(at.date().isoformat(), "date") == at.date()
