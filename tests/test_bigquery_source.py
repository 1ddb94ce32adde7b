"""A BigQuery table or query as the input: the same rows as from Parquet, from one snapshot, read once."""

import ast
import base64
import datetime as dt
import json
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pyarrow as pa
import pytest
from conftest import DATE, NOW, Built, Outcome, Score, write_parquet
from emulators import Emulators
from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from storage_proxy import SESSION_ENDS, StorageProxy
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import ConfigError, JobConfig, load_job
from pipeline.failures import RunFailedError
from pipeline.preparing import prepare
from pipeline.scoring import score
from transforms.bigquery import TableError
from transforms.bigquery_types import arrow_type, unfit
from transforms.books import total
from transforms.columns import ColumnsRequest, PlanError
from transforms.plan import NoInputError, Plan, Split, write_plan
from transforms.plan_table import plan_table
from transforms.read import list_splits, read_rows
from transforms.read_session import can_go_on, planned_splits
from transforms.runs import Run, new_run_id
from transforms.stores import store_for

ROOT = Path(__file__).parent.parent
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


@pytest.fixture(autouse=True)
def _no_test_hangs() -> Iterator[None]:
    def end(*_: object) -> None:
        raise TimeoutError("the test takes longer than two minutes")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def proxy(cloud: Emulators, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageProxy]:
    """Where the Storage Read API of this test is."""
    with StorageProxy(cloud.environment["BIGQUERY_STORAGE_EMULATOR_HOST"]) as running:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", running.address)
        yield running


@pytest.fixture
def four_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four streams are asked for: the emulator keeps no count of rows. It gives as many from 1 MB on."""
    monkeypatch.setattr("transforms.plan_table.expected", lambda *_: (250_000, 0))
    monkeypatch.setattr("transforms.plan.SPLITS", 4)


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
    assert same(outcome) == same(expected)
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
    run_job: Score, dataset: str, proxy: StorageProxy
) -> None:
    create(dataset, FIELDS, simple(20), name=f"rows_{DATE}")
    before = dt.datetime.now(dt.UTC)
    outcome = run_job(f"bq://{dataset}.rows_{{date}}", input_filter="day = '{date}'", keep="real,day")
    assert [row["id"] for row in outcome.rows()] == [str(i) for i in range(20) if i % 3]
    # Once for the ids, once for the rows.
    assert proxy.reads == [("0", 0), ("0", 0)]
    (request,) = proxy.sessions
    session, table_input = request.read_session, outcome.manifest["table_input"]
    assert session.read_options.row_restriction == table_input["restriction"] == f"day = '{DATE}'"
    assert sorted(session.read_options.selected_fields) == ["day", "id", "real", "text"]
    snapshot = dt.datetime.fromisoformat(table_input["snapshot"])
    assert session.table_modifiers.snapshot_time == snapshot
    assert before <= snapshot <= dt.datetime.now(dt.UTC)
    assert "." in table_input["snapshot"]
    assert table_input["table"] == f"{dataset}.rows_{DATE}"
    assert [info["path"] for info in outcome.manifest["inputs"]] == [f"bq://{dataset}.rows_{DATE}"]


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
    ([SchemaField("id", "FLOAT"), SchemaField("text", "STRING")], {}, "id column 'id' is double"),
    ([SchemaField("id", "STRING"), SchemaField("text", "INTEGER")], {}, "column 'text' is int64, not text"),
    ([*ID_TEXT_DAY, SchemaField("label", "STRING")], {}, "--rename label=input_label"),
    ([*ID_TEXT_DAY, SchemaField("gap", "INTERVAL")], {}, "column gap is INTERVAL, which Parquet cannot hold; .*--keep"),
    (ID_TEXT_DAY, {"keep": "nope"}, "no column 'nope' in the input"),
    (ID_TEXT_DAY, {"input_filter": "nope = 1"}, "nope.*; mend --input-filter"),
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
    dataset: str, proxy: StorageProxy, tmp_path: Path
) -> None:
    plan, run = planned(create(dataset, ID_TEXT_DAY, large(90)), tmp_path)
    first = list(list_splits(run.plan))
    assert list(list_splits(run.plan)) == planned_splits(run.plan) == first
    assert len(proxy.sessions) == 1
    assert (proxy.sessions[0].max_stream_count, len(first)) == (4, 4)
    assert sorted(row[0] for row in read_all(plan, first)) == sorted(str(i) for i in range(90))


def test_the_session_lies_beside_the_plan_on_cloud_storage_too(dataset: str, bucket_folder: str) -> None:
    plan, run = planned(create(dataset, ID_TEXT_DAY, simple(9)), bucket_folder)
    assert len(read_all(plan, list(list_splits(run.plan)))) == 9
    assert store_for(bucket_folder).stat(run.file("session.json")) is not None


def test_a_later_try_goes_on_until_the_session_has_run_out(dataset: str, proxy: StorageProxy, tmp_path: Path) -> None:
    _, run = planned(create(dataset, ID_TEXT_DAY, simple(3)), tmp_path)
    second = dt.timedelta(seconds=1)
    assert can_go_on(run.plan, SESSION_ENDS + second)
    list(list_splits(run.plan))
    assert can_go_on(run.plan, SESSION_ENDS - second)
    assert not can_go_on(run.plan, SESSION_ENDS)


def test_of_two_first_tries_at_once_both_go_on_with_one_session(
    dataset: str, proxy: StorageProxy, tmp_path: Path
) -> None:
    _, run = planned(create(dataset, ID_TEXT_DAY, simple(9)), tmp_path)
    winner: list[Split] = []

    def other_try() -> None:
        proxy.before_session = lambda: None
        winner.extend(list_splits(run.plan))

    proxy.before_session = other_try
    assert list(list_splits(run.plan)) == winner
    assert len(proxy.sessions) == 2


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN])
def test_a_stream_that_breaks_goes_on_where_it_was(
    dataset: str, proxy: StorageProxy, tmp_path: Path, status: grpc.StatusCode
) -> None:
    plan, run = planned(create(dataset, ID_TEXT_DAY, simple(50)), tmp_path)
    whole = read_all(plan, list(list_splits(run.plan)))
    proxy.breaks = [(15, status), (0, grpc.StatusCode.UNAVAILABLE), (7, status)]
    assert read_all(plan, planned_splits(run.plan)) == whole
    assert [row[2] for row in whole] == list(range(50))
    assert proxy.reads[1:] == [("0", 0), ("0", 21), ("0", 21), ("0", 28)]


def test_a_session_that_has_run_out_says_what_to_do(run_job: Score, dataset: str, proxy: StorageProxy) -> None:
    proxy.breaks = [(7, grpc.StatusCode.FAILED_PRECONDITION)] * 2
    with pytest.raises(RunFailedError, match=r"rows#0: no longer read after row 7 \(FailedPrecondition\).*six hours"):
        run_job(create(dataset, ID_TEXT_DAY, simple(50)))


def test_rows_a_message_counts_and_does_not_have_unbalance_the_books(
    dataset: str, cloud: Emulators, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, run = planned(create(dataset, ID_TEXT_DAY, simple(9)), tmp_path)
    (split,) = list_splits(run.plan)
    decode = pa.ipc.read_record_batch
    monkeypatch.setattr(pa.ipc, "read_record_batch", lambda *given: decode(*given).slice(1))
    ((batches, _, count),) = read_rows(split.pieces[0], 0, plan.columns)
    assert (sum(batch.num_rows for batch in batches), total([count])[0].rows) == (8, 9)


def query_job(classes: Built, tmp_path: Path, query: str, **settings: Any) -> JobConfig:
    file = tmp_path / "input.sql"
    file.write_text(query)
    output = str(tmp_path / "out")
    return JobConfig(bundle=str(classes.path), input_query=str(file), output=output, date=DATE, **settings)


@pytest.fixture
def results_are_tables(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator keeps results of queries where the Storage Read API does not find them."""

    def result(client: bigquery.Client, job: bigquery.QueryJob) -> tuple[str, int, int]:
        name = f"{dataset}.result_{job.job_id.replace('-', '_')}"
        client.query(f"CREATE TABLE IF NOT EXISTS `{name}` AS {job.query}").result()
        return name, 1, 1

    monkeypatch.setattr("transforms.read_session.result_table", result)


@pytest.fixture
def job_ids_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator runs a second job of the same id, where the service answers 409."""
    query = bigquery.Client.query

    def refuse_second(client: bigquery.Client, text: str, **settings: Any) -> bigquery.QueryJob:
        if (job_id := settings.get("job_id")) is not None:
            with suppress(NotFound):
                client.get_job(job_id)
                raise Conflict("Already Exists: Job")
        return query(client, text, **settings)

    monkeypatch.setattr(bigquery.Client, "query", refuse_second)


@pytest.mark.usefixtures("results_are_tables")
def test_the_result_of_a_query_is_scored(classes: Built, dataset: str, tmp_path: Path) -> None:
    create(dataset, ID_TEXT_DAY, simple(20))
    query = f"SELECT id + 100 AS key, UPPER(text) AS body FROM `{dataset}.rows` WHERE day = '{{date}}'"
    job = query_job(classes, tmp_path, query, id_column="key", text_column="body")
    verdict = score(job, now=NOW)
    outcome = Outcome(verdict=verdict, output=tmp_path / "out")
    assert [row["id"] for row in outcome.rows()] == [str(i + 100) for i in range(20) if i % 3]
    assert outcome.manifest["table_input"]["query"] == query.replace("{date}", DATE)
    with bigquery.Client() as client:
        assert client.get_job(f"{verdict.run_id}-input").query == query.replace("{date}", DATE)


@pytest.mark.usefixtures("results_are_tables", "job_ids_are_taken_once")
def test_a_query_runs_once_however_often_it_is_tried(
    classes: Built, dataset: str, proxy: StorageProxy, tmp_path: Path
) -> None:
    create(dataset, ID_TEXT_DAY, simple(6))
    plan = prepare(query_job(classes, tmp_path, f"SELECT id, text FROM `{dataset}.rows`"), NOW).plan
    run = run_of(plan, tmp_path / "out")
    first = read_all(plan, list(list_splits(run.plan)))
    # The first try died between its query and its session; meanwhile there are more rows.
    Path(run.file("session.json")).unlink()
    with bigquery.Client() as client:
        started = client.get_job(f"{run.run_id}-input").started
        assert client.insert_rows_json(f"{dataset}.rows", [{"id": 7, "text": "late"}]) == []
        assert read_all(plan, list(list_splits(run.plan))) == first
        assert client.get_job(f"{run.run_id}-input").started == started
    tables = {request.read_session.table for request in proxy.sessions}
    assert (len(first), len(tables), len(proxy.sessions)) == (6, 1, 2)


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("SELECT id, text FROM `{dataset}.missing`", NoInputError, "missing.*is it written yet"),
        ("SELECT id, nope FROM `{dataset}.rows`", PlanError, "nope.*; mend --input-query"),
        ("SELEC 1", PlanError, "input.sql: Syntax error"),
        ("DELETE FROM `{dataset}.rows` WHERE TRUE", PlanError, "is no query but DELETE"),
        ("SELECT 1; SELECT 2", PlanError, "is no query but SCRIPT"),
        ("SELECT id FROM `{dataset}.rows`", PlanError, "input.sql: has no column 'text'"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_before_it_is_run(
    classes: Built, dataset: str, tmp_path: Path, query: str, error: type[Exception], message: str
) -> None:
    create(dataset, ID_TEXT_DAY, simple(3))
    with pytest.raises(error, match=message):
        prepare(query_job(classes, tmp_path, query.replace("{dataset}", dataset)), NOW)


def test_a_query_that_fails_names_its_job_and_quotes_no_value(dataset: str, tmp_path: Path, classes: Built) -> None:
    create(dataset, ID_TEXT_DAY, simple(3))
    plan = prepare(query_job(classes, tmp_path, f"SELECT id, text FROM `{dataset}.rows`"), NOW).plan
    run = run_of(plan, tmp_path / "out")
    with bigquery.Client() as client:
        client.delete_table(f"{dataset}.rows")
    with pytest.raises(TableError, match=rf"query job test-project:US\.{run.run_id}-input failed \(\w+\)"):
        list(list_splits(run.plan))


def test_a_clock_that_is_behind_does_not_read_the_table_as_it_was_before(
    dataset: str, cloud: Emulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = create(dataset, ID_TEXT_DAY, []).removeprefix("bq://")
    monkeypatch.setattr("transforms.plan_table._now", lambda: dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    plan = plan_table(table, ColumnsRequest())
    with bigquery.Client() as client:
        modified = client.get_table(table).modified
    assert plan.table is not None
    assert dt.datetime.fromisoformat(str(plan.table.snapshot)) == modified + dt.timedelta(milliseconds=1)
    assert plan.inputs[0].version == modified.isoformat()


def test_a_filter_asks_for_as_many_streams_as_its_partitions_fill() -> None:
    class Client:
        def query(self, query: str, **_: Any) -> Any:
            return SimpleNamespace(total_bytes_processed=10 if "WHERE" in query else 200)

    from transforms.plan_table import expected

    table = SimpleNamespace(num_rows=1000, num_bytes=5000, require_partition_filter=False)
    assert expected(Client(), table, "p.d.t", ["id"], None) == (1000, 5000)
    assert expected(Client(), table, "p.d.t", ["id"], "day = 1") == (50, 250)
    table.require_partition_filter = True
    assert expected(Client(), table, "p.d.t", ["id"], "day = 1") == (2, 10)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"input": "bq://p.d.t$20261121"},
            r"no partition decorators; choose rows with --input-filter \"day = '{date}'\"",
        ),
        ({"input": "bq://p.d.t@-3600"}, "no decorators"),
        ({"input": "bq://p.d.t*"}, "a wildcard.*--input-query"),
        ({"input": "bq://d.t"}, "is not of the form bq://project.dataset.table"),
        ({"input": "bq://p:d.t"}, "is not of the form bq://project.dataset.table"),
        ({"input": ["bq://p.d.t", "x.parquet"]}, "a table is the only input"),
        ({"input": "x.parquet", "input_filter": "a = 1"}, "--input-filter chooses rows of a table"),
        ({"input_query": "q.sql", "input_filter": "a = 1"}, "write it into the WHERE of --input-query"),
        ({"input": "bq://p.d.t", "input_query": "q.sql"}, "takes the place of --input"),
        ({"input": "bq://p.d.t", "format": "parquet"}, "--format is for files"),
        ({"input": "bq://p.d.t", "id_from": "position"}, "--id-from position is for files.*--id-column"),
        ({"input_query": "q.sql", "id_from": "position"}, r"--id-from position is for files.*GENERATE_UUID\(\)"),
        ({}, "--input is missing"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_job(None, {"bundle": "b", "output": "o", **flags})


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_query_that_is_no_text_file_is_refused(classes: Built, tmp_path: Path, content: bytes | None) -> None:
    job = query_job(classes, tmp_path, "")
    Path(str(job.input_query)).unlink()
    if content:
        Path(str(job.input_query)).write_bytes(content)
    with pytest.raises(ConfigError, match=r"--input-query .*input\.sql: (there is no such file|is not UTF-8)"):
        prepare(job, NOW)


@pytest.mark.parametrize("kind", [field.field_type for field in FIELDS[:-2]] + ["GEOGRAPHY", "BIGNUMERIC"])
def test_types_are_those_that_google_s_own_client_gives(kind: str) -> None:
    from google.cloud.bigquery._pyarrow_helpers import bq_to_arrow_scalars

    expected = bq_to_arrow_scalars(kind)()
    assert arrow_type(SchemaField("c", kind)) == expected
    assert arrow_type(SchemaField("c", kind, mode="REPEATED")) == pa.list_(expected)


def test_what_is_unfit_is_so_inside_a_record_too() -> None:
    days = SchemaField("days", "RANGE", range_element_type="DATE")
    assert arrow_type(days) == pa.struct([("start", pa.date32()), ("end", pa.date32())])
    outer = SchemaField("a", "RECORD", fields=[days, SchemaField("b", "RECORD", fields=[SchemaField("c", "NEWER")])])
    assert (arrow_type(outer), unfit(outer)) == (None, "a.b.c is NEWER")


def test_google_s_clients_are_imported_where_they_are_needed_and_not_before() -> None:
    eager = set()
    for file in [*(ROOT / "transforms").glob("*.py"), *(ROOT / "pipeline").glob("*.py")]:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] in ("google", "grpc") for name in names):
                eager.add(file.name)
    # The store of gs:// is itself imported on demand.
    assert eager == {"gcs.py"}
