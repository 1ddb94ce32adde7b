"""The plan of a run: pieces of files or streams of a table, in splits, written before anything is read."""

import datetime as dt
import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.batches.dialect import Dialect
from transforms.batches.schemas import Columns
from transforms.errors import file_gone
from transforms.outputs.records import broken, is_time, parse, read
from transforms.runs.fail_points import step
from transforms.stores.choose import store_for
from transforms.stores.paths import join
from transforms.stores.store import FileInfo, Store

Folders = tuple[tuple[str, str | None], ...]
"""Keys and values of the folders in the path of a file (`country=de`)."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of one file, or one stream of a BigQuery read session, that is read at once.

    `number` orders all pieces of a plan by file name and place. `start` and `end` are row groups (Parquet) or bytes
    (line formats; a whole file has end -1). `first_row` is the position of its first row in the file; `rows` is the
    number of its rows where the plan knows it. The `version` of a stream is its name. `folders` are the folder columns
    of the file.
    """

    number: int
    file: str
    size: int
    version: str
    format: str
    compression: str | None = None
    start: int = 0
    end: int = -1
    first_row: int = 0
    rows: int | None = None
    folders: Folders = ()


@dataclass(frozen=True, kw_only=True)
class TableInput:
    """What a run reads from BigQuery; it travels in the plan file and into the manifest.

    `source` is what rows and dead letters name: `bq://project.dataset.table`, or the file of the query. Either `table`
    (`project.dataset.table`) with the rows that `restriction` lets through, as the table was at `snapshot` (ISO, UTC,
    microseconds), or the result of `query`. `project` pays and owns session and job; `rows` and `bytes` are estimates.
    """

    source: str
    project: str
    columns: tuple[str, ...]
    table: str | None = None
    restriction: str | None = None
    snapshot: str | None = None
    query: str | None = None
    location: str | None = None
    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Split:
    """The unit of work: some pieces, in order."""

    number: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All splits of a run and the columns they are read with. `rows` is an estimate unless `exact`.

    The splits of a `table` are not known before the run has its read session. `texts` are input columns that are text
    because nothing says what they are: those of a CSV, and those in which files of several types meet.
    """

    columns: Columns
    inputs: tuple[FileInfo, ...] = ()
    splits: tuple[Split, ...] = ()
    rows: int = 0
    exact: bool = True
    table: TableInput | None = None
    texts: tuple[str, ...] = ()


_OF_SETTINGS = ("types", "strict", "bounded", "max_text_bytes", "windows")


def plan_digest(plan: Plan, settings: Mapping[str, Any]) -> str:
    """One string for the same work: the same pieces of the same files, columns and settings."""
    columns = {**asdict(plan.columns), "id_type": str(plan.columns.id_type), "kept": str(plan.columns.kept)}
    # Only a training has one; digests of runs that earlier versions planned do not have the key.
    columns.pop("label")
    # They lie beside the rows and change none; earlier versions had no such key.
    del columns["digests"]
    # Earlier versions had no dialect: the default one is left out.
    if plan.columns.dialect == Dialect():
        del columns["dialect"]
    # The settings have these, or the bundle that they name; digests of runs planned before do not have the fields.
    columns = {key: value for key, value in columns.items() if key not in _OF_SETTINGS}
    # Digests of runs planned before columns inside structs and folder columns do not have the keys.
    columns = {key: value for key, value in columns.items() if value or key not in ("paths", "without")}
    inputs = [asdict(info) for info in plan.inputs]
    splits = [asdict(split) for split in plan.splits]
    for piece in (piece for split in splits for piece in split["pieces"] if not piece["folders"]):
        del piece["folders"]
    # A later attempt reads the table as it was for the first one.
    table = None if plan.table is None else {**asdict(plan.table), "snapshot": None}
    content = {"settings": settings, "columns": columns, "inputs": inputs, "splits": splits, "table": table}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_plan(store: Store, path: str, plan: Plan, about: dict[str, object]) -> None:
    """Writes one row per piece; `about` (run, settings, inputs) goes into the metadata of the file."""
    rows = [{"split": split.number, **asdict(piece)} for split in plan.splits for piece in split.pieces]
    table = pa.Table.from_pylist(rows, _PLAN_SCHEMA.with_metadata({_ABOUT: json.dumps(about)}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    with step("write_plan"):
        store.write(path, sink.getvalue().to_pybytes())


def read_plan(store: Store, path: str) -> tuple[list[Split], dict[str, Any]]:
    """The splits that write_plan wrote, and `about`."""
    table = pq.read_table(pa.BufferReader(_read(store, path)))
    splits: dict[int, list[Piece]] = {}
    for row in table.to_pylist():
        # A plan of an earlier version has no folders.
        folders = tuple(row.pop("folders", ()))
        splits.setdefault(row.pop("split"), []).append(Piece(**row, folders=folders))
    about = json.loads(table.schema.metadata[_ABOUT])
    return [Split(number=number, pieces=tuple(pieces)) for number, pieces in splits.items()], about


def read_about(store: Store, path: str) -> dict[str, Any]:
    """`about` alone, from the end of the file, however many splits there are."""
    metadata = pq.read_schema(pa.BufferReader(_read(store, path))).metadata
    about: dict[str, Any] = json.loads(metadata[_ABOUT])
    return about


def _read(store: Store, path: str) -> bytes:
    data = store.read(path)
    if data is None:
        raise file_gone(path, "the plan of the run")
    return data


_ABOUT = b"about"

_PLAN_SCHEMA = pa.schema(
    [
        ("split", pa.int32()),
        ("number", pa.int64()),
        ("file", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
        ("format", pa.string()),
        ("compression", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("first_row", pa.int64()),
        ("rows", pa.int64()),
        ("folders", pa.map_(pa.string(), pa.string())),
    ]
)


def planned_splits(plan: str) -> list[Split]:
    """The splits of the run whose plan file is at `plan`: its pieces of files, or the streams of its read session."""
    splits, about = read_plan(store_for(plan), plan)
    planned, path = _table_input(about), _session_file(plan)
    if planned is None:
        return splits
    data = read(path)
    if data is None:
        raise file_gone(path, "the read session of the run")
    streams = parse(data, path).get("streams")
    if not isinstance(streams, list) or not all(isinstance(stream, str) for stream in streams):
        broken(path, "streams are not names")
    return [_split(planned, number, stream) for number, stream in enumerate(streams)]


def can_go_on(plan: str, now: dt.datetime) -> bool:
    """Whether a later attempt can still read the input of the run: its read session, if any, has not expired."""
    path = _session_file(plan)
    data = read(path)
    end = None if data is None else parse(data, path).get("expires")
    if end is not None and not is_time(str(end)):
        broken(path, "expires is no time")
    return end is None or now < dt.datetime.fromisoformat(end)


def _split(planned: TableInput, number: int, stream: str) -> Split:
    piece = Piece(number=number, file=f"{planned.source}#{number}", size=0, version=stream, format="bigquery")
    return Split(number=number, pieces=(piece,))


def _session_file(plan: str) -> str:
    return join(posixpath.dirname(plan), "session.json")


def _table_input(about: dict[str, Any]) -> TableInput | None:
    found = about.get("table_input")
    return None if found is None else TableInput(**{**found, "columns": tuple(found["columns"])})
