"""Names of kept columns: only those that a job writes are taken. An id beside itself. What is missing is told."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.bundles import Built
from support.jobs import Score, write_parquet

from transforms.batches.score_columns import written_names
from transforms.errors import PlanError

INNER = (
    "text", "text_pair", "source", "split", "row", "kept_misfits", "duplicate", "duplicate_of", "earlier", "tokens",
    "text_sha128", "first_segment", "outputs", "failed", "target", "kept:source", "kept:kept:source", "value",
)  # fmt: skip
"""Names of columns that steps add on the way, and such that begin like them."""


@pytest.mark.parametrize("only_new", [False, True])
def test_columns_that_are_called_like_inner_ones_are_kept_as_they_are(
    only_new: bool, run_job: Score, tmp_path: Path
) -> None:
    ids = ["a", "b", "b", "c"]
    columns = {name: [f"{name} {i}" for i in range(4)] for name in INNER}
    columns["row"], columns["source"] = list(range(40, 44)), ["x\xff", None, "y", "z"]
    rows = {"key": ids, "body": ["play", "book", "book", " "], **columns}
    file = write_parquet(tmp_path / "in.parquet", rows)
    named = {"id_column": "key", "text_column": "body"}
    if only_new:
        run_job(file, **named, keep_text_digests=True)
    outcome = run_job(file, **named, only_new=only_new)
    counts = {"read": 4, "scored": 0 if only_new else 2, "skipped": 2 if only_new else 0, "dead": 2}
    assert outcome.manifest["counts"] == counts
    found = {row["id"]: {name: row[name] for name in INNER} for row in outcome.rows()}
    assert found == {id: {name: columns[name][i] for name in INNER} for i, id in enumerate("ab")}
    assert {(row["row"], row["code"], row["source"]) for row in outcome.dead()} == {
        (2, "duplicate_id", str(file)),
        (3, "blank_text", str(file)),
    }


@pytest.mark.parametrize("keep", ["all", "id,n"])
def test_an_id_that_is_called_so_is_kept_beside_itself_under_another_name(
    keep: str, run_job: Score, tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": [7, 8], "text": ["x", "y"], "n": [1, 2]})
    outcome = run_job(file, keep=keep, rename={"id": "number"})
    assert {(row["id"], row["number"], row["n"]) for row in outcome.rows()} == {("7", 7, 1), ("8", 8, 2)}


def test_a_regression_writes_no_label_and_a_classification_no_value(
    run_job: Score, classes: Built, regression: Built, tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["x"], "label": ["gold"], "probability": [0.5]})
    bundle = str(regression.path)
    (row,) = run_job(file, bundle=bundle).rows()
    assert (row["label"], row["probability"]) == ("gold", 0.5)
    with pytest.raises(PlanError, match=r"column 'label' has the name of an output .*--rename label=input_label"):
        run_job(file)
    other = write_parquet(tmp_path / "other.parquet", {"id": ["a"], "text": ["x"], "value": [1.5]})
    (row,) = run_job(other, output=tmp_path / "classes").rows()
    assert row["value"] == 1.5
    with pytest.raises(PlanError, match="column 'value' has the name"):
        run_job(other, bundle=bundle)


def test_every_column_of_the_output_is_taken_and_no_other(run_job: Score, tmp_path: Path) -> None:
    outcome = run_job(write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["x"]}))
    schema = pq.ParquetFile(outcome.output / outcome.manifest["files"][0]["path"]).schema_arrow
    # Readers of the folder have one more.
    assert written_names("classification") == {*schema.names, "dt"}


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_an_id_that_is_no_string_is_kept_under_its_own_name_if_keep_names_it(
    kind: str, run_job: Score, tmp_path: Path
) -> None:
    rows = [{"order": 7, "text": "play", "n": 1}, {"order": 2**53 + 1, "text": "book", "n": 2}]
    file, more = tmp_path / f"in.{kind}", {}
    if kind == "parquet":
        write_parquet(file, pa.Table.from_pylist(rows))
    elif kind == "jsonl":
        file.write_text("\n".join(map(json.dumps, rows)))
    else:
        file.write_text("order,text,n\n" + "".join(f"{r['order']},{r['text']},{r['n']}\n" for r in rows))
        more = {"schema": {"order": "int64"}}
    named = {"id_column": "order", **more}
    outcome = run_job(file, **named, keep="order")
    part = pq.ParquetFile(outcome.output / outcome.manifest["files"][0]["path"]).read()
    assert part.schema.field("order").type == pa.int64()
    assert {(row["id"], row["order"]) for row in outcome.rows()} == {(str(r["order"]), r["order"]) for r in rows}
    assert "order" not in run_job(file, **named).rows()[0], "only where it is asked for"


def test_an_id_that_is_a_string_or_has_no_name_left_is_kept_once(run_job: Score, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", {"key": ["a"], "text": ["x"], "n": [1]})
    (row,) = run_job(file, id_column="key", keep="key,n").rows()
    assert ("key" in row, row["n"]) == (False, 1)
    file = write_parquet(tmp_path / "b.parquet", {"id": [5], "text": ["x"], "n": [1]})
    (row,) = run_job(file, keep="id,n").rows()
    assert (row["id"], row["n"]) == ("5", 1)
    (row,) = run_job(file, keep="id,n", rename={"id": "number"}).rows()
    assert (row["id"], row["number"]) == ("5", 5)
    (row,) = run_job(file, keep="id,n", rename={"id": "number"}, schema={"id": "int64"}).rows()
    assert (row["id"], row["number"]) == ("5", 5)
    with pytest.raises(PlanError, match="--rename id=number: column 'id' is not among those kept"):
        run_job(file, keep="id,n", rename={"id": "number"}, schema={"id": "string"})


def test_decimals_are_kept_in_their_own_type(run_job: Score, tmp_path: Path) -> None:
    keys = pa.array([Decimal("12"), Decimal("13")], pa.decimal128(20, 0))
    file = write_parquet(tmp_path / "a.parquet", pa.table({"key": keys, "text": ["x", "y"]}))
    rows = run_job(file, id_column="key", keep="key").rows()
    assert {row["id"]: row["key"] for row in rows} == {"12": Decimal("12"), "13": Decimal("13")}


@pytest.mark.parametrize(
    ("keys", "ids"),
    [
        (pa.array([12.0, 2.0**53 - 1, None]), {"12", "9007199254740991"}),
        (
            pa.ExtensionArray.from_storage(
                pa.uuid(), pa.array([bytes(15) + b"\1", bytes(range(16)), None], pa.binary(16))
            ),
            {"00000000-0000-0000-0000-000000000001", "00010203-0405-0607-0809-0a0b0c0d0e0f"},
        ),
        (pa.array([Decimal("12"), Decimal("-3"), None], pa.decimal128(20, 0)), {"12", "-3"}),
    ],
    ids=["double", "uuid", "decimal"],
)
def test_ids_of_other_types_are_planned_and_scored(
    keys: pa.Array, ids: set[str], run_job: Score, tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "a.parquet", pa.table({"id": keys, "text": ["x", "y", "z"]}))
    outcome = run_job(file)
    assert {row["id"] for row in outcome.rows()} == ids
    assert outcome.codes() == {None: "missing_id"}


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.tsv", "in.jsonl", "in.json"])
def test_all_columns_that_are_missing_are_told_at_once(name: str, run_job: Score, tmp_path: Path) -> None:
    file = tmp_path / name
    rows: list[dict[str, Any]] = [{"id": "a", "text": "x", "n": "1"}]
    if name == "in.parquet":
        write_parquet(file, pa.Table.from_pylist(rows))
    elif "json" in name:
        lines = [json.dumps(row) for row in rows]
        file.write_text("[\n" + ",\n".join(lines) + "\n]" if name == "in.json" else "\n".join(lines))
    else:
        file.write_text(
            "\n".join(("\t" if name == "in.tsv" else ",").join(line) for line in (rows[0], rows[0].values()))
        )
    wrong = {"text_column": "body", "id_column": "key", "keep": "m,n,o", "schema": {"p": "int64"}, "rename": {"m": "z"}}
    told = (
        rf"{name}: has no columns 'body' \(--text-column\), 'key' \(--id-column\), 'm' \(--keep\), 'o' \(--keep\), "
        r"'p' \(--schema\); it has 'id', 'text', 'n': choose with these flags, or make ids .* --id-from position"
    )
    with pytest.raises(PlanError, match=told):
        run_job(file, **wrong)
    with pytest.raises(
        PlanError,
        match=r"^no columns 'm' \(--keep\), 'o' \(--keep\) in the input; it has 'id', .*: choose with these flags$",
    ):
        run_job(file, keep="m,n,o")
    with pytest.raises(PlanError, match=rf"{name}: has no columns 'body' \(--text-column\), 'm' \(--keep\); it has"):
        run_job(file, text_column="body", keep="m")


def test_a_csv_whose_first_line_is_one_of_values_is_not_quoted(run_job: Score, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("4711,a secret,1\n4712,another,2\n")
    with pytest.raises(PlanError) as error:
        run_job(tmp_path / "in.csv", keep="n")
    said = str(error.value)
    assert "its first line has 3 fields, none of them named 'id' or 'n' or 'text'" in said
    assert "secret" not in said


def test_a_kept_column_that_one_file_has_is_not_missing(run_job: Score, tmp_path: Path) -> None:
    a = write_parquet(tmp_path / "a.parquet", {"id": ["a"], "body": ["x"]})
    b = write_parquet(tmp_path / "b.parquet", {"id": ["a"], "text": ["x"], "n": [1]})
    with pytest.raises(PlanError, match=r"a\.parquet: has no column 'text'; it has 'id', 'body': choose with --text-"):
        run_job([a, b], keep="n")


def test_two_columns_of_one_name_are_refused(run_job: Score, tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "x", "doc": {"lang": "de"}, "doc_lang": "fr"}]
    file = write_parquet(tmp_path / "in.parquet", pa.Table.from_pylist(rows))
    with pytest.raises(PlanError, match="two columns the same name: 'doc_lang'; choose with --rename"):
        run_job(file, keep="doc.lang,doc_lang")
    (row,) = run_job(file, keep="doc.lang,doc_lang", rename={"doc.lang": "lang"}).rows()
    assert (row["lang"], row["doc_lang"]) == ("de", "fr")
