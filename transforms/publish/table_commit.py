"""Replaces the rows of a date by those of one run, in one transaction, unless a later run has done so.

The transaction rests on snapshot isolation, and on BigQuery aborting one of two transactions that delete the same row.
Two that only insert, or whose DELETE finds nothing, would both succeed and leave the rows twice. So each deletes the
date's row of `<table>__published`, and a date published for the first time gets one beforehand, with sequence 0.
"""

import datetime as dt
import random
import re
import time
from dataclasses import dataclass

from transforms.bigquery.clients import client_for, location_of, query, reason, refusals
from transforms.errors import PlanError, PublishError
from transforms.publish.table_load import Publication, load
from transforms.publish.table_sink import planning
from transforms.runs.run import read_manifest

TRIES = 12
LONGEST_PAUSE = 60.0
_CONFLICT = re.compile(r"concurrent|serialize", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Record:
    """Which run a date of a table is from; sequence 0 if none has been published yet."""

    sequence: int
    run_id: str


def read_record(table: str, date: dt.date) -> Record | None:
    """What `<table>__published` says about a date, if anything."""
    from google.api_core.exceptions import NotFound

    sql = f"SELECT `sequence`, run_id FROM `{table}__published` WHERE logical_date = @date ORDER BY `sequence` DESC"
    try:
        rows = query(table, sql, date=date)
    except NotFound:
        return None
    return Record(sequence=rows[0].sequence, run_id=rows[0].run_id) if rows else None


def check_record(table: str, date: dt.date, manifest_path: str) -> None:
    """Raises PlanError if the table holds the date from runs that the manifest knows nothing of."""
    with planning(table):
        record = read_record(table, date)
    # Read afterwards: a run swaps the manifest first and the rows of the table then.
    manifest, _ = read_manifest(manifest_path)
    sequence, run_id = (0, "") if manifest is None else (manifest["sequence"], manifest["run_id"])
    if record is None or record.sequence < sequence or (record.sequence, record.run_id) == (sequence, run_id):
        return
    raise PlanError(
        f"{table}: holds {date} from run {record.run_id} (sequence {record.sequence}), but {manifest_path} is at "
        f"{sequence}: another folder publishes into this table, or this one was emptied. Give that folder as --output "
        f"or --staging, or delete the row of the date from {table}__published"
    )


def replace_rows(publication: Publication) -> bool:
    """Makes the rows of the run those of its date; False if the date has a later run's, which then stay.

    Raises PublishError if BigQuery refuses, or transactions of others abort this one again and again.
    """
    error: Exception | None = None
    for tried in range(TRIES + 1):
        with refusals(f"{publication.sink.published}: cannot be read"):
            record = read_record(publication.sink.table, publication.date)
        if record is not None and record.sequence >= publication.sequence:
            return record.run_id == publication.run_id
        if tried == TRIES or (error is not None and not _may_pass(error)):
            break
        if tried:
            time.sleep(random.uniform(0, min(LONGEST_PAUSE, 2.0**tried)))
        load(publication)
        error = _transact(publication, first=record is None)
    raise PublishError(
        f"{publication.sink.table}: run {publication.run_id} is committed, but the rows of {publication.date} are not "
        f"replaced after {tried} tries ({'rows are missing' if error is None else reason(error)}); "
        "the next command with this output tries again"
    ) from error


def _may_pass(error: Exception) -> bool:
    """Whether trying again helps: another transaction was in the way, or a staging table was gone."""
    from google.api_core.exceptions import NotFound

    return isinstance(error, NotFound) or bool(_CONFLICT.search(str(error)))


def _transact(publication: Publication, *, first: bool) -> Exception | None:
    """Runs the transaction and gives the error that the service answered, if any."""
    from google.api_core.exceptions import GoogleAPIError

    table = publication.sink.table
    try:
        if first:
            query(table, reservation(publication), date=publication.date)
        script = transaction(publication, dt.datetime.now(dt.UTC))
        client_for(table).query(script, location=location_of(table)).result()
    except GoogleAPIError as error:
        failure: Exception = error
        return failure
    return None


_COLUMNS = "logical_date, `sequence`, run_id, bundle, `rows`, published_at"


def reservation(publication: Publication) -> str:
    """The statement that gives `@date` a row to delete if it has none."""
    record = f"`{publication.sink.published}`"
    return (
        f"INSERT INTO {record} ({_COLUMNS}) SELECT @date, 0, '', '', 0, CURRENT_TIMESTAMP() FROM (SELECT 1) "
        f"WHERE NOT EXISTS (SELECT 1 FROM {record} WHERE logical_date = @date)"
    )


def transaction(publication: Publication, now: dt.datetime) -> str:
    """The script; `now` tells this execution from others. Nothing changes unless every staging table is complete.

    Values are literals: the emulator knows no parameters in scripts.
    """
    record, date = f"`{publication.sink.published}`", _literal(publication.date)
    row = (publication.date, publication.sequence, publication.run_id, publication.manifest["bundle"])
    rows = sum(part["rows"] for part in publication.manifest["files"])
    values = ", ".join(map(_literal, (*row, rows, now)))
    complete = " AND ".join(f"(SELECT COUNT(*) FROM `{t.name}`) = {t.rows}" for t in publication.staging_tables)
    ours = (
        f"EXISTS (SELECT 1 FROM {record} WHERE logical_date = {date} AND run_id = {_literal(publication.run_id)} "
        f"AND published_at = {_literal(now)})"
    )
    later = f"EXISTS (SELECT 1 FROM {record} WHERE logical_date = {date} AND `sequence` >= {publication.sequence})"
    statements = [
        "BEGIN TRANSACTION",
        f"DELETE FROM {record} WHERE logical_date = {date} AND NOT {later} AND {complete}",
        f"INSERT INTO {record} ({_COLUMNS}) SELECT {values} FROM (SELECT 1) "
        f"WHERE NOT EXISTS (SELECT 1 FROM {record} WHERE logical_date = {date}) AND {complete}",
    ]
    for target in publication.sink.targets:
        statements.append(f"DELETE FROM `{target.name}` WHERE logical_date = {date} AND {ours}")
        columns = ", ".join(f"`{field['name']}`" for field in target.fields)
        statements += [
            f"INSERT INTO `{target.name}` ({columns}) SELECT {columns} FROM `{table.name}` WHERE {ours}"
            for table in publication.staging_tables
            if table.target.name == target.name
        ]
    return ";\n".join([*statements, "COMMIT TRANSACTION;"])


def _literal(value: dt.date | int | str) -> str:
    if isinstance(value, dt.datetime):
        return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S.%f}+00'"
    if isinstance(value, dt.date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, int):
        return str(value)
    escaped = "".join({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r"}.get(c, c) for c in value)
    return f"'{escaped}'"
