"""The result of a query as the input; which flags go together; how types of BigQuery become types of Arrow."""

import ast
import datetime as dt
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from support.bundles import Built
from support.cloud.emulators import Emulators
from support.cloud.input_tables import (
    FIELDS,
    ID_TEXT_DAY,
    create,
    read_all,
    run_of,
    simple,
)
from support.cloud.storage_proxy import StorageProxy
from support.commands import ROOT
from support.jobs import DATE, NOW, Outcome, prepared

from pipeline.errors import ConfigError
from pipeline.jobs.config import JobConfig, load_job
from pipeline.scoring import score
from transforms.bigquery.arrow_types import arrow_type, unfit
from transforms.errors import NoInputError, PlanError, TableError
from transforms.read.columns import ColumnsRequest
from transforms.read.plan_table import plan_table
from transforms.read.step import list_splits

pytestmark = pytest.mark.usefixtures("two_minutes")


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

    monkeypatch.setattr("transforms.read.table_session.result_table", result)


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
    classes: Built, dataset: str, storage_proxy: StorageProxy, tmp_path: Path
) -> None:
    create(dataset, ID_TEXT_DAY, simple(6))
    plan = prepared(query_job(classes, tmp_path, f"SELECT id, text FROM `{dataset}.rows`"), NOW).plan
    run = run_of(plan, tmp_path / "out")
    first = read_all(plan, list(list_splits(run.plan)))
    # The first try died between its query and its session; meanwhile there are more rows.
    Path(run.file("session.json")).unlink()
    with bigquery.Client() as client:
        started = client.get_job(f"{run.run_id}-input").started
        assert client.insert_rows_json(f"{dataset}.rows", [{"id": 7, "text": "late"}]) == []
        assert read_all(plan, list(list_splits(run.plan))) == first
        assert client.get_job(f"{run.run_id}-input").started == started
    tables = {request.read_session.table for request in storage_proxy.sessions}
    assert (len(first), len(tables), len(storage_proxy.sessions)) == (6, 1, 2)


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("SELECT id, text FROM `{dataset}.missing`", NoInputError, "missing.*is it written yet"),
        ("SELECT id, nope FROM `{dataset}.rows`", PlanError, "nope.*; correct --input-query"),
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
        prepared(query_job(classes, tmp_path, query.replace("{dataset}", dataset)), NOW)


def test_a_query_that_fails_names_its_job_and_quotes_no_value(dataset: str, tmp_path: Path, classes: Built) -> None:
    create(dataset, ID_TEXT_DAY, simple(3))
    plan = prepared(query_job(classes, tmp_path, f"SELECT id, text FROM `{dataset}.rows`"), NOW).plan
    run = run_of(plan, tmp_path / "out")
    with bigquery.Client() as client:
        client.delete_table(f"{dataset}.rows")
    with pytest.raises(TableError, match=rf"query job test-project:US\.{run.run_id}-input failed \(\w+\)"):
        list(list_splits(run.plan))


def test_a_clock_that_is_behind_does_not_read_the_table_as_it_was_before(
    dataset: str, cloud: Emulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = create(dataset, ID_TEXT_DAY, []).removeprefix("bq://")
    monkeypatch.setattr("transforms.read.plan_table._now", lambda: dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
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

    from transforms.read.plan_table import expected

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
        prepared(job, NOW)


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
    for file in [*(ROOT / "transforms").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")]:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] in ("google", "grpc") for name in names):
                eager.add(file.name)
    # The store of gs:// is itself imported on demand, and it alone imports what names refusals.
    assert eager == {"gcs.py", "gcs_refusals.py"}
