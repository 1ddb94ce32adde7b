"""Columns from the plan to the rows: nothing is guessed, nothing changes unsaid, and no kept value costs a row."""

import dataclasses
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.files.reading import csv, jsonl, read

from transforms.errors import PlanError
from transforms.read.columns import ColumnsRequest
from transforms.read.plan_files import plan_inputs
from transforms.runs.resume import parse_staged


def write(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def parquet(path: Path, **columns: Any) -> Path:
    rows = len(next(iter(columns.values())))
    ids = {"id": [f"r{i}" for i in range(rows)], "text": ["play it"] * rows}
    return write(path, pa.table({**ids, **columns}))


CODES = {"zip": "02139", "code": "1e5", "version": "1.10", "hash": "123e4567", "tweet": "1344900117571260918", "n": "7"}


@pytest.mark.parametrize("name", ["in.csv", "in.tsv"])
def test_every_column_of_a_csv_is_the_text_that_stands_there(name: str, tmp_path: Path) -> None:
    between = "\t" if name.endswith("tsv") else ","
    lines = [between.join(["id", "text", *CODES]), between.join(["3e1", "2024", *CODES.values()])]
    lines += [between.join([f"{i}", f"{i}", *("1" for _ in CODES)]) for i in range(1_001)]
    found = read(csv(tmp_path / name, *lines))
    assert found.kept["3e1"] == CODES
    assert len(found.kept) == 1_002
    assert (found.misfits, found.dead) == ({}, [])


def test_shards_of_digits_and_of_words_are_one_input(tmp_path: Path) -> None:
    a = csv(tmp_path / "a.csv", "id,text,k", "1a,play a song,", "2b,book a table,x")
    b = csv(tmp_path / "b.csv", "id,text,k", "3e1,2024,5")
    assert {key: row["k"] for key, row in read(a, b).kept.items()} == {"1a": "", "2b": "x", "3e1": "5"}


def test_auto_takes_numbers_that_print_as_they_are_written_and_no_other_value_becomes_one(tmp_path: Path) -> None:
    rows = [f"r{i},play,{10001 + i},{i}.5,{i}.10" for i in range(1_000)]
    late = ["a,play,02139,1e5,x", "b,play,1344900117571260918,0.1,", "c,play,10000000000000000000,7,1", "d,play,,,"]
    found = read(csv(tmp_path / "in.csv", "id,text,zip,f,code", *rows, *late), guess=True)
    assert found.plan.columns.kept == pa.schema([("zip", pa.int64()), ("f", pa.float64()), ("code", pa.string())])
    assert found.kept["a"] == {"zip": None, "f": None, "code": "x"}
    assert found.kept["b"] == {"zip": 1344900117571260918, "f": 0.1, "code": ""}
    assert found.kept["c"] == {"zip": None, "f": 7.0, "code": "1"}
    assert found.kept["d"] == {"zip": None, "f": None, "code": ""}
    assert (found.misfits, found.dead) == ({"zip": 2, "f": 1}, [])


def test_a_misfit_of_a_row_that_dies_for_another_reason_is_not_counted(tmp_path: Path) -> None:
    file = csv(tmp_path / "in.csv", "id,text,n,m", "a,x,one,two", "b, ,one,1", ",x,one,1", "d,x,4,4")
    found = read(file, schema={"n": "int64", "m": "int64"})
    assert found.kept == {"a": {"n": None, "m": None}, "d": {"n": 4, "m": 4}}
    assert found.misfits == {"n": 1, "m": 1}
    assert found.dead == [(1, "blank_text"), (2, "missing_id")]
    strict = read(file, schema={"n": "int64", "m": "int64"}, strict=True)
    assert (list(strict.kept), strict.misfits) == (["d"], {})
    assert strict.dead == [(0, "wrong_type"), (1, "wrong_type"), (2, "wrong_type")]


def test_a_json_key_whose_type_the_head_does_not_tell_is_carried_as_json(tmp_path: Path) -> None:
    head: Any = [
        {"id": str(i), "text": "play", "meta": {"stars": None}, "tags": [], "n": None, "mix": [1, "x"][i % 2]}
        for i in range(1_000)
    ]
    late = [
        {"id": "x", "text": "play", "meta": {"stars": 5}, "tags": [], "n": 1.5, "mix": True},
        '{"id": "y", "text": "play", "meta": null, "tags": [1, [2]], "n": 12345678901234567890.10, "mix": 1.10}',
        {"id": "z", "text": "play", "meta": "word", "tags": {"é": None}, "n": "five", "mix": None},
    ]
    found = read(jsonl(tmp_path / "in.jsonl", *head, *late))
    assert set(found.plan.columns.kept.types) == {pa.string()}
    assert found.kept["3"] == {"meta": '{"stars": null}', "tags": "[]", "n": None, "mix": "x"}
    assert found.kept["x"] == {"meta": '{"stars": 5}', "tags": "[]", "n": "1.5", "mix": "true"}
    assert found.kept["y"] == {"meta": None, "tags": "[1, [2]]", "n": "12345678901234567890.10", "mix": "1.10"}
    assert found.kept["z"] == {"meta": "word", "tags": '{"é": null}', "n": "five", "mix": None}
    assert (found.misfits, found.dead) == ({}, [])


def test_what_one_json_file_does_not_tell_another_one_may(tmp_path: Path) -> None:
    a = jsonl(tmp_path / "a.jsonl", {"id": "a", "text": "x", "tags": [], "k": 1})
    b = jsonl(tmp_path / "b.jsonl", {"id": "b", "text": "x", "tags": [1], "k": "one"})
    kept = read(a, b).kept
    assert kept == {"a": {"tags": [], "k": "1"}, "b": {"tags": [1], "k": "one"}}


def test_json_values_that_do_not_fit_are_null_and_the_text_is_scored(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "text": "x", "n": 1, "f": 0.5, "d": {"b": True}},
        {"id": "b", "text": "x", "n": 1.5, "f": "half", "d": {"b": 1}},
        '{"id": "c", "text": "x", "n": 9223372036854775808, "f": 9007199254740993, "d": {"b": true, "b": false}}',
        '{"id": "d", "text": "x", "n": NaN, "f": 1e999, "d": [}',
        '{"id": "e", "text": "x", "n": 2.0, "f": 9007199254740992, "d": {"b": null}}',
    ]
    head = [{"id": f"g{i}", "text": "x", "n": 1, "f": 0.5, "d": {"b": True}} for i in range(1_000)]
    found = read(jsonl(tmp_path / "in.jsonl", *head, *rows))
    nothing = {"n": None, "f": None, "d": None}
    assert {key: row for key, row in found.kept.items() if key[0] != "g"} == {
        "a": {"n": 1, "f": 0.5, "d": {"b": True}}, "b": nothing, "c": nothing,
        "e": {"n": 2, "f": 2.0**53, "d": {"b": None}},
    }  # fmt: skip
    assert (found.misfits, found.dead) == ({"n": 2, "f": 2, "d": 2}, [(1_003, "not_json")])


def test_the_users_type_of_a_json_key_takes_text_too(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "x", "n": 5}, {"id": 2.0, "text": 7, "n": "6"}, {"id": "3", "text": "x", "n": "no"}]
    schema = {"n": "int64", "id": "string", "text": "string"}
    found = read(jsonl(tmp_path / "in.jsonl", *rows), schema=schema)
    assert {key: row["n"] for key, row in found.kept.items()} == {"1": 5, "2.0": 6, "3": None}
    assert found.misfits == {"n": 1}
    assert set(read(tmp_path / "in.jsonl").kept) == {"1", "3"}, "without it a number is no text"


def test_parquet_columns_of_several_types_meet_as_text_and_times_want_a_word(tmp_path: Path) -> None:
    a = parquet(tmp_path / "a.parquet", k=[1], t=[dt.datetime(2024, 2, 29)])
    b = parquet(tmp_path / "b.parquet", k=["x"], t=pa.array([dt.datetime(2024, 2, 29)], pa.timestamp("us", "UTC")))
    with pytest.raises(PlanError, match=r"b\.parquet: column 't' is timestamp.*--schema t:timestamp"):
        read(a, b)
    found = read(a, b, schema={"t": "timestamp"})
    assert found.plan.texts == ("k",)
    assert found.kept["r0"] == {"k": "x", "t": dt.datetime(2024, 2, 29, tzinfo=dt.UTC)}
    with pytest.raises(PlanError, match=r"'k' is int64, of which --schema cannot make timestamp.*--schema k:string"):
        read(a, schema={"k": "timestamp"})


def test_values_that_the_wider_type_does_not_hold_are_null_and_counted(tmp_path: Path) -> None:
    far = pa.array([dt.datetime(9999, 1, 1), dt.datetime(2024, 1, 1)])
    a = parquet(tmp_path / "a.parquet", n=[2**53 + 1, 2**60], t=far, d=[Decimal("1" * 20), Decimal(1)])
    b = parquet(tmp_path / "b.parquet", n=[0.5, 1.5], t=far.take([1, 1]).cast(pa.timestamp("ns")), d=[0.5, 1.5])
    kept = read(a).kept
    assert [kept["r0"][name] for name in "ntd"] == [2**53 + 1, dt.datetime(9999, 1, 1), Decimal("1" * 20)]
    found = read(a, b, id="id")
    assert found.misfits == {"n": 1, "t": 1, "d": 1}


def test_times_outside_the_calendar_are_null_only_where_a_table_is_written(tmp_path: Path) -> None:
    far = pa.array([253_402_300_800_000_000, 0], pa.int64()).view(pa.timestamp("us"))
    file = write(tmp_path / "a.parquet", pa.table({"id": ["a", "b"], "text": ["x", "y"], "t": far}))
    assert read(file, bounded=True).misfits == {"t": 1}
    plan = plan_inputs([str(file)], ColumnsRequest())
    assert plan.columns.kept.field("t").type == pa.timestamp("us")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({}, "column 'text' is int64, not text; .*--schema text:string"),
        ({"text": "int64"}, "--schema text:…: a text is a string"),
        ({"text": "string"}, r"id column 'id' is date32\[day\]; .*--schema id:string"),
    ],
)
def test_the_users_type_works_on_id_and_text(schema: dict[str, str], message: str, tmp_path: Path) -> None:
    rows = {"id": pa.array([dt.date(2024, 2, 29)]), "text": [2024]}
    file = write(tmp_path / "in.parquet", pa.table(rows))
    with pytest.raises(PlanError, match=message):
        read(file, schema=schema)
    assert list(read(file, schema={"text": "string", "id": "string"}).kept) == ["2024-02-29"]


def test_a_staged_file_of_an_earlier_version_has_no_misfits() -> None:
    content = {"path": "p", "rows": 1, "bytes": 2, "checksum": "crc32c:0", "counts": [[0, 1, 2]], "codes": {}}
    assert parse_staged(content).misfits == {}
    now = dataclasses.replace(parse_staged(content), misfits={"n": 3})
    assert parse_staged(json.loads(json.dumps(dataclasses.asdict(now)))) == now
