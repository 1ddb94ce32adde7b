"""Google's clients of BigQuery, one a process; the libraries are imported when a job first needs them."""

import datetime as dt
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transforms.errors import PublishError

_PARAMETER_TYPES = {dt.date: "DATE", int: "INT64", str: "STRING"}


def client(project: str) -> Any:
    """The client for jobs of `project`, with the application default credentials.

    `BIGQUERY_EMULATOR_HOST` (with its scheme) names another server.
    """
    # One a process: connections inherited by fork would be shared with the parent.
    return _client_of(project, os.getpid(), os.environ.get("BIGQUERY_EMULATOR_HOST"))


def client_for(table: str) -> Any:
    """The client for jobs of the project of `table` (`project.dataset.table`)."""
    return client(table.rsplit(".", 2)[0])


def location_of(table: str) -> str:
    """Where the dataset of `table` is, which every job on it must be told; raises NotFound without the dataset."""
    return _location_of(table.rsplit(".", 1)[0], os.environ.get("BIGQUERY_EMULATOR_HOST"))


@functools.cache
def _client_of(project: str, process: int, emulator: str | None) -> Any:
    from google.cloud import bigquery

    return bigquery.Client(project=project)


@functools.cache
def _location_of(dataset: str, emulator: str | None) -> str:
    return str(client(dataset.rsplit(".", 1)[0]).get_dataset(dataset).location)


def query(table: str, sql: str, **parameters: dt.date | int | str) -> list[Any]:
    """Runs one statement where `table` is, and gives its rows; `@name` in it stands for a parameter."""
    from google.cloud import bigquery

    given = [
        bigquery.ScalarQueryParameter(name, _PARAMETER_TYPES[type(value)], value) for name, value in parameters.items()
    ]
    config = bigquery.QueryJobConfig(query_parameters=given)
    return list(client_for(table).query(sql, job_config=config, location=location_of(table)).result())


def default_project() -> str | None:
    """The project that the environment or the credentials name, if any; raises GoogleAuthError without credentials."""
    import google.auth

    return google.auth.default()[1]  # type: ignore[no-any-return]


def read_client() -> Any:
    """The `BigQueryReadClient` of this process. BIGQUERY_STORAGE_EMULATOR_HOST=host:port sends it to an emulator."""
    return _read_client(os.environ.get("BIGQUERY_STORAGE_EMULATOR_HOST"))


@functools.cache
def _read_client(emulator: str | None) -> Any:
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

    if emulator is None:
        return BigQueryReadClient()
    import grpc

    transport = BigQueryReadClient.get_transport_class("grpc")
    # The client lifts gRPC's limit of 4 MB a message only on channels that it makes itself.
    channel = grpc.insecure_channel(emulator, options=[("grpc.max_receive_message_length", -1)])
    return BigQueryReadClient(transport=transport(channel=channel))


@contextmanager
def refusals(doing: str) -> Iterator[None]:
    """Makes a PublishError of what the service refuses inside, without its message: it may quote a row."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError) as error:
        raise PublishError(f"{doing}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What the service answered, by code and reason."""
    details = [item for item in getattr(error, "errors", None) or [] if isinstance(item, dict)]
    named = details[0].get("reason") if details else None
    code = getattr(error, "code", None)
    return f"{'' if code is None else f'{int(code)} '}{named or type(error).__name__}"
