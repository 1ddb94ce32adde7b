"""Tables for the tests of BigQuery as the input, and runs that read them."""

import base64
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from support.jobs import DATE, NOW, Outcome

from transforms.read.columns import ColumnsRequest
from transforms.read.plan_table import plan_table
from transforms.read.step import read_rows
from transforms.runs.plan import Plan, Split, write_plan
from transforms.runs.run import Run, new_run_id
from transforms.stores.choose import store_for

PART = SchemaField(
    "part",
    "RECORD",
    fields=[
        SchemaField("n", "INTEGER"),
        SchemaField("list", "RECORD", mode="REPEATED", fields=[SchemaField("x", "STRING"), SchemaField("y", "FLOAT")]),
    ],
)
FIELDS = [
    SchemaField("id", "INTEGER"),
    SchemaField("text", "STRING"),
    SchemaField("day", "DATE"),
    SchemaField("real", "FLOAT"),
    SchemaField("yes", "BOOLEAN"),
    SchemaField("local", "DATETIME"),
    SchemaField("instant", "TIMESTAMP"),
    SchemaField("clock", "TIME"),
    SchemaField("money", "NUMERIC"),
    SchemaField("json", "JSON"),
    SchemaField("raw", "BYTES"),
    SchemaField("tags", "STRING", mode="REPEATED"),
    PART,
]
ID_TEXT_DAY = FIELDS[:3]
Rows = list[dict[str, Any]]


def create(dataset: str, fields: Sequence[SchemaField], rows: Rows, name: str = "rows") -> str:
    """A table with these rows, as `bq://…`."""
    with bigquery.Client() as client:
        client.create_table(bigquery.Table(f"{dataset}.{name}", fields))
        if rows:
            assert client.insert_rows_json(f"{dataset}.{name}", [as_json(row) for row in rows]) == []
    return f"bq://{dataset}.{name}"


def as_json(value: Any) -> Any:
    match value:
        case dict():
            return {key: as_json(inner) for key, inner in value.items()}
        case list():
            return [as_json(inner) for inner in value]
        case bytes():
            return base64.b64encode(value).decode()
        case dt.date() | dt.time():
            return value.isoformat()
        case Decimal():
            return str(value)
    return value


def simple(count: int) -> Rows:
    """Rows of two days, every third one of the day before."""
    days = dt.date(2026, 11, 20), dt.date(2026, 11, 21)
    return [{"id": i, "text": f"play song {i}", "day": days[i % 3 > 0]} for i in range(count)]


def large(count: int) -> Rows:
    """Rows of more than 1 MB together."""
    return [{**row, "text": row["text"] + " " + "z" * (1_100_000 // count)} for row in simple(count)]


def every_type(count: int) -> Rows:
    rows = large(count)
    for i, row in enumerate(rows):
        row |= {
            "real": i / 3,
            "yes": i % 2 == 0,
            "local": dt.datetime(2026, 11, 21, 1, 2, 3, i),
            "instant": dt.datetime(2026, 11, 21, 1, 2, 3, i, dt.UTC),
            "clock": dt.time(1, 2, 3, i),
            "money": Decimal(i) / 8,
            "json": json.dumps({"n": i}),
            "raw": bytes([255, i % 256]),
            "tags": [f"t{n}" for n in range(i % 3)],
            "part": {"n": i, "list": [{"x": f"x{i}", "y": 0.5}] * (i % 2)},
        }
    rows[5] |= dict.fromkeys(set(rows[5]) - {"id", "text", "tags"})
    rows[20]["id"], rows[30]["text"], rows[40]["text"] = None, None, " \t"
    rows[11]["id"] = rows[200]["id"] = 10
    return rows


def bad_texts() -> Rows:
    return [{"id": i, "raw": raw} for i, raw in enumerate([b"play", b"\xff\xfe", None, b" ", b"book"])]


def run_of(plan: Plan, folder: Path | str) -> Run:
    """A run that has this plan and has not begun."""
    run = Run(
        run_id=new_run_id(NOW),
        output=str(folder),
        date=dt.date.fromisoformat(DATE),
        started=NOW,
        sequence=0,
        bundle="b@0",
    )
    assert plan.table is not None
    write_plan(store_for(run.output), run.plan, plan, {"run": run.to_json(), "table_input": asdict(plan.table)})
    return run


def planned(table: str, folder: Path | str) -> tuple[Plan, Run]:
    plan = plan_table(table.removeprefix("bq://"), ColumnsRequest())
    return plan, run_of(plan, folder)


def read_all(plan: Plan, splits: Sequence[Split]) -> list[tuple[str, str, int]]:
    """(id, source, row) of every row, in the order of the splits."""
    found = []
    for split in splits:
        for piece in split.pieces:
            for batches, dead, count in read_rows(piece, split.number, plan.columns):
                assert (sum(batch.num_rows for batch in batches), dead) == (count.rows, [])
                for batch in batches:
                    found += list(zip(*(batch.column(n).to_pylist() for n in ("id", "source", "row")), strict=True))
    return found


def same(outcome: Outcome) -> list[dict[str, Any]]:
    """Published rows without what differs between runs."""
    rows = [{k: v for k, v in row.items() if k not in ("run_id", "scored_at")} for row in outcome.rows()]
    return sorted(rows, key=lambda row: row["id"])
