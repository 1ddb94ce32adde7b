"""BigQuery: names of tables, what a run reads of one, and Google's clients, imported only where they are needed."""

import functools
import os
import re
from typing import Any

SCHEME = "bq://"
_NAME = re.compile(r"(?P<project>(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]*)\.(?P<dataset>\w+)\.(?P<table>[\w -]+)")
_UNFIT = {
    "$": "the Storage Read API knows no partition decorators; choose rows with --input-filter \"day = '{date}'\"",
    "@": "the Storage Read API knows no decorators; select what you need with --input-query",
    "*": "a wildcard names several tables; read them with --input-query",
}


def is_table(path: str) -> bool:
    """Whether an input is a BigQuery table and not a file."""
    return path.startswith(SCHEME)


def table_name(path: str) -> str:
    """`project.dataset.table` of `bq://project.dataset.table`; raises ValueError with the way out."""
    unfit = next((why for character, why in _UNFIT.items() if character in path), None)
    if unfit is not None:
        raise ValueError(f"{path}: {unfit}")
    name = path.removeprefix(SCHEME)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{path}: is not of the form {SCHEME}project.dataset.table")
    return name


def table_path(name: str) -> str:
    """The table `project.dataset.table` as the Storage API names it."""
    project, dataset, table = name.rsplit(".", 2)
    return f"projects/{project}/datasets/{dataset}/tables/{table}"


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
