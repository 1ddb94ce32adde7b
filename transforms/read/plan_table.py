"""The plan of a run that reads BigQuery: metadata and dry runs only, nothing that is paid for."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from transforms.batches.schemas import Columns
from transforms.bigquery import clients
from transforms.bigquery.arrow_types import arrow_type, known_parts, unfit
from transforms.bigquery.clients import default_project
from transforms.bigquery.names import SCHEME
from transforms.errors import NoInputError, PlanError
from transforms.read.columns import ColumnsRequest, SchemaUnion, require_columns, resolve
from transforms.read.values.paths import with_paths
from transforms.runs.plan import Plan, TableInput
from transforms.stores.store import FileInfo

_NOT_READ = ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL")


def plan_table(
    name: str, request: ColumnsRequest, *, restriction: str | None = None, allow_missing: bool = False
) -> Plan:
    """The plan to read the table `project.dataset.table` as it is now, or the rows `restriction` lets through.

    Raises NoInputError when there is no such table (unless `allow_missing`), and PlanError when it has no such
    columns, one of a type that Parquet cannot hold, or BigQuery refuses.
    """
    source = SCHEME + name
    flag = "--input" if restriction is None else "--input-filter"
    # Before the table is looked at: what is written meanwhile is not in `modified`, and must not be read.
    now = _now()
    try:
        with _refusals(source, flag):
            client = _client(name.rsplit(".", 2)[0])
            table = client.get_table(name)
            if table.table_type in _NOT_READ:
                raise PlanError(
                    f"{source}: is a {table.table_type.lower().replace('_', ' ')}, which the Storage Read API does not "
                    "read; select from it with --input-query"
                )
            columns = _columns(table.schema, request, source)
            rows, size = expected(client, table, name, columns.selected, restriction)
            project = client.project
    except NoInputError:
        if not allow_missing:
            raise
        return _nothing(request)
    planned = TableInput(
        source=source,
        project=project,
        columns=tuple(columns.selected),
        table=name,
        restriction=restriction,
        snapshot=_snapshot(now, table.modified),
        location=table.location,
        rows=rows,
        bytes=size,
    )
    # Rows that still are in the streaming buffer are in no count.
    info = FileInfo(path=source, size=table.num_bytes, version=table.modified.isoformat())
    return Plan(columns=columns, inputs=(info,), rows=rows, exact=False, table=planned)


def plan_query(source: str, query: str, request: ColumnsRequest, *, allow_missing: bool = False) -> Plan:
    """The plan to read the result of `query`, which stands in the file `source`; nothing is run but a dry run.

    Raises NoInputError when a table of the query is not there (unless `allow_missing`), and PlanError as plan_table.
    """
    try:
        with _refusals(source, "--input-query"):
            client = _client(None)
            job = _dry_run(client, query)
            project = client.project
    except NoInputError:
        if not allow_missing:
            raise
        return _nothing(request)
    if job.statement_type != "SELECT" or not job.schema:
        raise PlanError(f"{source}: is no query but {job.statement_type or 'empty'}; --input-query takes one SELECT")
    columns = _columns(job.schema, request, source)
    size = job.total_bytes_processed or 0
    planned = TableInput(
        source=source,
        project=project,
        columns=tuple(columns.selected),
        query=query,
        location=job.location,
    )
    # What a query gives depends on the time: two runs of it never read the same.
    info = FileInfo(path=source, size=size, version=_now().isoformat(timespec="microseconds"))
    return Plan(columns=columns, inputs=(info,), exact=False, table=planned)


def expected(client: Any, table: Any, name: str, columns: list[str], restriction: str | None) -> tuple[int, int]:
    """About how many rows and bytes `restriction` lets through: the share that partitions leave, from dry runs.

    They also say what is wrong with a restriction before the run does.
    """
    rows, size = table.num_rows, table.num_bytes
    if restriction is None:
        return rows, size
    parts = (".".join(f"`{part}`" for part in column.split(".")) for column in columns)
    select = f"SELECT {', '.join(parts)} FROM `{name}`"
    part = _dry_run(client, f"{select} WHERE (\n{restriction}\n)").total_bytes_processed
    # A table that requires a filter has no dry run without.
    whole = size if table.require_partition_filter else _dry_run(client, select).total_bytes_processed
    share = min(1.0, part / whole) if whole else 1.0
    return round(rows * share), round(size * share)


def _columns(fields: list[Any], request: ColumnsRequest, source: str) -> Columns:
    kinds = {field.name: arrow_type(field) for field in fields}
    for field in fields:
        needed = request.keeps(field.name) or field.name in (request.id, request.text, request.text_pair)
        if kinds[field.name] is None and needed:
            raise PlanError(
                f"{source}: column {unfit(field)}, which Parquet cannot hold; leave {field.name} out with --keep, or "
                "read it cast to STRING with --input-query"
            )
    schema = pa.schema([pa.field(name, kind or pa.null()) for name, kind in kinds.items()])
    parts = {field.name: known_parts(field) for field in fields}
    known = pa.schema([(name, kind) for name, kind in parts.items() if kind is not None])
    inside, paths = with_paths(known, request.asked)
    schema = pa.schema([*schema, *(inside.field(name) for name in paths)])
    require_columns(schema, request, source)
    union = SchemaUnion(request, loose=False)
    union.add(schema, source)
    return resolve(union.schema, request, paths=paths)


def _nothing(request: ColumnsRequest) -> Plan:
    return Plan(columns=resolve(pa.schema([]), request))


def _snapshot(now: dt.datetime, modified: dt.datetime) -> str:
    # A clock that is behind must not read the table as it was before it was written; `modified` has milliseconds.
    return max(now, modified + dt.timedelta(milliseconds=1)).isoformat(timespec="microseconds")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _dry_run(client: Any, query: str) -> Any:
    from google.cloud.bigquery import QueryJobConfig

    return client.query(query, job_config=QueryJobConfig(dry_run=True, use_query_cache=False))


def _client(project: str | None) -> Any:
    project = default_project() or project
    if project is None:
        raise PlanError("--input-query: no project to run it in; name one in the variable GOOGLE_CLOUD_PROJECT")
    return clients.client(project)


@contextmanager
def _refusals(source: str, flag: str) -> Iterator[None]:
    """What BigQuery answers a plan as an error of ours. It has seen no row yet: its message quotes nobody."""
    from google.api_core.exceptions import BadRequest, Forbidden, NotFound
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except NotFound as error:
        raise NoInputError(f"{source}: {_said(error)}; is it written yet?") from error
    except BadRequest as error:
        raise PlanError(f"{source}: {_said(error)}; correct {flag}") from error
    except Forbidden as error:
        raise PlanError(f"{source}: {_said(error)}; ask for access to it") from error
    except GoogleAuthError as error:
        raise PlanError(f"{source}: {str(error).splitlines()[0]}") from error


def _said(error: Any) -> str:
    message = next((part.get("message") for part in error.errors), None) or error.message
    return str(message).splitlines()[0].rstrip(". ")
