"""Files unlike each other in one input: types meet, are declared, or are refused by name."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.files.bad_files import Refusal, jsonl, published
from support.jobs import Score, write_parquet


def test_a_csv_that_starts_with_empty_lines_has_its_columns(run_job: Score, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"\n\nid,text,n\na,x,1\n")
    assert published(run_job(tmp_path / "in.csv"), scored=1).rows()[0]["n"] == "1"


def test_integer_ids_come_out_as_strings_and_equal_strings(run_job: Score, tmp_path: Path) -> None:
    a = write_parquet(tmp_path / "a.parquet", {"id": pa.array([1, 2**63], pa.uint64()), "text": ["x", "y"]})
    b = write_parquet(tmp_path / "b.parquet", {"id": ["1", "two"], "text": ["x", "y"]})
    outcome = published(run_job([a, b]), scored=3, dead=1)
    assert {row["id"] for row in outcome.rows()} == {"1", str(2**63), "two"}
    assert outcome.codes() == {"1": "duplicate_id"}


def test_json_ids_may_be_integers_here_and_strings_there(run_job: Score, tmp_path: Path) -> None:
    rows = [{"id": i, "text": f"text {i}"} for i in range(1_100)]
    a = jsonl(tmp_path / "a.jsonl", *rows, {"id": "A17", "text": "x"}, {"id": "5", "text": "x"})
    b = jsonl(tmp_path / "b.jsonl", {"id": "only strings", "text": "x"}, {"id": 7, "text": "x"})
    outcome = published(run_job([a, b]), scored=1_102, dead=2)
    assert {"A17", "only strings", "1099"} < {row["id"] for row in outcome.rows()}
    assert outcome.codes() == {"5": "duplicate_id", "7": "duplicate_id"}


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_strings_of_any_arrow_kind_are_read(kind: pa.DataType, run_job: Score, tmp_path: Path) -> None:
    column = {name: pa.array([f"{name} {i % 3}" for i in range(9)]).cast(kind) for name in ("text", "kept")}
    file = write_parquet(tmp_path / "in.parquet", {"id": pa.array([f"r{i}" for i in range(9)]).cast(kind), **column})
    rows = published(run_job(file), scored=9).rows()
    assert {row["id"] for row in rows} == {f"r{i}" for i in range(9)}
    expected = (lambda s: s.encode()) if kind == pa.binary() else str
    assert sorted({row["kept"] for row in rows}) == [expected(f"kept {i}") for i in range(3)]


def test_nested_and_unusual_kept_columns_come_out_unchanged(run_job: Score, tmp_path: Path) -> None:
    import decimal

    table = pa.table(
        {
            "id": ["a", "b", "c"],
            "text": ["x", "y", "z"],
            "spans": pa.array([[{"at": 1}], [], None], pa.list_(pa.struct({"at": pa.int32()}))),
            "props": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "codes": pa.array([{"c": "q"}, {"c": None}, None], pa.struct({"c": pa.string()})),
            "price": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2.25")], pa.decimal128(9, 2)),
            "when": pa.array([dt.datetime(2026, 1, 2), None, None], pa.timestamp("us")),
            "raw": pa.array([b"\xff\0", b"", None], pa.binary()),
            "flag": [True, None, False],
            "nothing": pa.nulls(3),
        }
    )  # fmt: skip
    outcome = published(run_job(write_parquet(tmp_path / "in.parquet", table)), scored=3)
    kept = [name for name in table.schema.names if name not in ("id", "text")]
    out = pa.concat_tables(pq.ParquetFile(outcome.output / part["path"]).read() for part in outcome.manifest["files"])
    assert [{name: row[name] for name in kept} for row in out.sort_by("id").to_pylist()] == table.select(
        kept
    ).to_pylist()
    kinds = {name: str(out.schema.field(name).type) for name in kept}
    # Parquet fixes the names of list items and map values; a column without any value is a string.
    assert kinds | {"props": "", "spans": "", "nothing": "null"} == {
        name: str(table.schema.field(name).type) for name in kept
    } | {"props": "", "spans": ""}
    assert kinds["spans"] == "list<element: struct<at: int32>>"
    assert pa.types.is_map(out.schema.field("props").type)


@pytest.mark.parametrize("name", ["label", "run_id", "truncated", "dt"])
def test_a_kept_column_with_a_name_of_ours_can_be_renamed(
    name: str, refusal: Refusal, run_job: Score, tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["x"], name: ["gold"]})
    assert f"--rename {name}=input_{name}" in refusal(file)
    if name in ("label", "dt"):
        outcome = published(run_job(file, rename={name: f"input_{name}"}), scored=1)
        assert outcome.rows()[0][f"input_{name}"] == "gold"


def test_the_text_is_kept_when_it_is_asked_for_under_another_name(
    refusal: Refusal, run_job: Score, tmp_path: Path
) -> None:
    file = jsonl(tmp_path / "in.jsonl", {"id": "a", "text": "x", "n": 1})
    row = published(run_job(file, keep="id,text", output=tmp_path / "own"), scored=1).rows()[0]
    assert (row["id"], row["text"]) == ("a", "x")
    row = published(run_job(file, keep="id,text", rename={"text": "said"}, output=tmp_path / "kept"), scored=1).rows()[
        0
    ]
    assert (row["id"], row["said"], "n" in row) == ("a", "x", False)
    assert "column 'text' is not among those kept" in refusal(file, rename={"text": "said"})


def test_integers_and_floats_of_different_files_are_widened(run_job: Score, tmp_path: Path) -> None:
    a = write_parquet(tmp_path / "a.parquet", {"id": ["a"], "text": ["x"], "n": [1], "m": pa.array([1], pa.int16())})
    b = write_parquet(tmp_path / "b.parquet", {"id": ["b"], "text": ["x"], "n": [1.5], "m": [2**40]})
    c = write_parquet(tmp_path / "c.parquet", {"id": ["c"], "text": ["x"], "n": pa.nulls(1), "m": pa.nulls(1)})
    rows = published(run_job([a, b, c]), scored=3).rows()
    assert {row["id"]: (row["n"], row["m"]) for row in rows} == {"a": (1.0, 1), "b": (1.5, 2**40), "c": (None, None)}


@pytest.mark.parametrize("values", [["x"], [[1, 2]], [{"s": "t"}]], ids=["string", "list", "struct"])
def test_a_kept_column_one_file_lacks_is_null_there(values: list[Any], run_job: Score, tmp_path: Path) -> None:
    a = write_parquet(tmp_path / "a.parquet", {"id": ["a"], "text": ["x"]})
    b = write_parquet(tmp_path / "b.parquet", {"id": ["b"], "text": ["x"], "k": values})
    rows = published(run_job([a, b]), scored=2).rows()
    assert {row["id"]: row["k"] for row in rows} == {"a": None, "b": values[0]}


def test_a_column_that_is_null_in_one_json_file_has_the_type_of_the_other(run_job: Score, tmp_path: Path) -> None:
    a = jsonl(tmp_path / "a.jsonl", {"id": "a", "text": "x", "n": None, "tags": []})
    b = jsonl(tmp_path / "b.jsonl", {"id": "b", "text": "x", "n": 3, "tags": [1]})
    rows = published(run_job([a, b]), scored=2).rows()
    assert {row["id"]: (row["n"], row["tags"]) for row in rows} == {"a": (None, []), "b": (3, [1])}


def test_columns_that_differ_meet_as_text_or_are_an_error_only_if_they_are_kept_and_undeclared(
    refusal: Refusal, run_job: Score, tmp_path: Path
) -> None:
    a = write_parquet(tmp_path / "a.parquet", {"id": ["a"], "text": ["x"], "k": [1]})
    b = write_parquet(tmp_path / "b.parquet", {"id": ["b"], "text": ["x"], "k": ["two"]})
    c = write_parquet(tmp_path / "c.parquet", {"id": ["c"], "text": ["x"], "k": [[1]]})
    message = refusal(a, c)
    assert f"{c}: column 'k' is list<element: int64>, but int64 in the files before it" in message
    assert "--schema k:string" in message
    published(run_job([a, c], keep="none", output=tmp_path / "none"), scored=2)
    for files, more in (([a, b], {}), ([a, b, c], {"schema": {"k": "string"}})):
        rows = published(run_job(files, output=tmp_path / f"{len(files)}", **more), scored=len(files)).rows()
        assert {row["id"]: row["k"] for row in rows} == dict(
            zip("abc"[: len(files)], ("1", "two", "[1]"), strict=False)
        )
    outcome = published(run_job([a, b], schema={"k": "int64"}, output=tmp_path / "int"), scored=2)
    assert {row["id"]: row["k"] for row in outcome.rows()} == {"a": 1, "b": None}
    assert outcome.manifest["kept_misfits"] == {"k": 1}


def test_csv_values_that_do_not_fit_the_guessed_type_are_null_or_dead_letters(run_job: Score, tmp_path: Path) -> None:
    good = "".join(f"g{i},text {i},{i}\n" for i in range(1_000))
    (tmp_path / "in.csv").write_text(f"id,text,n\n{good}a,x,many\nb,x,\nc,x,7\nd,x,007\n")
    outcome = published(run_job(tmp_path / "in.csv", schema="auto", output=tmp_path / "auto"), scored=1_004)
    kept = {row["id"]: row["n"] for row in outcome.rows() if row["id"] in "abcd"}
    assert kept == {"a": None, "b": None, "c": 7, "d": None}
    assert outcome.manifest["kept_misfits"] == {"n": 2}
    strict = {"schema": {"n": "int64"}, "strict_columns": True}
    outcome = published(run_job(tmp_path / "in.csv", **strict), scored=1_003, dead=1)
    (letter,) = outcome.dead()
    assert (letter["row"], letter["code"]) == (1_000, "wrong_type")
    assert letter["reason"] == "a value of 'n' does not fit int64"
    assert {row["id"]: row["n"] for row in outcome.rows() if row["id"] in "bcd"} == {"b": None, "c": 7, "d": 7}
