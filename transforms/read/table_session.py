"""The read session of a run: made once, by the first that needs it, and then used by every attempt and every pass.

Its streams are the splits. A second session over the same rows would be cut in other places.
"""

import datetime as dt
import math
from typing import Any

from transforms.bigquery.clients import client, read_client
from transforms.bigquery.names import table_path
from transforms.errors import TableError
from transforms.read.plan_files import split_limits
from transforms.runs.fail_points import step
from transforms.runs.plan import Split, TableInput, _session_file, _table_input, planned_splits, read_plan
from transforms.runs.run import to_bytes
from transforms.stores.choose import store_for

MAX_STREAMS = 1_000
"""The service's own limit."""


def open_splits(plan: str) -> list[Split]:
    """The splits of the run whose plan file is at `plan`; makes its read session if it reads a table and has none yet.

    Raises TableError if BigQuery gives no session or the query of the run fails.
    """
    _, about = read_plan(store_for(plan), plan)
    path = _session_file(plan)
    if (planned := _table_input(about)) is not None and store_for(path).read(path) is None:
        session = _make_session(planned, about["run"]["run_id"])
        # Of several who make one at once, all go on with the first one's.
        with step("write_session"):
            store_for(path).swap(path, None, to_bytes(session))
    return planned_splits(plan)


def _make_session(planned: TableInput, run_id: str) -> dict[str, Any]:
    from google.api_core.exceptions import GoogleAPICallError

    table, rows, size = planned.table, planned.rows, planned.bytes
    if table is None:
        table, rows, size = run_query(planned, f"{run_id}-input")
    most_rows, most_bytes = split_limits(rows, size)
    streams = min(max(1, math.ceil(rows / most_rows), math.ceil(size / most_bytes)), MAX_STREAMS)
    try:
        made = read_client().create_read_session(_request(planned, table, streams))
    except GoogleAPICallError as error:
        # Of the service's own making: no row has been read yet that it could quote.
        raise TableError(f"{planned.source}: BigQuery gives no read session: {error.message}") from error
    # An emulator may say nothing of the end.
    end = made.expire_time.isoformat() if made.expire_time else None
    return {"name": made.name, "table": table, "expires": end, "streams": [stream.name for stream in made.streams]}


def _request(planned: TableInput, table: str, streams: int) -> Any:
    from google.cloud.bigquery_storage_v1 import types

    session = types.ReadSession(
        table=table_path(table),
        data_format=types.DataFormat.ARROW,
        read_options={"selected_fields": planned.columns, "row_restriction": planned.restriction or ""},
    )
    if planned.snapshot is not None:
        session.table_modifiers = {"snapshot_time": dt.datetime.fromisoformat(planned.snapshot)}
    return types.CreateReadSessionRequest(
        parent=f"projects/{planned.project}",
        read_session=session,
        max_stream_count=streams,
        preferred_min_stream_count=streams,
    )


def run_query(planned: TableInput, job_id: str) -> tuple[str, int, int]:
    """Runs the query of a run, unless it has been, and gives the table of its result, with rows and bytes.

    Raises TableError naming the job if it fails.
    """
    from google.api_core.exceptions import Conflict, GoogleAPICallError
    from google.cloud.bigquery import QueryJobConfig

    service, where = client(planned.project), planned.location
    # A cached result may run out before the run does.
    config = QueryJobConfig(use_query_cache=False)
    try:
        try:
            job = service.query(planned.query, job_id=job_id, location=where, job_config=config, job_retry=None)
        except Conflict:
            # An earlier attempt started it.
            job = service.get_job(job_id, location=where)
        job.result()
        return result_table(service, job)
    except GoogleAPICallError as error:
        raise TableError(
            f"{planned.source}: query job {planned.project}:{where}.{job_id} failed "
            f"({type(error).__name__}); its message may quote a value, `bq show --job` has it"
        ) from error


def result_table(service: Any, job: Any) -> tuple[str, int, int]:
    """Name, rows and bytes of the table in which a query job that is done left its result."""
    table = service.get_table(job.destination)
    return f"{table.project}.{table.dataset_id}.{table.table_id}", table.num_rows, table.num_bytes
