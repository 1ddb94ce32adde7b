"""A BigQuery table as the input: the same rows as from Parquet, from one snapshot, read once."""

import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from support.bundles import Built
from support.cloud.emulators import Emulators
from support.cloud.input_tables import (
    FIELDS,
    ID_TEXT_DAY,
    bad_texts,
    create,
    every_type,
    large,
    planned,
    read_all,
    same,
    simple,
)
from support.cloud.storage_proxy import SESSION_ENDS, StorageProxy
from support.jobs import DATE, Score, write_parquet
from support.runs.same_rows import assert_same_rows
from typer.testing import CliRunner

from pipeline.commands.app import app
from pipeline.errors import RunFailedError
from transforms.bigquery.arrow_types import arrow_type
from transforms.errors import NoInputError, PlanError
from transforms.read.columns import ColumnsRequest
from transforms.read.plan_table import plan_table
from transforms.read.step import list_splits, read_rows
from transforms.runs.plan import Split, can_go_on, planned_splits
from transforms.runs.row_counts import total
from transforms.stores.choose import store_for

pytestmark = pytest.mark.usefixtures("two_minutes")


@pytest.fixture
def four_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four streams are asked for: the emulator keeps no count of rows. It gives as many from 1 MB on."""
    monkeypatch.setattr("transforms.read.plan_table.expected", lambda *_: (250_000, 0))
    monkeypatch.setattr("transforms.read.plan_files.SPLITS", 4)


@pytest.mark.usefixtures("four_streams")
def test_a_table_of_every_type_gives_what_parquet_gives(run_job: Score, dataset: str, tmp_path: Path) -> None:
    rows = every_type(240)
    table = create(dataset, FIELDS, rows)
    schema = pa.schema([(field.name, arrow_type(field)) for field in FIELDS])
    file = write_parquet(tmp_path / "rows.parquet", pa.Table.from_pylist(rows, schema))
    expected = run_job(file, output=tmp_path / "from_file")
    outcome = run_job(table, workers=2)
    session = json.loads((outcome.output / f"_runs/{outcome.verdict.run_id}/session.json").read_text())
    assert len(session["streams"]) >= 4
    assert outcome.verdict.counts == expected.verdict.counts == {"read": 240, "scored": 235, "skipped": 0, "dead": 5}
    # Batches are cut by bytes, and a table's rows have others.
    assert_same_rows(same(outcome), same(expected))
    codes = [Counter((row["id"], row["code"]) for row in run.dead()) for run in (outcome, expected)]
    assert codes[0] == codes[1]
    repeated = {(row["source"], row["row"], row["reason"]) for row in outcome.dead() if row["code"] == "duplicate_id"}
    first = f"the id stands first at {table}#0#10"
    each = 240 // len(session["streams"])
    assert repeated == {(f"{table}#0", 11, first), (f"{table}#{200 // each}", 200 % each, first)}


def test_bytes_that_are_no_text_are_dead_letters_that_name_table_stream_and_row(run_job: Score, dataset: str) -> None:
    table = create(dataset, [SchemaField("id", "STRING"), SchemaField("raw", "BYTES")], bad_texts())
    outcome = run_job(table, text_column="raw")
    dead = sorted((row["code"], row["source"], row["row"]) for row in outcome.dead())
    assert dead == [("blank_text", f"{table}#0", 3), ("missing_text", f"{table}#0", 2), ("not_utf8", f"{table}#0", 1)]
    assert [row["id"] for row in outcome.rows()] == ["0", "4"]


def test_the_filter_of_the_date_reaches_the_service_with_columns_and_snapshot(
    run_job: Score, dataset: str, storage_proxy: StorageProxy
) -> None:
    create(dataset, FIELDS, simple(20), name=f"rows_{DATE}")
    before = dt.datetime.now(dt.UTC)
    outcome = run_job(f"bq://{dataset}.rows_{{date}}", input_filter="day = '{date}'", keep="real,day")
    assert [row["id"] for row in outcome.rows()] == [str(i) for i in range(20) if i % 3]
    # Once for the ids, once for the rows.
    assert storage_proxy.reads == [("0", 0), ("0", 0)]
    (request,) = storage_proxy.sessions
    session, table_input = request.read_session, outcome.manifest["table_input"]
    assert session.read_options.row_restriction == table_input["restriction"] == f"day = '{DATE}'"
    assert sorted(session.read_options.selected_fields) == ["day", "id", "real", "text"]
    snapshot = dt.datetime.fromisoformat(table_input["snapshot"])
    assert session.table_modifiers.snapshot_time == snapshot
    assert before <= snapshot <= dt.datetime.now(dt.UTC)
    assert "." in table_input["snapshot"]
    assert table_input["table"] == f"{dataset}.rows_{DATE}"
    assert [info["path"] for info in outcome.manifest["inputs"]] == [f"bq://{dataset}.rows_{DATE}"]


NESTED = [
    SchemaField("meta", "RECORD", fields=[SchemaField("id", "INTEGER"), SchemaField("gap", "INTERVAL")]),
    SchemaField("doc", "RECORD", fields=[
        SchemaField("text", "STRING"),
        SchemaField("lang", "STRING"),
        SchemaField("more", "RECORD", fields=[SchemaField("n", "INTEGER"), SchemaField("m", "INTEGER")]),
    ]),
]  # fmt: skip


def test_parts_of_records_are_selected_in_the_read_session_and_kept_under_names_without_dots(
    run_job: Score, dataset: str, storage_proxy: StorageProxy
) -> None:
    rows: list[dict[str, Any]] = [
        {"meta": {"id": i}, "doc": {"text": f"play {i}", "lang": "de", "more": {"n": i, "m": 0}}} for i in range(4)
    ]
    rows[2]["doc"], rows[3]["doc"]["more"] = None, None
    named = {"text_column": "doc.text", "id_column": "meta.id"}
    outcome = run_job(create(dataset, NESTED, rows), **named, keep="doc.lang,doc.more.n,meta.id")
    found = {row["id"]: [row[name] for name in ("doc_lang", "doc_more_n", "meta_id")] for row in outcome.rows()}
    assert found == {"0": ["de", 0, 0], "1": ["de", 1, 1], "3": ["de", None, 3]}
    assert outcome.codes() == {"2": "missing_text"}
    (request,) = storage_proxy.sessions
    expected = ["doc.lang", "doc.more.n", "doc.text", "meta.id"]
    assert sorted(request.read_session.read_options.selected_fields) == expected


def test_a_record_that_is_kept_is_selected_whole_and_loses_the_text(
    run_job: Score, dataset: str, storage_proxy: StorageProxy
) -> None:
    row = {"id": "a", "doc": {"text": "play", "lang": "de", "more": {"n": 1, "m": 2}}}
    table = create(dataset, [SchemaField("id", "STRING"), NESTED[1]], [row])
    (found,) = run_job(table, text_column="doc.text").rows()
    assert found["doc"] == {"lang": "de", "more": {"n": 1, "m": 2}}
    (request,) = storage_proxy.sessions
    assert sorted(request.read_session.read_options.selected_fields) == ["doc", "id"]
    with pytest.raises(PlanError, match=r"has no column 'doc\.body'; it has 'id', 'doc\.text', 'doc\.lang'"):
        run_job(table, text_column="doc.body")


def test_a_table_without_rows_is_an_empty_date(run_job: Score, dataset: str) -> None:
    outcome = run_job(create(dataset, ID_TEXT_DAY, []))
    assert outcome.verdict.status == "published"
    assert outcome.verdict.counts == {"read": 0, "scored": 0, "skipped": 0, "dead": 0}


def test_a_table_that_is_missing_is_no_input_yet_and_empty_if_that_is_allowed(run_job: Score, dataset: str) -> None:
    with pytest.raises(NoInputError, match=r"missing: .*is it written yet"):
        run_job(f"bq://{dataset}.missing")
    assert run_job(f"bq://{dataset}.missing", allow_missing=True).verdict.counts["read"] == 0


def test_the_commands_tell_what_they_would_read_and_that_it_is_not_there(
    classes: Built, dataset: str, tmp_path: Path
) -> None:
    def invoke(command: str, *flags: str) -> tuple[int, str]:
        job = ["--bundle", str(classes.path), "--output", str(tmp_path / "out"), "--date", DATE]
        result = CliRunner().invoke(app, [command, *job, *flags])
        return result.exit_code, result.stdout + result.stderr

    table = create(dataset, ID_TEXT_DAY, simple(3))
    code, said = invoke("check", "--input", table)
    assert (code, f"input    {table}, 0 bytes, about 3 rows\nsplits   made when the run starts" in said) == (0, True), (
        said
    )
    code, said = invoke("score", "--input", f"{table}_{{date}}")
    assert (code, len(said.splitlines()), f"error: {table}_{DATE}: " in said) == (75, 1, True), said
    code, said = invoke("score", "--input-query", "nowhere.sql")
    assert (code, said) == (2, f"error: --input-query {Path('nowhere.sql').absolute()}: there is no such file\n")


REFUSALS: list[tuple[list[SchemaField], dict[str, Any], str]] = [
    ([SchemaField("id", "STRING"), SchemaField("body", "STRING")], {}, "has no column 'text'; it has 'id', 'body'"),
    ([SchemaField("id", "BOOLEAN"), SchemaField("text", "STRING")], {}, "id column 'id' is bool"),
    ([SchemaField("id", "STRING"), SchemaField("text", "INTEGER")], {}, "column 'text' is int64, not text"),
    ([*ID_TEXT_DAY, SchemaField("label", "STRING")], {}, "--rename label=input_label"),
    ([*ID_TEXT_DAY, SchemaField("gap", "INTERVAL")], {}, "column gap is INTERVAL, which Parquet cannot hold; .*--keep"),
    (ID_TEXT_DAY, {"keep": "nope"}, "no column 'nope' in the input"),
    (ID_TEXT_DAY, {"input_filter": "nope = 1"}, "nope.*; correct --input-filter"),
]


@pytest.mark.parametrize(("fields", "settings", "message"), REFUSALS)
def test_a_table_that_does_not_fit_is_refused_before_anything_runs(
    run_job: Score, dataset: str, fields: list[SchemaField], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match=message):
        run_job(create(dataset, fields, []), **settings)
    assert not (tmp_path / "out").exists()


def test_a_column_parquet_cannot_hold_may_be_left_out(dataset: str) -> None:
    table = create(dataset, [*ID_TEXT_DAY, SchemaField("gap", "INTERVAL")], [])
    plan = plan_table(table.removeprefix("bq://"), ColumnsRequest(keep=("day",)))
    assert plan.columns.wanted == ["id", "text", "day"]


def test_a_view_is_refused_and_the_way_out_named(dataset: str) -> None:
    create(dataset, ID_TEXT_DAY, [])
    with bigquery.Client() as client:
        client.query(f"CREATE VIEW `{dataset}.v` AS SELECT id, text FROM `{dataset}.rows`").result()
    with pytest.raises(PlanError, match=r"is a view.*--input-query"):
        plan_table(f"{dataset}.v", ColumnsRequest())


@pytest.mark.usefixtures("four_streams")
def test_every_try_and_every_pass_reads_the_streams_of_the_first_session(
    dataset: str, storage_proxy: StorageProxy, tmp_path: Path
) -> None:
    plan, run = planned(create(dataset, ID_TEXT_DAY, large(90)), tmp_path)
    first = list(list_splits(run.plan))
    assert list(list_splits(run.plan)) == planned_splits(run.plan) == first
    assert len(storage_proxy.sessions) == 1
    assert (storage_proxy.sessions[0].max_stream_count, len(first)) == (4, 4)
    assert sorted(row[0] for row in read_all(plan, first)) == sorted(str(i) for i in range(90))


def test_the_session_lies_beside_the_plan_on_cloud_storage_too(dataset: str, bucket_folder: str) -> None:
    plan, run = planned(create(dataset, ID_TEXT_DAY, simple(9)), bucket_folder)
    assert len(read_all(plan, list(list_splits(run.plan)))) == 9
    assert store_for(bucket_folder).stat(run.file("session.json")) is not None


def test_a_later_try_goes_on_until_the_session_has_run_out(
    dataset: str, storage_proxy: StorageProxy, tmp_path: Path
) -> None:
    _, run = planned(create(dataset, ID_TEXT_DAY, simple(3)), tmp_path)
    second = dt.timedelta(seconds=1)
    assert can_go_on(run.plan, SESSION_ENDS + second)
    list(list_splits(run.plan))
    assert can_go_on(run.plan, SESSION_ENDS - second)
    assert not can_go_on(run.plan, SESSION_ENDS)


def test_of_two_first_tries_at_once_both_go_on_with_one_session(
    dataset: str, storage_proxy: StorageProxy, tmp_path: Path
) -> None:
    _, run = planned(create(dataset, ID_TEXT_DAY, simple(9)), tmp_path)
    winner: list[Split] = []

    def other_try() -> None:
        storage_proxy.before_session = lambda: None
        winner.extend(list_splits(run.plan))

    storage_proxy.before_session = other_try
    assert list(list_splits(run.plan)) == winner
    assert len(storage_proxy.sessions) == 2


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN])
def test_a_stream_that_breaks_goes_on_where_it_was(
    dataset: str, storage_proxy: StorageProxy, tmp_path: Path, status: grpc.StatusCode
) -> None:
    plan, run = planned(create(dataset, ID_TEXT_DAY, simple(50)), tmp_path)
    whole = read_all(plan, list(list_splits(run.plan)))
    storage_proxy.breaks = [(15, status), (0, grpc.StatusCode.UNAVAILABLE), (7, status)]
    assert read_all(plan, planned_splits(run.plan)) == whole
    assert [row[2] for row in whole] == list(range(50))
    assert storage_proxy.reads[1:] == [("0", 0), ("0", 21), ("0", 21), ("0", 28)]


def test_a_session_that_has_run_out_says_what_to_do(run_job: Score, dataset: str, storage_proxy: StorageProxy) -> None:
    storage_proxy.breaks = [(7, grpc.StatusCode.FAILED_PRECONDITION)] * 2
    with pytest.raises(RunFailedError, match=r"rows#0: no longer read after row 7 \(FailedPrecondition\).*six hours"):
        run_job(create(dataset, ID_TEXT_DAY, simple(50)))


def test_rows_a_message_counts_and_does_not_have_are_found_by_the_row_counts(
    dataset: str, cloud: Emulators, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, run = planned(create(dataset, ID_TEXT_DAY, simple(9)), tmp_path)
    (split,) = list_splits(run.plan)
    decode = pa.ipc.read_record_batch
    monkeypatch.setattr(pa.ipc, "read_record_batch", lambda *given: decode(*given).slice(1))
    ((batches, _, count),) = read_rows(split.pieces[0], 0, plan.columns)
    assert (sum(batch.num_rows for batch in batches), total([count])[0].rows) == (8, 9)
