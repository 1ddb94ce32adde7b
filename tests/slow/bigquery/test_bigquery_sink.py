"""Whole jobs that publish into a BigQuery table: what arrives there, and what is refused before anything is scored."""

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.cloud import bigquery
from support.bundles import Built
from support.cloud.bigquery_proxy import BigQueryProxy, failed
from support.cloud.emulators import Emulators
from support.cloud.table_publishing import Place, assert_same_rows, parquet_rows
from support.commands import invoke, run_command
from support.jobs import DATE, NOW, many_texts, prepared, write_parquet

from pipeline.errors import ConfigError, RunFailedError
from pipeline.jobs.config import JobConfig, load_job
from pipeline.scoring import score
from transforms.errors import PlanError
from transforms.runs.run import read_manifest
from transforms.runs.verdict_record import Verdict
from transforms.stores.choose import store_for
from transforms.stores.paths import join

DAY = dt.date.fromisoformat(DATE)
COUNT = 40


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Rows with kept columns of many types; one is blank and so a dead letter."""
    return write_source(tmp_path / "in.parquet")


def write_source(path: Path, count: int = COUNT) -> Path:
    numbers = range(count)
    kept = {
        "amount": pa.array([None if n == 3 else n / 7 for n in numbers], pa.float64()),
        "size": pa.array([n - 2**40 for n in numbers], pa.int64()),
        "tags": pa.array([[f"t{n}", "é"][: n % 3] for n in numbers], pa.list_(pa.string())),
        "seen": pa.array([NOW - dt.timedelta(seconds=n) for n in numbers], pa.timestamp("us", tz="UTC")),
        "day": pa.array([DAY - dt.timedelta(days=n) for n in numbers], pa.date32()),
        "good": pa.array([n % 2 == 0 for n in numbers]),
    }
    texts = [" ", *many_texts(count - 1)]
    return write_parquet(path, pa.table({"id": [f"r{n}" for n in numbers], "text": texts, **kept}))


def job(place: Place, classes: Built, source: Path, **settings: Any) -> JobConfig:
    outputs = [f"bq://{place.table}", *([place.home] if place.staging else [])]
    given = {"output": outputs, "staging": place.staging or place.home, "max_dead_fraction": 0.5, "date": DATE}
    return JobConfig(bundle=str(classes.path), input=str(source), **{**given, **settings})


def run(place: Place, classes: Built, source: Path, **settings: Any) -> Verdict:
    return score(job(place, classes, source, **settings), now=NOW)


def make(table: str, *fields: tuple[str, ...]) -> None:
    with bigquery.Client(project="test-project") as client:
        client.create_table(bigquery.Table(table, [bigquery.SchemaField(*field) for field in fields]))


# === What arrives ===


def test_the_table_holds_what_the_files_hold(place: Place, classes: Built, source: Path) -> None:
    assert run(place, classes, source, dead_letters_table=True).status == "published"
    rows = place.rows()
    assert len(rows) == COUNT - 1
    assert_same_rows(rows, parquet_rows(place.home))
    for row in rows:
        assert row["probabilities"][0] == {"label": row["label"], "probability": row["probability"]}
        assert sum(pair["probability"] for pair in row["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert len(row["probabilities"]) == 3
    assert_same_rows(place.dead_letters(), parquet_rows(place.home, key="dead_letters"))
    assert [row["id"] for row in place.dead_letters()] == ["r0"]
    assert place.tables() == {"", "__dead_letters", "__published"}


def test_a_later_run_with_fewer_rows_replaces_the_date_and_no_other(
    place: Place, classes: Built, source: Path, tmp_path: Path
) -> None:
    run(place, classes, source)
    run(place, classes, source, date="2026-11-20")
    other = place.rows(DAY - dt.timedelta(days=1))
    assert run(place, classes, write_source(tmp_path / "fewer.parquet", 5)).status == "published"
    assert sorted(row["id"] for row in place.rows()) == ["r1", "r2", "r3", "r4"]
    assert place.records()[0]["sequence"] == 2
    assert_same_rows(place.rows(DAY - dt.timedelta(days=1)), other)
    assert place.tables() == {"", "__published"}, "dead letters go to a table only when asked"


def test_the_table_is_partitioned_clustered_and_described(classes: Built, source: Path, place: Place) -> None:
    run(place, classes, source, dead_letters_table=True)
    with bigquery.Client(project="test-project") as client:
        for name, clustering in ((place.table, "id"), (f"{place.table}__dead_letters", "code")):
            table = client.get_table(name)
            partitioning = table.time_partitioning
            assert (partitioning.type_, partitioning.field) == ("DAY", "logical_date")
            assert table.clustering_fields == [clustering]
            assert table.description
            assert all(field.description for field in table.schema)
        modes = {field.name: field.mode for field in client.get_table(place.table).schema}
    assert {name for name, mode in modes.items() if mode != "REQUIRED"} == {
        *("amount", "size", "tags", "seen", "day", "good", "probabilities")
    }


def test_a_regression_publishes_values(place: Place, regression: Built, source: Path) -> None:
    run(place, regression, source, keep="none")
    rows = place.rows()
    assert_same_rows(rows, parquet_rows(place.home))
    assert all(isinstance(row["value"], float) for row in rows)


def test_a_date_without_input_makes_an_empty_table(place: Place, classes: Built, tmp_path: Path) -> None:
    assert run(place, classes, tmp_path / "none.parquet", allow_missing=True).status == "published"
    assert (place.rows(), place.records()[0]["rows"]) == ([], 0)


def test_a_table_whose_columns_are_in_another_order_is_filled_by_name(
    place: Place, classes: Built, source: Path
) -> None:
    sink = prepared(job(place, classes, source, keep="size,good"), NOW).sink
    assert sink
    resource = sink.resources[0]
    resource["schema"]["fields"] = [*resource["schema"]["fields"][::-1], {"name": "mine", "type": "STRING"}]
    with bigquery.Client(project="test-project") as client:
        client.create_table(bigquery.Table.from_api_repr(resource))
    run(place, classes, source, keep="size,good")
    rows = place.rows()
    assert {row.pop("mine") for row in rows} == {None}
    expected = parquet_rows(place.home)
    assert_same_rows([{name: row[name] for name in expected[0]} for row in rows], expected)


def test_a_table_that_exists_gets_the_column_that_a_flag_asks_for(place: Place, classes: Built, source: Path) -> None:
    run(place, classes, source, keep="size")
    least = sorted(row["probability"] for row in place.rows())[COUNT // 2]
    run(place, classes, source, keep="size", min_probability=least)
    rows = place.rows()
    assert [row["decision"] for row in rows] == [
        row["label"] if row["probability"] >= least else "abstain" for row in rows
    ]
    assert {row["decision"] == "abstain" for row in rows} == {True, False}
    # A later job without the flag leaves it null.
    run(place, classes, source, keep="size")
    assert {row["decision"] for row in place.rows()} == {None}


def test_a_table_that_exists_gets_the_vectors_that_a_flag_asks_for(place: Place, classes: Built, source: Path) -> None:
    run(place, classes, source, keep="size")
    run(place, classes, source, keep="size", embeddings="float32")
    rows, expected = place.rows(), parquet_rows(place.home)
    # The new column is the last one of the table.
    assert_same_rows([{name: row[name] for name in expected[0]} for row in rows], expected)
    assert {len(row["embedding"]) for row in rows} == {32}
    # A later job without the flag leaves the lists empty.
    run(place, classes, source, keep="size")
    assert {len(row["embedding"]) for row in place.rows()} == {0}


# === What is refused before anything is scored ===


def test_a_table_with_other_columns_is_refused_by_name(place: Place, classes: Built, source: Path) -> None:
    make(place.table, ("ID", "INTEGER", "REQUIRED"), ("label", "STRING"), ("extra", "STRING", "REQUIRED"))
    with pytest.raises(PlanError) as error:
        run(place, classes, source)
    for difference in (
        "column 'id': found INT64 REQUIRED, wanted STRING REQUIRED",
        "column 'label': found STRING NULLABLE, wanted STRING REQUIRED",
        "column 'probabilities': missing, wanted STRUCT REPEATED",
        "column 'extra': found STRING REQUIRED, and the job has none",
        "partitioning: found none, wanted DAY of logical_date",
        "clustering: found none, wanted id",
    ):
        assert difference in str(error.value)
    assert store_for(place.home).list(place.home) == []


def test_a_table_of_dead_letters_that_is_another_is_refused_when_asked_for(
    place: Place, classes: Built, source: Path
) -> None:
    make(f"{place.table}__dead_letters", ("id", "STRING"))
    prepared(job(place, classes, source), NOW)
    with pytest.raises(PlanError, match=f"{place.table}__dead_letters: is not the table"):
        prepared(job(place, classes, source, dead_letters_table=True), NOW)


def test_columns_that_bigquery_cannot_take_are_refused(place: Place, classes: Built, tmp_path: Path) -> None:
    pairs = pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))
    file = write_parquet(tmp_path / "in.parquet", pa.table({"id": ["a"], "text": ["play"], "pairs": pairs, "a b": [1]}))
    with pytest.raises(PlanError, match=r"'a b' is no name.*; 'pairs' is map<string, int64"):
        run(place, classes, file)
    assert run(place, classes, file, keep="none").status == "published"


def test_a_data_set_that_is_not_there_is_named(place: Place, classes: Built, source: Path) -> None:
    nowhere = Place(home=place.home, table="test-project.nowhere.scores", staging=place.staging)
    with pytest.raises(PlanError, match=r"there is no data set test-project\.nowhere"):
        run(nowhere, classes, source)


def test_a_table_that_another_folder_publishes_into_is_refused(
    place: Place, classes: Built, source: Path, bucket_folder: str
) -> None:
    run(place, classes, source)
    other = Place(home=join(bucket_folder, "other"), table=place.table)
    with pytest.raises(PlanError, match="another folder publishes into this table"):
        run(other, classes, source)
    assert run(other, classes, source, date="2026-11-20").status == "published", "only that date is taken"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"output": ["bq://test-project.d.t"]}, "needs --staging gs://bucket/folder.*manifest and dead letters live"),
        ({"output": ["bq://test-project.d.t", "out"]}, "needs --staging gs://bucket/folder: BigQuery loads from"),
        ({"output": ["bq://test-project.d.t"], "staging": "out"}, "--staging 'out': is no folder on Cloud Storage"),
        ({"output": ["bq://test-project.d.t"], "staging": "gs://b/a*"}, "is no folder on Cloud Storage"),
        ({"output": ["bq://test-project.d.t", "gs://b/a*"]}, r"takes \* for a wildcard"),
        ({"output": ["bq://d.t"]}, "is not of the form bq://project.dataset.table"),
        ({"output": ["a", "b"]}, "one folder, one bq:// table, or one of each"),
        ({"output": ["bq://test-project.d.t", "bq://test-project.d.u"]}, "one folder, one bq:// table, or one of"),
        ({"output": []}, "--output is missing"),
        ({"output": "out", "staging": "gs://b/s"}, "--staging is for an output table"),
        ({"output": "out", "dead_letters_table": True}, "--dead-letters-table is for an output table"),
    ],
)
def test_outputs_that_do_not_fit_together_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_job(None, {"bundle": "b", "input": ["i"], **settings})


def test_homes_and_uploads() -> None:
    def described(*output: str, staging: str | None = None) -> tuple[str, str | None, str]:
        found = JobConfig(bundle="b", input="i", output=output, staging=staging).outputs
        return found.home, found.table, found.uploads

    here = os.path.abspath("out")
    table, name = "bq://test-project.d.t", "test-project.d.t"
    assert described("out") == (here, None, "")
    assert described(table, staging="gs://b/s/") == ("gs://b/s", name, "")
    assert described("out", table, staging="gs://b/s") == (here, name, "gs://b/s")
    assert described(table, "gs://b/out/", staging="gs://b/s") == ("gs://b/out", name, "")
    assert described(table, "gs://b/out") == ("gs://b/out", name, "")


# === Commands ===


def arguments(place: Place, classes: Built, source: Path) -> list[object]:
    outputs = ["--output", f"bq://{place.table}", *(["--output", place.home] if place.staging else [])]
    common = ["--bundle", classes.path, "--input", source, "--date", DATE, "--max-dead-fraction", "1"]
    return [*common, *outputs, "--staging", place.staging or place.home, "--dead-letters-table"]


def test_the_commands_name_the_table(place: Place, classes: Built, source: Path) -> None:
    code, out, _ = invoke("check", *arguments(place, classes, source))
    assert code == 0
    assert f"table    {place.table} (new), loaded from {place.staging or place.home}" in out
    assert store_for(place.home).list(place.home) == []
    code, out, _ = invoke("score", *arguments(place, classes, source))
    assert code == 0
    assert f"  table      {place.table}" in out
    _, out, _ = invoke("score", *arguments(place, classes, source), "--log-format", "json")
    assert json.loads(out.splitlines()[-1])["table"] == place.table
    _, out, _ = invoke("check", *arguments(place, classes, source))
    assert f"table    {place.table}, loaded from {place.staging or place.home}" in out


def test_a_table_without_staging_ends_with_2(classes: Built, source: Path) -> None:
    code, _, err = invoke(
        *("score", "--bundle", classes.path, "--input", source, "--output", "bq://test-project.data.scores")
    )
    assert code == 2
    assert "needs --staging gs://bucket/folder" in err


def test_a_load_that_is_refused_ends_the_run(proxy: BigQueryProxy, place: Place, classes: Built, source: Path) -> None:
    run(place, classes, source)
    before = place.rows()
    proxy.next(9, lambda request: request.load, lambda request: failed(403, "accessDenied", "secret"))
    with pytest.raises(RunFailedError, match=r"PublishError: run .* is not published: .*: 403 accessDenied$"):
        run(place, classes, source)
    proxy.hooks.clear()
    assert_same_rows(place.rows(), before)
    assert run(place, classes, source).status == "published"


def test_a_commit_whose_rows_are_refused_is_completed_by_the_next_command(
    proxy: BigQueryProxy, place: Place, classes: Built, source: Path, tmp_path: Path
) -> None:
    proxy.next(2, lambda request: "BEGIN TRANSACTION" in request.sql, lambda request: failed(403, "accessDenied"))
    with pytest.raises(RunFailedError, match="is committed, but the rows of 2026-11-21 are not replaced"):
        run(place, classes, source)
    assert place.rows() == []
    run(place, classes, source, date="2026-11-20")
    assert_same_rows(place.rows(), parquet_rows(place.home))
    manifest, _ = read_manifest(join(place.home, f"dt={DATE}", "_manifest.json"))
    assert manifest
    assert manifest["finished"]


# === The smoke test for a real project ===


def test_the_smoke_test_runs_on_the_emulators_and_says_what_they_do_not_show(cloud: Emulators) -> None:
    told = run_command([sys.executable, "deploy/gcp_smoke.py", cloud.project, cloud.bucket], seconds=120)
    assert [line.split()[0] for line in told.splitlines()] == ["unknown", "unknown", "ok", "unknown"]
    with bigquery.Client(project=cloud.project) as client:
        assert not [item for item in client.list_datasets() if "smoke" in item.dataset_id]
