"""No value becomes another one: types that can wrap, overflow or round, against Python's own numbers and times."""

import datetime as dt
import io
import math
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.batches.texts import as_text
from transforms.read.formats.parquet import inspect, read_blocks
from transforms.read.values.convert import convert, convertible, outside_calendar
from transforms.read.values.ids import id_strings
from transforms.runs.plan import Piece

relaxed = settings(deadline=None)
FLOATS = st.one_of(st.floats(), st.integers(-(2**70), 2**70).map(float), st.floats(width=16))
INTEGERS = [pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]
NUMBERS = [*INTEGERS, pa.float16(), pa.float32(), pa.float64(), pa.decimal128(38, 9), pa.decimal128(9, 2)]
NANOS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_integer(kind):
        low = 0 if "uint" in str(kind) else -(2 ** (kind.bit_width - 1))
        return st.integers(low, low + 2**kind.bit_width - 1)
    if pa.types.is_decimal(kind):
        return st.decimals(-(10 ** (kind.precision - kind.scale)) + 1, 10 ** (kind.precision - kind.scale) - 1,
                           places=kind.scale)  # fmt: skip
    return st.floats(width=kind.bit_width)


@relaxed
@given(st.data(), st.sampled_from(NUMBERS), st.sampled_from(NUMBERS))
def test_a_number_in_another_type_is_the_same_number_or_null_and_marked(
    data: st.DataObject, found: pa.DataType, wanted: pa.DataType
) -> None:
    given_ = data.draw(st.lists(st.one_of(st.none(), values_of(found)), min_size=1, max_size=5))
    column = pa.array([np.float16(v) if v is not None and found == pa.float16() else v for v in given_], found)
    before = column.to_pylist()
    after, bad = convert(column, wanted)
    assert after.type == wanted
    for old, new, marked in zip(before, after.to_pylist(), bad.tolist(), strict=True):
        if marked or old is None:
            assert new is None
        elif isinstance(old, float) and not math.isfinite(old):
            assert str(old) == str(float(new))
        elif isinstance(old, Decimal) and isinstance(new, float) and abs(new) < 2**53:
            assert math.isclose(new, old, rel_tol=2**-8 if wanted == pa.float16() else 1e-6)
        elif isinstance(old, float) and isinstance(new, Decimal):
            # 0.1 as a decimal is 0.1, which no float is: the decimal must give the very float again.
            width = {pa.float16(): np.float16, pa.float32(): np.float32}.get(found, np.float64)
            assert width(float(new)) == width(old)
        else:
            assert Fraction(old) == Fraction(new)


def test_what_fits_is_not_marked() -> None:
    for found, wanted, value in [
        (pa.int64(), pa.float64(), 2**60),
        (pa.float64(), pa.int64(), -(2.0**62)),
        (pa.decimal128(38, 9), pa.int64(), Decimal("7.000000000")),
        (pa.uint64(), pa.int64(), 2**63 - 1),
        (pa.decimal128(38, 0), pa.float64(), Decimal(10) ** 22),
        (pa.decimal128(9, 2), pa.float64(), Decimal("0.10")),
        (pa.bool_(), pa.int64(), True),
    ]:
        after, bad = convert(pa.array([value], found), wanted)
        assert (after[0].as_py() == (0.1 if value == Decimal("0.10") else value), bad[0]) == (True, False)


@relaxed
@example(ticks=[-(2**63) + 807, -(2**63) + 1], found="ns", wanted="us", kind=pa.timestamp)
@given(
    st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=4),
    st.sampled_from(list(NANOS)),
    st.sampled_from(list(NANOS)),
    st.sampled_from([pa.timestamp, pa.duration]),
)
def test_times_of_another_unit_are_the_same_time_or_null_and_marked(
    ticks: list[int], found: str, wanted: str, kind: Any
) -> None:
    column = pa.array(ticks, pa.int64()).view(kind(found))
    after, bad = convert(column, kind(wanted))
    for old, new, marked in zip(ticks, after.view(pa.int64()).to_pylist(), bad.tolist(), strict=True):
        exact, rest = divmod(old * NANOS[found], NANOS[wanted])
        cut = kind is pa.timestamp and found == "ns" and wanted == "us"
        fits = -(2**63) <= exact < 2**63 and (not rest or cut)
        assert (new, marked) == ((exact, False) if fits else (None, True))


def test_a_time_without_a_zone_is_utc_and_a_day_is_its_midnight() -> None:
    utc = pa.timestamp("us", "UTC")
    for column in (pa.array([dt.datetime(2024, 2, 29, 12)]), pa.array([dt.date(2024, 2, 29)], pa.date32())):
        after, bad = convert(column, utc)
        assert after[0].as_py() == dt.datetime(2024, 2, 29, 12 if len(str(column.type)) > 12 else 0, tzinfo=dt.UTC)
        assert not bad[0]
    after, bad = convert(pa.array([dt.datetime(2024, 2, 29, 12), dt.datetime(2024, 2, 29)]), pa.date32())
    assert (after.to_pylist(), bad.tolist()) == ([None, dt.date(2024, 2, 29)], [True, False])


@pytest.mark.parametrize(
    ("found", "wanted", "can"),
    [
        (pa.int64(), pa.timestamp("us", "UTC"), False),
        (pa.timestamp("us"), pa.int64(), False),
        (pa.list_(pa.int64()), pa.int64(), False),
        (pa.list_(pa.int64()), pa.string(), True),
        (pa.string(), pa.timestamp("us", "UTC"), True),
        (pa.decimal128(9, 2), pa.float64(), True),
        (pa.int64(), pa.bool_(), True),
        (pa.float64(), pa.bool_(), False),
    ],
)
def test_what_a_type_can_be_read_as(found: pa.DataType, wanted: pa.DataType, can: bool) -> None:
    assert convertible(found, wanted) == can


def test_anything_is_text_where_text_is_asked_for() -> None:
    raw = uuid.UUID(int=7)
    columns = {
        "1.50": pa.array([Decimal("1.50")]),
        "7": pa.array([7]).dictionary_encode(),
        str(raw): pa.ExtensionArray.from_storage(pa.uuid(), pa.array([raw.bytes], pa.binary(16))),
        '[1, {"a": "é"}]': pa.array(['[1, {"a": "é"}]']),
        '{"a": [1, null]}': pa.array([{"a": [1, None]}]),
        "true": pa.array([True]),
        "2024-02-29": pa.array([dt.date(2024, 2, 29)]),
    }
    for text, column in columns.items():
        after, bad = convert(column, pa.string())
        assert (after.to_pylist(), bad.tolist()) == ([text], [False])


def test_times_outside_bigquerys_calendar_are_found_at_any_depth() -> None:
    first, last = -62_135_596_800_000_000, 253_402_300_799_999_999
    times = pa.array([first - 1, first, last, last + 1, None], pa.int64()).view(pa.timestamp("us"))
    expected = [True, False, False, True, False]
    assert outside_calendar(times).tolist() == expected
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 3, 3, 5], pa.int32()), times)
    assert outside_calendar(lists).tolist() == [True, False, False, True]
    assert outside_calendar(pa.StructArray.from_arrays([times], ["t"])).tolist() == expected
    days = pa.array([-719_163, -719_162, 2_932_896, 2_932_897], pa.int32()).view(pa.date32())
    assert outside_calendar(days).tolist() == [True, False, False, True]


IDS: list[tuple[pa.Array, list[str | None]]] = [
    (pa.array([Decimal(1), Decimal(10) ** 37, None], pa.decimal128(38, 0)), ["1", "1" + "0" * 37, None]),
    (pa.array([Decimal("1"), Decimal("-2"), Decimal("2.5")], pa.decimal128(38, 9)), ["1", "-2", "bad"]),
    (pa.array([1.0, -0.0, 2.0**53 - 1, 2.0**53, 1.5, math.nan, math.inf, None]),
     ["1", "0", "9007199254740991", *["bad"] * 4, None]),
    (pa.array([7, 2**24 - 1, 2**24], pa.float32()), ["7", "16777215", "bad"]),
    (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
    (pa.array(["007", None]).cast(pa.large_string()), ["007", None]),
    (pa.array([7, 7, None]).dictionary_encode(), ["7", "7", None]),
    (pa.array(["a", "b"]).cast(pa.string_view()), ["a", "b"]),
    (pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=5).bytes, None], pa.binary(16))),
     ["00000000-0000-0000-0000-000000000005", None]),
]  # fmt: skip


@pytest.mark.parametrize(("column", "expected"), IDS, ids=[str(column.type) for column, _ in IDS])
def test_an_id_is_one_string_or_none(column: pa.Array, expected: list[str | None]) -> None:
    strings, bad = id_strings(column)
    assert strings.to_pylist() == [None if text == "bad" else text for text in expected]
    assert bad.tolist() == [text == "bad" for text in expected]


def test_the_users_type_of_an_id_has_its_effect() -> None:
    strings, bad = id_strings(pa.array([1.5, 2.0, 2.0**60, math.nan]), pa.string())
    assert (strings.to_pylist(), bad.tolist()) == (["1.5", "2", None, None], [False, False, True, True])
    strings, bad = id_strings(pa.array([b"007", b"x", b" "]), pa.int64())
    assert (strings.to_pylist(), bad.tolist()) == (["7", None, None], [False, True, False])
    assert id_strings(pa.array([dt.date(2024, 2, 29)]), pa.string())[0].to_pylist() == ["2024-02-29"]


def read(content: bytes, *columns: str) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
    schema, groups = inspect(io.BytesIO(content), "f")
    piece = Piece(number=0, file="f", size=len(content), version="", format="parquet", end=len(groups))
    blocks = list(read_blocks(io.BytesIO(content), piece, columns))
    assert all(block.rows.schema.field(name).type == schema.field(name).type for block in blocks for name in columns)
    unfit: dict[str, list[int]] = {}
    for block in blocks:
        for name, places, code, _ in block.unfit:
            assert code == "wrong_type"
            unfit.setdefault(name, []).extend(places.tolist())
    return [row for block in blocks for row in block.rows.to_pylist()], unfit


def test_int96_times_of_all_years_are_read_as_they_are() -> None:
    times = [dt.datetime(1, 1, 1), dt.datetime(1582, 10, 4, 1, 2, 3, 4), dt.datetime(2262, 4, 12), None,
             dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)]  # fmt: skip
    kinds = {
        "t": pa.array(times, pa.timestamp("us")),
        "l": pa.array([[t] for t in times], pa.list_(pa.timestamp("us"))),
    }
    out = io.BytesIO()
    pq.write_table(pa.table({"id": [str(t) for t in times], **kinds}), out, use_deprecated_int96_timestamps=True)
    rows, unfit = read(out.getvalue(), "id", "t", "l")
    assert [(row["t"], row["l"]) for row in rows] == [(t, [t]) for t in times]
    assert not unfit


def test_an_int96_that_no_64_bits_hold_is_null_and_marked() -> None:
    out = io.BytesIO()
    days = {"t": pa.array([dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2)], pa.timestamp("us"))}
    options: dict[str, Any] = {"use_deprecated_int96_timestamps": True, "use_dictionary": False, "compression": "none"}
    pq.write_table(pa.table(days), out, write_statistics=False, **options)
    julian = (2_460_311 + 1).to_bytes(4, "little")  # 2 January 2024
    content = out.getvalue()
    assert content.count(julian) == 1
    rows, unfit = read(content.replace(julian, b"\xff\xff\xff\xf0"), "t")
    assert rows == [{"t": dt.datetime(2024, 1, 1)}, {"t": None}]
    assert unfit == {"t": [1]}


def test_an_interval_is_text_as_python_writes_it() -> None:
    # Arrow has no cast from an interval to a string.
    texts = as_text(pa.array([(1, 2, 3), None], pa.month_day_nano_interval()))
    assert texts.to_pylist() == [str(pa.MonthDayNano([1, 2, 3])), None]
    assert texts.type == pa.string()


BEYOND = 50_000_000
"""Days: the year 138864."""


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, BEYOND, None], pa.date32()),
        pa.array([1, 8 * 10**18, None], pa.timestamp("us")),
        pa.array([{"t": 1}, {"t": 4 * 10**17}, None], pa.struct([("t", pa.timestamp("us"))])),
        pa.array([[1], [2, BEYOND], None], pa.list_(pa.date32())),
    ],
)
def test_a_time_beyond_the_calendar_is_null_and_counted_as_text_too(column: pa.Array) -> None:
    found, unfit = convert(column, pa.string())
    assert unfit.tolist() == [False, True, False]
    first, second, third = found.to_pylist()
    assert "1970-01-" in first
    assert (second, third) == (None, None)
