"""Loads the staged files of a run into staging tables of its own. May be done twice, and by several processes at once.

The files are loaded from where the run staged them; they stay there until the rows are in the table. Final paths have
`dt=<date>` in them, which some readers take for one more column.
"""

import datetime as dt
import hashlib
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from posixpath import basename
from typing import Any

from transforms.bigquery.clients import client_for, location_of, query, refusals
from transforms.errors import PublishError
from transforms.outputs import deletion
from transforms.publish.table_sink import TableSink, Target, ensure_tables, table_resource
from transforms.runs.run import run_file
from transforms.stores.choose import store_for
from transforms.stores.paths import join

FILES_PER_JOB = 10_000
"""Files of one load job at most, by BigQuery's limit."""
ATTEMPTS = 3
"""Load jobs that one call starts for a table at most; failed ones of earlier calls are not counted."""
PAUSE = 1.0
EXPIRES = dt.timedelta(days=7)

ManifestFile = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StagingTable:
    """A table of one run and one load job: what it is named, what is loaded, and where its rows go."""

    name: str
    run_id: str
    target: Target
    uris: Sequence[str]
    rows: int

    def job_id(self, attempt: int) -> str:
        return f"{self.run_id}-{hashlib.sha256(self.name.encode()).hexdigest()[:12]}-{attempt}"


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What a run puts into BigQuery for its date: the manifest it commits, and the home folder its parts lie in."""

    home: str
    sink: TableSink
    manifest: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        return str(self.manifest["run_id"])

    @property
    def sequence(self) -> int:
        return int(self.manifest["sequence"])

    @property
    def date(self) -> dt.date:
        return dt.date.fromisoformat(self.manifest["logical_date"])

    @property
    def uploads(self) -> str:
        """The gs:// folder for copies of files that lie on a local disk; empty if none do."""
        return run_file(self.sink.staging, self.run_id, "load") if self.sink.staging else ""

    def uri(self, part: ManifestFile) -> str:
        """Where BigQuery loads a file from."""
        return join(self.uploads, basename(part["staged"])) if self.uploads else join(self.home, part["staged"])

    @property
    def staging_tables(self) -> list[StagingTable]:
        """One for each load job, and one without a job for a target that gets no rows."""
        return [table for target in self.sink.targets for table in self._staging_tables(target)]

    def _staging_tables(self, target: Target) -> list[StagingTable]:
        parts: Sequence[ManifestFile] = self.manifest[target.key]
        name = f"{target.name}__staging_{re.sub('[^A-Za-z0-9]', '_', self.run_id)}"
        chunks = [parts[start : start + FILES_PER_JOB] for start in range(0, len(parts), FILES_PER_JOB)] or [()]
        return [
            StagingTable(
                name=f"{name}_{number}" if number else name,
                run_id=self.run_id,
                target=target,
                uris=[self.uri(part) for part in chunk],
                rows=sum(part["rows"] for part in chunk),
            )
            for number, chunk in enumerate(chunks)
        ]


def publication_of(home: str, manifest: Mapping[str, Any]) -> Publication | None:
    """What the run of this manifest puts into BigQuery, or None if its job has no table."""
    sink = manifest.get("table")
    return Publication(home=home, sink=TableSink(**sink), manifest=manifest) if sink else None


def load(publication: Publication) -> None:
    """Makes the tables, and loads the run's own staging tables unless they hold its rows.

    Raises PublishError if a table is not as the job needs it, a load job fails three times, or rows are missing.
    """
    ensure_tables(publication.sink)
    missing = [table for table in publication.staging_tables if rows_in(table.name) != table.rows]
    if missing and publication.uploads:
        _upload(publication)
    for table in missing:
        _load(table)


def rows_in(table: str) -> int | None:
    """Rows of a table by SQL (its metadata may lag behind), or None if there is no such table."""
    from google.api_core.exceptions import NotFound

    with refusals(f"{table}: cannot be counted"):
        try:
            return int(query(table, f"SELECT COUNT(*) AS n FROM `{table}`")[0].n)
        except NotFound:
            return None


def drop(publication: Publication) -> None:
    """Drops the run's staging tables and deletes what was uploaded; what is already gone is no error.

    Raises PublishError if the service refuses.
    """
    # The uploads first: the tables expire by themselves.
    if publication.uploads:
        staging = publication.sink.staging
        with refusals(f"{publication.uploads}: cannot be deleted"):
            # The plan of the run lies in the home folder.
            deletion.delete(staging, deletion.listed(staging, f"_runs/{publication.run_id}/load"), [publication.run_id])
    for table in publication.staging_tables:
        with refusals(f"{table.name}: cannot be dropped"):
            client_for(table.name).delete_table(table.name, not_found_ok=True)


def _upload(publication: Publication) -> None:
    def upload(part: ManifestFile) -> None:
        source, target = join(publication.home, part["staged"]), publication.uri(part)
        if store_for(target).checksum(target) == part["checksum"]:
            return
        with store_for(source).open(source) as read, store_for(target).create(target) as write:
            shutil.copyfileobj(read, write, 1 << 20)
        if store_for(target).checksum(target) != part["checksum"]:
            raise PublishError(f"{source}: is not the file that the run wrote; start the run again")

    parts = [part for target in publication.sink.targets for part in publication.manifest[target.key]]
    # Few at a time: each upload holds a chunk of 8 MiB.
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upload, parts))


def _load(table: StagingTable) -> None:
    with refusals(f"{table.name}: cannot be loaded"):
        failed, attempt, tried = "", 0, 0
        while tried < ATTEMPTS:
            attempt += 1
            _create(table)
            if not table.uris:
                return
            job, ended_before = _run_job(table, attempt)
            tried += not ended_before
            if job.error_result:
                if not ended_before and tried < ATTEMPTS:
                    time.sleep(PAUSE * tried)
                failed = job.error_result.get("reason", "unknown")
                continue
            found = rows_in(table.name)
            if found == table.rows:
                return
            # A table younger than its job is another one: the job's own has expired, or a publisher that was done with
            # it has dropped it.
            if found is not None and client_for(table.name).get_table(table.name).created <= job.ended:
                raise PublishError(
                    f"{table.name}: holds {found:,} rows after load job {job.job_id}, the manifest says {table.rows:,}"
                )
            failed = "its table was dropped"
    raise PublishError(
        f"{table.name}: load job {table.job_id(attempt)} failed ({failed}), and {ATTEMPTS - 1} before it; "
        "`bq show --job` says more"
    )


def _create(table: StagingTable) -> None:
    from google.cloud import bigquery

    expires = dt.datetime.now(dt.UTC) + EXPIRES
    resource = table_resource(table.name, table.target.fields, f"Rows of run {table.run_id} before they are published")
    made = bigquery.Table.from_api_repr({**resource, "expirationTime": str(int(expires.timestamp() * 1000))})
    client_for(table.name).create_table(made, exists_ok=True)


def _run_job(table: StagingTable, attempt: int) -> tuple[Any, bool]:
    """The finished load job number `attempt`, whoever started it, and whether it had ended before it was asked for."""
    from google.api_core import retry
    from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound
    from google.cloud import bigquery

    listed = bigquery.ParquetOptions()
    # Without it BigQuery fills every list column with empty arrays, and reports success.
    listed.enable_list_inference = True
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        schema=[bigquery.SchemaField.from_api_repr(field) for field in table.target.fields],
        parquet_options=listed,
        decimal_target_types=["NUMERIC", "BIGNUMERIC"],
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
    )
    client, place = client_for(table.name), {"job_id": table.job_id(attempt), "location": location_of(table.name)}
    ended_before = False
    try:
        job = client.load_table_from_uri(table.uris, table.name, job_config=config, **place)
    except Conflict:
        # For a moment the service may know only that there is such a job.
        patient = retry.Retry(predicate=retry.if_exception_type(NotFound), timeout=60)
        job = client.get_job(**place, retry=patient)
        ended_before = job.state == "DONE"
    try:
        job.result()
    except GoogleAPICallError:
        if not job.error_result:
            raise
    return job, ended_before
