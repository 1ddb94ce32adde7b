"""Runs with a BigQuery table that are ready to be published, made without a model, and what readers then find."""

import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.runs.drifting import FEWER, weeks
from support.runs.publishing import DATE, SOURCE, RowCounts, dead, judged, planned, run_bundle, status

from transforms.batches.dead_letters import position_columns
from transforms.batches.misfits import named
from transforms.batches.repeated import PRECISION_FIELD, repeated
from transforms.batches.schemas import with_positions
from transforms.batches.score_columns import scores_schema
from transforms.errors import PublishError
from transforms.publish.step import judge_and_publish
from transforms.publish.table_sink import TableSink, table_sink
from transforms.runs.row_counts import count_positions
from transforms.runs.run import Run, manifest_path, read_manifest
from transforms.runs.staged import StagedFile
from transforms.stores.choose import store_for
from transforms.stores.paths import join
from transforms.write import _Stage

KEPT = pa.schema(
    [
        ("note", pa.string()),
        ("amount", pa.decimal128(10, 2)),
        ("tags", pa.list_(pa.string())),
        ("seen", pa.timestamp("us", tz="UTC")),
        ("origin", pa.struct([("shop", pa.string()), ("aisle", pa.int32())])),
    ]
)
SCHEMA = scores_schema(KEPT, "classification")
IDS = ("a", "b", "c", "d")
FEW = IDS[:2]
SEEN = dt.datetime(2026, 11, 20, 12, 30, 0, 123456, dt.UTC)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where runs of one test publish: home folder, table, and where parts are copied for loading (or not: gs://)."""

    home: str
    table: str
    staging: str = ""

    @property
    def sink(self) -> TableSink:
        return table_sink(self.table, SCHEMA, dead_letters=True, staging=self.staging)

    def ready(self, ids: Sequence[str] = IDS, *, date: dt.date = DATE, rejected: int = 1) -> Run:
        """A run with these rows and one or more dead letters that has its verdict."""
        rows = len(ids) + rejected
        run = planned(self.home, date=date, rows=rows, table=self.sink.to_json())
        judged(run, _row_counts(run, ids, range(len(ids), rows)))
        return run

    def few(self, started: dt.datetime | None = None) -> tuple[Run, RowCounts]:
        """A run of two rows and a dead letter, and what reaches PublishRun of it."""
        more = {} if started is None else {"started": started}
        run = planned(self.home, rows=3, table=self.sink.to_json(), **more)
        return run, _row_counts(run, FEW, [2])

    def held(self, started: dt.datetime | None = None) -> Run:
        """Such a run that the gate holds: the dates before it, in the folder alone, have four rows."""
        weeks(self.home)
        run, counts = self.few(started)
        with pytest.raises(PublishError, match=f"run {run.run_id} is held: 2 rows"):
            judge_and_publish(run, *counts, [], gate=FEWER)
        assert status(run) == "held"
        return run

    def rows(self, date: dt.date = DATE) -> list[dict[str, Any]]:
        """What the table holds of a date."""
        return self.query(f"SELECT * FROM `{self.table}` WHERE logical_date = '{date}'")

    def dead_letters(self, date: dt.date = DATE) -> list[dict[str, Any]]:
        return self.query(f"SELECT * FROM `{self.table}__dead_letters` WHERE logical_date = '{date}'")

    def records(self, date: dt.date = DATE) -> list[dict[str, Any]]:
        return self.query(f"SELECT * FROM `{self.table}__published` WHERE logical_date = '{date}'")

    def query(self, sql: str) -> list[dict[str, Any]]:
        from google.cloud import bigquery

        with bigquery.Client(project="test-project") as client:
            return [dict(row) for row in client.query(sql).result()]

    def tables(self) -> set[str]:
        """Names of the tables of the data set, without that of the table itself."""
        from google.cloud import bigquery

        dataset, _, table = self.table.rpartition(".")
        with bigquery.Client(project="test-project") as client:
            return {item.table_id.removeprefix(table) for item in client.list_tables(dataset)}


def _row_counts(run: Run, ids: Sequence[str], dead_rows: Sequence[int]) -> RowCounts:
    positions = [*range(len(ids)), *dead_rows]
    read = [count_positions(row // 2, SOURCE, pa.array([row]).to_numpy()) for row in positions]
    return read, _staged(run, ids), dead(run, dead_rows)


def _staged(run: Run, ids: Sequence[str]) -> list[StagedFile]:
    files = []
    for split in range((len(ids) + 1) // 2):
        part = ids[2 * split : 2 * split + 2]
        where = position_columns(SOURCE, split, np.arange(2 * split, 2 * split + len(part)))
        rows = pa.RecordBatch.from_pylist([score_row(run, id_) for id_ in part], SCHEMA)
        places = [*where, named(len(part), {}), repeated("float32", PRECISION_FIELD, len(part))]
        batch = pa.RecordBatch.from_arrays([*places, *rows.columns], schema=with_positions(SCHEMA))
        files += run_bundle(_Stage(run, with_positions(SCHEMA), SCHEMA), batch)
    return files


def score_row(run: Run, id_: str) -> dict[str, Any]:
    """A row that is another for every id."""
    number = sum(id_.encode())
    first = 0.5 + number % 7 / 20
    return {
        "id": id_,
        "note": None if number % 2 else f"é '{id_}' \\ \n",
        "amount": Decimal(number) / 4,
        "tags": ["x", id_][: number % 3],
        "seen": SEEN + dt.timedelta(microseconds=number),
        "origin": {"shop": "s" + id_, "aisle": number} if number % 2 else None,
        "label": "play",
        "probability": first,
        "probabilities": [{"label": "play", "probability": first}, {"label": "book", "probability": 1 - first}],
        "token_count": number,
        "truncated": bool(number % 2),
        "text_hash": -(2**63) + number,
        "logical_date": run.date,
        "bundle": run.bundle,
        "run_id": run.run_id,
        "scored_at": run.started,
    }


def parquet_rows(home: str, date: dt.date = DATE, key: str = "files") -> list[dict[str, Any]]:
    """The published rows, as a reader of the manifest sees them."""
    manifest, _ = read_manifest(manifest_path(home, date))
    found: list[dict[str, Any]] = []
    for part in manifest[key] if manifest else []:
        data = store_for(home).read(join(home, part["path"]))
        assert data is not None
        found += pq.read_table(io.BytesIO(data)).to_pylist()
    return found


def assert_same_rows(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """The same rows in any order: numbers of floating point to 1e-6, everything else exactly."""
    found, expected = (sorted(map(_plain, rows), key=str) for rows in (found, expected))
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    for there, ours in zip(found, expected, strict=True):
        assert list(there) == list(ours)
        for name in ours:
            assert _compared(there[name]) == _compared(ours[name]), name


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    # BigQuery has no null arrays: they are empty.
    return {name: [] if name == "tags" and value is None else value for name, value in row.items()}


def _compared(value: Any) -> Any:
    if isinstance(value, list):
        return [_compared(item) for item in value]
    if isinstance(value, dict):
        return {key: _compared(item) for key, item in value.items()}
    return pytest.approx(value, abs=1e-6) if isinstance(value, float) else value


def assert_published(place: Place, run: Run, ids: Sequence[str] = IDS, rejected: int = 1) -> None:
    """Table and folder hold the rows of `run` and no others, and nothing of a staging table or an upload is left."""
    manifest, _ = read_manifest(run.manifest)
    assert manifest
    assert (manifest["run_id"], manifest["finished"]) == (run.run_id, True)
    rows = place.rows(run.date)
    assert sorted(row["id"] for row in rows) == sorted(ids)
    assert {row["run_id"] for row in rows} <= {run.run_id}
    assert_same_rows(rows, [dict(score_row(run, id_)) for id_ in ids])
    assert_same_rows(rows, parquet_rows(place.home, run.date))
    assert len(place.dead_letters(run.date)) == rejected
    assert_same_rows(place.dead_letters(run.date), parquet_rows(place.home, run.date, "dead_letters"))
    (record,) = place.records(run.date)
    assert record["published_at"] > run.started
    assert {**record, "published_at": None} == {
        "logical_date": run.date,
        "sequence": manifest["sequence"],
        "run_id": run.run_id,
        "bundle": run.bundle,
        "rows": len(ids),
        "published_at": None,
    }
    assert place.tables() == {"", "__dead_letters", "__published"}
    assert not place.staging or store_for(place.staging).list(place.staging) == []
