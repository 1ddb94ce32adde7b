"""The tables a job publishes into: rows, dead letters, and the record of what is published; compared and created."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from transforms.batches.schemas import DEAD_LETTERS, UTC_MICROS
from transforms.bigquery.clients import client_for, location_of, query, refusals
from transforms.bigquery.fields import (
    REJECTS,
    SCORES,
    Field,
    add_column,
    added,
    differences,
    table_fields,
    to_add,
)
from transforms.bigquery.names import SCHEME
from transforms.errors import PlanError, PublishError

_RECORD = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in (
            ("logical_date", pa.date32()),
            ("sequence", pa.int64()),
            ("run_id", pa.string()),
            ("bundle", pa.string()),
            ("rows", pa.int64()),
            ("published_at", UTC_MICROS),
        )
    ]
)
_RECORD_DESCRIPTIONS = {
    "logical_date": "Date whose rows are published; one row each",
    "sequence": "Times the date was published; 0 while it is published for the first time",
    "run_id": "Run whose rows the date has",
    "bundle": "name@fingerprint of the bundle",
    "rows": "Rows of the date",
    "published_at": "When its rows became visible",
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A table that takes the parts a manifest lists under `key`. `fields` as the REST API has them."""

    name: str
    key: str
    fields: list[Field]
    clustering: str
    description: str

    @property
    def resource(self) -> dict[str, Any]:
        """The table as the REST API describes it."""
        return {
            **table_resource(self.name, self.fields, self.description),
            "timePartitioning": {"type": "DAY", "field": "logical_date"},
            "clustering": {"fields": [self.clustering]},
        }


@dataclass(frozen=True, kw_only=True)
class TableSink:
    """Where in BigQuery the rows of a job go; plain values, so that plan and manifest can hold it.

    `table` is `project.dataset.table`, `fields` are its columns; `dead_letters` says whether they go to
    `<table>__dead_letters`; `staging` is the gs:// folder that parts are copied to, empty if they are on gs:// anyway.
    """

    table: str
    fields: list[Field] = field(repr=False)
    dead_letters: bool = False
    staging: str = ""

    @property
    def published(self) -> str:
        """The table that says which run each date has its rows from."""
        return f"{self.table}__published"

    @property
    def targets(self) -> list[Target]:
        """The tables that rows are loaded into."""
        rows = Target(
            name=self.table,
            key="files",
            fields=self.fields,
            clustering="id",
            description="Scores of texts, one row for each text and logical date",
        )
        dead = Target(
            name=f"{self.table}__dead_letters",
            key="dead_letters",
            fields=table_fields(DEAD_LETTERS, REJECTS),
            clustering="code",
            description="Rows that could not be scored, and why",
        )
        return [rows, dead] if self.dead_letters else [rows]

    @property
    def resources(self) -> list[dict[str, Any]]:
        """Every table the sink needs, as the REST API describes it."""
        record = table_resource(
            self.published, table_fields(_RECORD, _RECORD_DESCRIPTIONS), f"Which run each date of {self.table} is from"
        )
        return [*(target.resource for target in self.targets), record]

    def to_json(self) -> dict[str, Any]:
        """The sink as plain values, for `TableSink(**values)`."""
        return asdict(self)


def table_sink(
    table: str, files: pa.Schema, *, dead_letters: bool, staging: str, kept: Collection[str] = ()
) -> TableSink:
    """The sink for files of this schema, of which the columns `kept` are the user's own.

    Raises PlanError naming the columns that BigQuery cannot take.
    """
    own = {path: text for path, text in SCORES.items() if path.split(".")[0] not in kept}
    return TableSink(table=table, fields=table_fields(files, own), dead_letters=dead_letters, staging=staging)


def table_resource(name: str, fields: list[Field], description: str) -> dict[str, Any]:
    """A plain table as the REST API describes it."""
    project, dataset, table = name.rsplit(".", 2)
    return {
        "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
        "schema": {"fields": fields},
        "description": description,
    }


def check_tables(sink: TableSink) -> list[str]:
    """Compares every table there is with what the job needs, and gives the names of those that are to be created.

    Raises PlanError naming each difference, or saying why the data set cannot be looked at.
    """
    new = []
    with planning(sink.table):
        for wanted in sink.resources:
            found = _find(wanted)
            if found is None:
                new.append(_name(wanted))
            elif problems := differences(added(found, to_add(found, wanted)), wanted):
                raise PlanError(f"{_name(wanted)}: {_other_table(problems)}")
    return new


def ensure_tables(sink: TableSink) -> None:
    """Creates the tables that are missing, and adds columns that a flag asks for to those that are there.

    Raises PublishError if one has become another than the job needs.
    """
    from google.cloud import bigquery

    for wanted in sink.resources:
        with refusals(f"{_name(wanted)}: cannot be created, or not get a column"):
            found = _find(wanted)
            if found is None:
                client_for(sink.table).create_table(bigquery.Table.from_api_repr(wanted), exists_ok=True)
                continue
            fields = to_add(found, wanted)
            found = added(found, fields)
            if problems := differences(found, wanted):
                raise PublishError(f"{_name(wanted)}: {_other_table(problems)}")
            for column in fields:
                # Two jobs may do it at once, and neither takes a column away that a third has added.
                query(sink.table, add_column(_name(wanted), column))


@contextmanager
def planning(table: str) -> Iterator[None]:
    """Makes a PlanError of what the service answers to a user's mistake; no row is in play yet, so it is quoted."""
    from google.api_core.exceptions import ClientError, NotFound
    from google.auth.exceptions import GoogleAuthError

    dataset = table.rsplit(".", 1)[0]
    try:
        location_of(table)
    except NotFound as error:
        raise PlanError(
            f"{SCHEME}{table}: there is no data set {dataset}; create it first, in the region of the bucket"
        ) from error
    except (ClientError, GoogleAuthError) as error:
        raise PlanError(f"{SCHEME}{table}: {error}") from error
    try:
        yield
    except ClientError as error:
        raise PlanError(f"{SCHEME}{table}: {error}") from error


def _find(wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    from google.api_core.exceptions import NotFound

    try:
        found: dict[str, Any] = client_for(_name(wanted)).get_table(_name(wanted)).to_api_repr()
    except NotFound:
        return None
    return found


def _name(resource: Mapping[str, Any]) -> str:
    return ".".join(resource["tableReference"].values())


def _other_table(problems: list[str]) -> str:
    return (
        f"is not the table this job writes: {'; '.join(problems)}. Change the table (ALTER TABLE), change the columns "
        "with --keep, --rename or --schema, or name another table"
    )
