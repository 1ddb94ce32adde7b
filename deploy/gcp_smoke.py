"""Checks in a real project what emulators cannot show: `python deploy/gcp_smoke.py PROJECT BUCKET`.

Makes a data set and a folder in the bucket, with the application default credentials, and removes both. Prints one line
a check: `ok`, `FAILED`, or `unknown` where an emulator is asked that does not show it.
"""

import datetime as dt
import io
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from google.cloud import bigquery, storage

from transforms.batches.score_columns import scores_schema
from transforms.bigquery.clients import client, query
from transforms.errors import PublishError
from transforms.publish import table_commit
from transforms.publish.table_load import Publication, load, publication_of
from transforms.publish.table_sink import table_sink
from transforms.runs.run import new_run_id, run_file
from transforms.stores import gcs
from transforms.stores.choose import store_for
from transforms.stores.paths import join

DATE = dt.date(2026, 11, 21)
SCHEMA = scores_schema(pa.schema([]), "classification")
EMULATED = bool({"BIGQUERY_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"} & set(os.environ))


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folder and the data set of this execution."""

    folder: str
    dataset: str

    def loadable(self, name: str, sequence: int = 1, ids: Sequence[str | None] = ("a", "b")) -> Publication:
        """A run with a staged file of these ids for the table of this name."""
        now = dt.datetime.now(dt.UTC)
        run_id = new_run_id(now)
        row = {
            "label": "play",
            "probability": 0.75,
            "probabilities": [{"label": "play", "probability": 0.75}, {"label": "book", "probability": 0.25}],
            "token_count": 3,
            "truncated": False,
            "text_hash": 1,
            "logical_date": DATE,
            "bundle": "smoke@0",
            "run_id": run_id,
            "scored_at": now,
        }
        file = io.BytesIO()
        # Nullable in the file, so that only BigQuery can mind a null.
        nullable = pa.schema([field.with_nullable(field.name == "id" or field.nullable) for field in SCHEMA])
        pq.write_table(pa.Table.from_pylist([{"id": id_, **row} for id_ in ids], nullable), file)
        staged = join(run_file(self.folder, run_id, "staged"), "scores.parquet")
        store_for(staged).write(staged, file.getvalue())
        sink = table_sink(f"{self.dataset}.{name}", SCHEMA, dead_letters=False, staging="")
        manifest = {
            "run_id": run_id,
            "sequence": sequence,
            "logical_date": DATE.isoformat(),
            "bundle": "smoke@0",
            "counts": {"scored": len(ids)},
            "table": sink.to_json(),
            "files": [{"path": "", "rows": len(ids), "staged": staged.removeprefix(self.folder + "/")}],
        }
        found = publication_of(self.folder, manifest)
        assert found
        return found


def overtaken_swap_is_refused(place: Place) -> None:
    """Cloud Storage refuses a swap whose manifest another process wrote meanwhile."""
    store, download = store_for(place.folder), gcs._download
    store.write(join(place.folder, "old"), b"seen")
    overtakers: list[str] = []

    def overtaken(path: str) -> tuple[bytes | None, int]:
        found = download(path)
        while overtakers:
            store.write(overtakers.pop(), b"other")
        return found

    for path, old in ((join(place.folder, "old"), b"seen"), (join(place.folder, "new"), None)):
        overtakers.append(path)
        with mock.patch.object(gcs, "_download", overtaken):
            assert not store.swap(path, old, b"mine"), "both writers were told that they had won"
        assert store.read(path) == b"other"


def null_in_a_required_column_fails(place: Place) -> None:
    """A load job fails over a null in a REQUIRED column."""
    problem = ""
    try:
        load(place.loadable("required", ids=("a", None)))
    except PublishError as error:
        problem = str(error)
    assert "load job" in problem, problem or "the null was loaded"


def lists_arrive(place: Place) -> None:
    """A load job fills `probabilities`, and counts what it loaded."""
    run = place.loadable("lists")
    load(run)
    sql = "SELECT COUNTIF(ARRAY_LENGTH(probabilities) = 2) AS n FROM `{}`"
    found = query(run.sink.table, sql.format(run.staging_tables[0].name))[0].n
    assert found == 2, f"{found} of 2 rows have their probabilities"


def one_of_two_transactions_is_retried(place: Place) -> None:
    """Of two transactions at once one is aborted and tried again, and the later run has the date."""
    runs = [place.loadable("race", sequence) for sequence in (1, 2)]
    for run in runs:
        load(run)
    query(runs[0].sink.table, table_commit.reservation(runs[0]), date=DATE)
    barrier, pauses, sleep = threading.Barrier(2), [], time.sleep
    transact = table_commit._transact

    def at_once(publication: Publication, *, first: bool) -> Exception | None:
        if not pauses:
            barrier.wait(60)
        return transact(publication, first=first)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        sleep(seconds)

    with mock.patch.object(table_commit, "_transact", at_once), mock.patch("time.sleep", pause):
        threads = [threading.Thread(target=table_commit.replace_rows, args=(run,)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(600)
    table = runs[0].sink.table
    rows = [row.run_id for row in query(table, f"SELECT run_id FROM `{table}` WHERE logical_date = @date", date=DATE)]
    assert rows == [runs[1].run_id] * 2, f"the date has rows of {sorted(set(rows))}"
    assert len(query(table, f"SELECT run_id FROM `{table}__published`")) == 1
    assert pauses, "the transactions did not meet; try again"


CHECKS: tuple[Callable[[Place], None], ...] = (
    overtaken_swap_is_refused,
    null_in_a_required_column_fails,
    lists_arrive,
    one_of_two_transactions_is_retried,
)


def check(act: Callable[[Place], None], place: Place) -> bool:
    """Prints how one check ended; False if it failed."""
    try:
        act(place)
    except AssertionError as error:
        print(f"{'unknown' if EMULATED else 'FAILED':<9} {act.__doc__} [{error}]", flush=True)
        return EMULATED
    except Exception as error:
        print(f"FAILED    {act.__doc__} [{type(error).__name__}: {error}]", flush=True)
        return False
    print(f"ok        {act.__doc__}", flush=True)
    return True


def main(project: str, bucket: str) -> int:
    """Runs every check; 0 if none failed."""
    name = f"bert_batch_smoke_{uuid.uuid4().hex[:8]}"
    place = Place(folder=f"gs://{bucket}/{name}", dataset=f"{project}.{name}")
    dataset = bigquery.Dataset(place.dataset)
    dataset.location = storage.Client(project=project).get_bucket(bucket).location
    client(project).create_dataset(dataset)
    try:
        return int([check(act, place) for act in CHECKS].count(False) > 0)
    finally:
        client(project).delete_dataset(place.dataset, delete_contents=True, not_found_ok=True)
        # This is no output, where transforms/outputs/deletion.py decides what may go, but a folder whose random name
        # this execution drew: all that is in it is its own.
        for path in store_for(place.folder).list(place.folder):
            store_for(place.folder).delete(path)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not all(sys.argv[1:]):
        sys.exit("usage: make gcp-smoke PROJECT=my-project BUCKET=my-bucket")
    sys.exit(main(*sys.argv[1:]))
