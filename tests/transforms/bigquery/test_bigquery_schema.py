"""Columns of Parquet files as BigQuery's fields, and tables that are not what a job writes."""

import ast
import copy
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from support.commands import ROOT

from transforms.batches.score_columns import embedding_type, scores_schema
from transforms.bigquery.fields import SCORES, add_column, added, differences, table_fields, to_add
from transforms.bigquery.names import table_name
from transforms.errors import PlanError
from transforms.publish.table_sink import table_sink

TABLE = "my-project.data.scores"


def kept_field(kind: pa.DataType) -> dict[str, Any]:
    (field,) = table_fields(pa.schema([("x", kind)]), {})
    assert field.pop("description") == "Kept from the input"
    return field


# === Fields ===


def test_our_columns_are_required_and_described() -> None:
    fields = table_fields(scores_schema(pa.schema([("note", pa.string())]), "classification"), SCORES)
    assert all(field["description"] for field in fields)
    assert [(f["name"], f["type"], f["mode"]) for f in fields] == [
        ("id", "STRING", "REQUIRED"),
        ("note", "STRING", "NULLABLE"),
        ("label", "STRING", "REQUIRED"),
        ("probability", "FLOAT", "REQUIRED"),
        ("probabilities", "RECORD", "REPEATED"),
        ("token_count", "INTEGER", "REQUIRED"),
        ("truncated", "BOOLEAN", "REQUIRED"),
        ("text_hash", "INTEGER", "REQUIRED"),
        ("logical_date", "DATE", "REQUIRED"),
        ("bundle", "STRING", "REQUIRED"),
        ("run_id", "STRING", "REQUIRED"),
        ("scored_at", "TIMESTAMP", "REQUIRED"),
    ]
    pairs = [(f["name"], f["type"], f["mode"]) for f in fields[4]["fields"]]
    assert pairs == [("label", "STRING", "REQUIRED"), ("probability", "FLOAT", "REQUIRED")]
    value = table_fields(scores_schema(pa.schema([]), "regression"), SCORES)[1]
    assert (value["name"], value["type"], value["mode"]) == ("value", "FLOAT", "REQUIRED")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.dictionary(pa.int32(), pa.string()), "STRING"),
        (pa.large_string(), "STRING"),
        (pa.binary(), "BYTES"),
        (pa.binary(4), "BYTES"),
        (pa.uint32(), "INTEGER"),
        (pa.int8(), "INTEGER"),
        (pa.float32(), "FLOAT"),
        (pa.bool_(), "BOOLEAN"),
        (pa.date32(), "DATE"),
        (pa.time64("us"), "TIME"),
        (pa.timestamp("us"), "DATETIME"),
        (pa.timestamp("ms", tz="UTC"), "TIMESTAMP"),
        (pa.decimal128(38, 9), "NUMERIC"),
        (pa.decimal128(38, 10), "BIGNUMERIC"),
        (pa.decimal256(76, 38), "BIGNUMERIC"),
    ],
)
def test_a_kept_column_gets_the_type_that_parquet_loads_as(kind: pa.DataType, expected: str) -> None:
    assert kept_field(kind) == {"name": "x", "type": expected, "mode": "NULLABLE"}


def test_lists_are_repeated_and_structs_nested() -> None:
    assert kept_field(pa.list_(pa.int64())) == {"name": "x", "type": "INTEGER", "mode": "REPEATED"}
    inner = pa.struct([pa.field("a", pa.list_(pa.string())), pa.field("b", pa.bool_(), nullable=False)])
    assert kept_field(pa.large_list(inner)) == {
        "name": "x",
        "type": "RECORD",
        "mode": "REPEATED",
        "fields": [
            {"name": "a", "type": "STRING", "mode": "REPEATED"},
            {"name": "b", "type": "BOOLEAN", "mode": "REQUIRED"},
        ],
    }


@pytest.mark.parametrize(
    "kind",
    [
        pa.map_(pa.string(), pa.int64()),
        pa.list_(pa.list_(pa.int64())),
        pa.list_(pa.map_(pa.string(), pa.int64())),
        pa.struct([("a", pa.uint64())]),
        pa.struct([]),
        pa.uint64(),
        pa.float16(),
        pa.timestamp("ns", tz="UTC"),
        pa.timestamp("ns"),
        pa.timestamp("us", tz="Europe/Berlin"),
        pa.time64("ns"),
        pa.duration("us"),
        pa.decimal256(76, 10),
        pa.null(),
        pa.uuid(),
    ],
    ids=str,
)
def test_a_kept_column_that_cannot_be_loaded_is_refused_by_name(kind: pa.DataType) -> None:
    schema = pa.schema([("good", pa.int64()), ("bad", kind), ("worse", kind)])
    with pytest.raises(PlanError, match=r"'bad.*'worse.*--keep") as error:
        table_fields(schema, {})
    assert "'good'" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["größe", "a b", "a.b", "a-b", "1a", "", "_TABLE_x", "_partitiontime", "__ROOT__", "a" * 301]
)
def test_a_name_that_bigquery_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(PlanError, match="--rename"):
        table_fields(pa.schema([(name, pa.int64())]), {})


def test_names_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(PlanError, match="'ID' and 'id' are one name"):
        table_fields(scores_schema(pa.schema([("ID", pa.int64())]), "regression"), SCORES)
    with pytest.raises(PlanError, match=r"'x\.B' and 'x\.b' are one name"):
        table_fields(pa.schema([("x", pa.struct([("b", pa.int64()), ("B", pa.int64())]))]), {})


def test_a_name_that_may_be_a_text_is_not_printed_whole() -> None:
    with pytest.raises(PlanError) as error:
        table_fields(pa.schema([("I am so sad today that I cannot say", pa.int64())]), {})
    assert "cannot say" not in str(error.value)


@pytest.mark.parametrize(
    "uri",
    [
        "bq://",
        "bq://a.b.c",
        "bq://my-project.data",
        "my-project.data.scores",
        "bq://my-project:data.scores",
        "bq://my-project.data.sco`res",
        "bq://my-project.data.scores$20261121",
        "bq://my-project.data.a.b",
    ],
)
def test_a_name_of_no_output_table_is_refused(uri: str) -> None:
    said = f"{uri}: is not of the form bq://project.dataset.table, with letters, digits and _ in the last two"
    with pytest.raises(ValueError, match=re.escape(said)):
        table_name(uri, written=True)


@pytest.mark.parametrize("written", [False, True])
def test_names_of_tables(written: bool) -> None:
    assert table_name(f"bq://{TABLE}", written=written) == TABLE
    domain = "example.com:my-project.data.scores"
    assert table_name(f"bq://{domain}", written=written) == domain


def test_a_table_that_is_only_read_may_have_any_name_that_bigquery_allows() -> None:
    for name in ("my-project.data.Texte für März-2", "abcde.data.t"):
        assert table_name(f"bq://{name}") == name
        with pytest.raises(ValueError, match="is not of the form"):
            table_name(f"bq://{name}", written=True)
    for name, said in {
        "p.d.t$20261121": "--input-filter",
        "p.d.t@-1": "--input-query",
        "p.d.t_*": "--input-query",
    }.items():
        with pytest.raises(ValueError, match=said):
            table_name(f"bq://{name}")


# === Tables that exist ===


def wanted() -> dict[str, Any]:
    kept = pa.schema([("note", pa.string()), ("origin", pa.struct([("shop", pa.string()), ("aisle", pa.int32())]))])
    sink = table_sink(TABLE, scores_schema(kept, "classification"), dead_letters=True, staging="")
    return copy.deepcopy(sink.resources[0])


def changed(change: Callable[[dict[str, Any]], object]) -> list[str]:
    found = wanted()
    change(found)
    return differences(found, wanted())


def field(table: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in table["schema"]["fields"] if item["name"] == name)
    return found


def test_the_same_table_and_harmless_differences_are_taken() -> None:
    assert changed(lambda table: table) == []
    assert changed(lambda table: table["schema"]["fields"].reverse()) == []
    assert changed(lambda table: [item.pop("description", None) for item in table["schema"]["fields"]]) == []
    assert changed(lambda table: field(table, "id").update(name="Id")) == []
    assert changed(lambda table: field(table, "note").pop("mode")) == []
    assert changed(lambda table: table["schema"]["fields"].append({"name": "mine", "type": "STRING"})) == []


def test_every_differing_column_is_named_with_what_is_there_and_what_is_wanted() -> None:
    def change(table: dict[str, Any]) -> None:
        field(table, "label").update(type="INTEGER")
        field(table, "probability").update(mode="NULLABLE")
        field(table, "note").update(maxLength="10")
        field(table, "probabilities").update(mode="NULLABLE")
        table["schema"]["fields"].remove(field(table, "token_count"))
        table["schema"]["fields"].append({"name": "mine", "type": "STRING", "mode": "REQUIRED"})

    assert changed(change) == [
        "column 'note': found STRING(10) NULLABLE, wanted STRING NULLABLE",
        "column 'label': found INT64 REQUIRED, wanted STRING REQUIRED",
        "column 'probability': found FLOAT64 NULLABLE, wanted FLOAT64 REQUIRED",
        "column 'probabilities': found STRUCT NULLABLE, wanted STRUCT REPEATED",
        "column 'token_count': missing, wanted INT64 REQUIRED",
        "column 'mine': found STRING REQUIRED, and the job has none",
    ]


def test_a_struct_must_have_the_same_fields_in_the_same_order() -> None:
    def nested(change: Callable[[list[dict[str, Any]]], object]) -> list[str]:
        return changed(lambda table: change(field(table, "origin")["fields"]))

    assert nested(lambda fields: fields.append({"name": "more", "type": "STRING"})) == [
        "column 'origin.more': found STRING NULLABLE, and the job has none"
    ]
    assert nested(lambda fields: fields[1].update(type="STRING")) == [
        "column 'origin.aisle': found STRING NULLABLE, wanted INT64 NULLABLE"
    ]
    assert nested(lambda fields: fields.reverse()) == [
        "column 'origin': found its fields as ['aisle', 'shop'], wanted ['shop', 'aisle']"
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.pop("timePartitioning"), "partitioning: found none, wanted DAY of logical_date"),
        (
            lambda t: t.update(timePartitioning={"type": "DAY"}),
            "partitioning: found DAY of the time of loading, wanted DAY of logical_date",
        ),
        (
            lambda t: t["timePartitioning"].update(type="MONTH"),
            "partitioning: found MONTH of logical_date, wanted DAY of logical_date",
        ),
        (
            lambda t: (t.pop("timePartitioning"), t.update(rangePartitioning={})),
            "partitioning: found ranges, wanted DAY of logical_date",
        ),
        (lambda t: t.pop("clustering"), "clustering: found none, wanted id"),
        (lambda t: t.update(clustering={"fields": ["label", "id"]}), "clustering: found label, id, wanted id"),
        (lambda t: t.update(type="VIEW"), "it is a VIEW, wanted a table"),
    ],
)
def test_a_table_laid_out_otherwise_is_named(change: Callable[[dict[str, Any]], object], problem: str) -> None:
    assert changed(change) == [problem]


def test_only_functions_import_google() -> None:
    for file in [
        *(ROOT / "transforms").rglob("table_*.py"),
        *(ROOT / "transforms" / "bigquery").glob("*.py"),
    ]:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "google" not in ast.unparse(node), f"{file}: a job without a table must not import it"


def test_a_table_gets_the_columns_that_a_flag_asks_for_and_no_others() -> None:
    nothing = pa.schema([("note", pa.string())])
    plain, wanted = (
        table_sink(TABLE, scores_schema(nothing, "classification", decision=decision), dead_letters=False, staging="")
        for decision in (False, True)
    )
    found, job = plain.resources[0], wanted.resources[0]
    (column,) = to_add(found, job)
    assert column["name"] == "decision"
    assert differences(added(found, [column]), job) == []
    assert to_add(job, job) == to_add(job, found) == []
    assert add_column("p.d.t", column) == (
        "ALTER TABLE `p.d.t` ADD COLUMN IF NOT EXISTS `decision` STRING "
        'OPTIONS(description="The most probable class, or abstain where its probability is below --min-probability")'
    )
    vectors = scores_schema(nothing, "classification", embedding=embedding_type("float32", 4))
    (column,) = to_add(found, table_sink(TABLE, vectors, dead_letters=False, staging="").resources[0])
    assert (column["mode"], column["name"]) == ("REPEATED", "embedding")
    assert add_column("p.d.t", column) == (
        "ALTER TABLE `p.d.t` ADD COLUMN IF NOT EXISTS `embedding` ARRAY<FLOAT64> "
        'OPTIONS(description="The vector of the text from which the model makes its scores")'
    )
    # A kept column may have the name of a column that the job does not write.
    kept = pa.schema(
        [("note", pa.string()), ("embedding", pa.string()), pa.field("windows", pa.struct([("a", pa.int8())]))]
    )
    fields = scores_schema(kept, "classification", decision=True)
    own = table_sink(TABLE, fields, dead_letters=False, staging="", kept=kept.names).resources[0]
    described = {f["name"]: f["description"] for f in own["schema"]["fields"] if f["name"] in kept.names}
    assert set(described.values()) == {"Kept from the input"}
    assert [f["name"] for f in to_add(found, own)] == ["decision"]
    assert len(differences(added(found, to_add(found, own)), own)) == 2, "a kept column is the user's to add"
    without_note = {**found, "schema": {"fields": [f for f in found["schema"]["fields"] if f["name"] != "note"]}}
    assert [f["name"] for f in to_add(without_note, job)] == ["decision"], "a kept column is the user's to add"
