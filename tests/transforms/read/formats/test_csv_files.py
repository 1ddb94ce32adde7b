"""CSV, against Python's csv module."""

import csv
import io
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.files.csv_reading import read

from transforms.batches.dialect import Dialect
from transforms.errors import NotWhatItClaimsError
from transforms.read.formats.delimited import inspect

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FIELDS = st.text(st.sampled_from('ab,\t"\n\r é'), max_size=6)
RECORDS = st.lists(st.lists(FIELDS, min_size=1, max_size=5), max_size=25)
HEADER = ["id", "text", "n"]
CSV = Dialect().of("csv")


def written(records: list[list[str]], quoting: Any, end: str, delimiter: str = ",") -> str:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=quoting, lineterminator=end, delimiter=delimiter).writerows([HEADER, *records])
    return out.getvalue()


def as_read(text: str, delimiter: str = ",") -> dict[int, Any]:
    """What the csv module reads, and the rules for the number of fields."""
    records = [r for r in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if r][1:]
    few, many = "too_few_fields", "too_many_fields"
    return {
        i: tuple(field.encode() for field in r) if len(r) == 3 else few if len(r) < 3 else many
        for i, r in enumerate(records)
    }


QUOTING = st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])


@relaxed
@given(RECORDS, QUOTING, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["csv", "tsv"]), st.booleans())
def test_records_are_those_of_the_csv_module(
    records: list[list[str]], quoting: Any, end: str, kind: str, last: bool
) -> None:
    delimiter = {"csv": ",", "tsv": "\t"}[kind]
    text = written(records, quoting, end, delimiter)
    text = text if last else text.removesuffix(end)
    assert read(text.encode(), kind=kind, quote='"') == as_read(text, delimiter)


@relaxed
@given(RECORDS, st.sampled_from(["\n", "\r\n", "\r"]), st.integers(1, 60))
def test_records_are_the_same_in_small_blocks(
    monkeypatch: pytest.MonkeyPatch, records: list[list[str]], end: str, size: int
) -> None:
    text = written(records, csv.QUOTE_MINIMAL, end)
    monkeypatch.setattr("transforms.read.formats.delimited.CHUNK_BYTES", size)
    assert read(text.encode()) == as_read(text)


@pytest.mark.parametrize("size", range(30, 40))
def test_a_quoted_line_break_on_the_border_of_two_blocks_stays_whole(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("transforms.read.formats.delimited.CHUNK_BYTES", size)
    assert read(b'id,text,n\r\na,first record,1\r\nb,"c\r\nd\r\ne",2\r\n')[1] == (b"b", b"c\r\nd\r\ne", b"2")


@relaxed
@given(st.lists(st.lists(FIELDS, min_size=3, max_size=3), max_size=8), st.integers(0, 2), st.integers(0, 8))
def test_an_open_quote_loses_its_line_and_nothing_before_or_after(
    records: list[list[str]], field: int, after: int
) -> None:
    before = written(records, csv.QUOTE_ALL, "\n")
    broken = ["x", "x", "x"]
    broken[field] = '"open'
    text = before + ",".join(broken) + "\n" + "".join(f"{i},line,3\n" for i in range(after))
    expected = as_read(before)
    expected[len(expected)] = "unclosed_quote"
    expected |= {len(expected) + i: (b"%d" % i, b"line", b"3") for i in range(after)}
    assert read(text.encode()) == expected
    found = read(text.encode(), ("id",))
    assert found == {at: value if isinstance(value, str) else value[:1] for at, value in expected.items()}


def test_a_bad_record_before_an_open_quote_is_still_counted() -> None:
    assert read(b'id,text,n\na\nb,x,1\nc,y,"open') == {
        0: "too_few_fields",
        1: (b"b", b"x", b"1"),
        2: "unclosed_quote",
    }


@relaxed
@given(st.text(st.sampled_from('ab,"\n\r'), max_size=60))
def test_no_text_is_read_into_rows_that_do_not_add_up(body: str) -> None:
    read(("id,text,n\n" + body).encode())


@relaxed
@given(RECORDS)
def test_the_columns_are_those_of_the_header(records: list[list[str]]) -> None:
    head = written(records, csv.QUOTE_MINIMAL, "\n").encode()
    assert list(inspect(head, "f", CSV)) == HEADER
    assert list(inspect(b"\xef\xbb\xbf\n\n" + head, "f", CSV)) == HEADER


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", ""], pa.int64()),
        (["1", "2.5"], pa.float64()),
        (["1e3", "0"], pa.string()),
        (["1.10", "2.5"], pa.string()),
        (["0.1", "12.0", "-3"], pa.float64()),
        (["0.30000000000000004"], pa.float64()),
        (["0.300000000000000001"], pa.string()),
        (["-0"], pa.string()),
        (["02139", "10001"], pa.string()),
        (["1344900117571260918", "1"], pa.string()),
        (["1344900117571260918", "0.5"], pa.string()),
        (["9007199254740993.0"], pa.string()),
        (["007", "1"], pa.string()),
        (["1" * 19], pa.string()),
        (["", ""], pa.null()),
        (["nan"], pa.string()),
        (["2026-01-01"], pa.string()),
    ],
)
def test_a_guessed_column_is_a_number_only_if_every_value_prints_as_it_is_written(
    values: list[str], kind: pa.DataType
) -> None:
    head = ("id,n\n" + "".join(f"a,{value}\n" for value in values)).encode()
    assert inspect(head, "f", CSV, guess=True)["n"] == kind
    assert inspect(head, "f", CSV) == {"id": pa.string(), "n": pa.string()}, "nothing is guessed unasked"


def test_a_text_longer_than_the_csv_modules_limit_is_text() -> None:
    assert list(inspect(b"id,text\na," + b"x" * 200_000 + b"\n", "f", CSV)) == ["id", "text"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record has 64 bytes at most, a line 1,000."""
    monkeypatch.setattr("transforms.read.formats.delimited.CHUNK_BYTES", 16)
    for module in ("read.formats.delimited_records", "read.formats.delimited"):
        monkeypatch.setattr(f"transforms.{module}.MAX_RECORD_BYTES", 64)
    monkeypatch.setattr("transforms.read.formats.delimited.MAX_LINE_BYTES", 1_000)


@pytest.mark.parametrize("length", [65, 100, 150, 200, 300, 800])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_record_that_is_too_long_is_lost_alone(length: int, end: str, short: None) -> None:
    long = "x" * length
    lines = ["id,text,n", "a,x,1", f"b,{long},2", "c,z,3", "", f'd,"{long}",4', f"{long}", "e,w,5", f"{long},,"]
    expected = {0: (b"a", b"x", b"1"), 2: (b"c", b"z", b"3"), 5: (b"e", b"w", b"5")}
    for last in (end, ""):
        assert read((end.join(lines) + last).encode()) == expected | dict.fromkeys((1, 3, 4, 6), "text_too_long")


def test_a_quoted_field_that_is_too_long_is_lost_with_its_first_line(short: None) -> None:
    lines = ["id,text,n", "a,x,1", 'b,"first', *["m,iddl,e"] * 40, 'last",2', "c,z,3"]
    found = read("\n".join(lines).encode())
    assert {at: value for at, value in found.items() if isinstance(value, str)} == {
        1: "text_too_long", 42: "too_few_fields"
    }  # fmt: skip
    assert found[43] == (b"c", b"z", b"3")


def test_a_line_without_end_and_a_header_without_end_fail_by_name(short: None) -> None:
    with pytest.raises(NotWhatItClaimsError, match="f: has a line of more than 1,000 bytes"):
        read(b"id,text,n\na,x,1\nb," + b"x" * 2_000 + b",2\n")
    with pytest.raises(NotWhatItClaimsError, match="f: the header has more than 64 bytes"):
        read(b"id," * 200)


@relaxed
@given(st.lists(st.sampled_from(["a", '"b"', '5" pipe', "", '"x""y"']), min_size=3, max_size=30))
def test_odd_quotes_inside_fields_open_nothing(fields: list[str]) -> None:
    records = [fields[i : i + 3] for i in range(0, len(fields) - 2, 3)]
    assume(all(any(record) for record in records))
    text = "id,text,n\n" + "".join(",".join(record) + "\n" for record in records)
    assert read(text.encode()) == as_read(text)
