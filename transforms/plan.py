"""The plan of a run: the input listed once, cut into splits, with the schema of the whole job.

What workers shuffle is these descriptions, never texts.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import csv_files, line_files, parquet_files
from transforms.blocks import NotWhatItClaimsError, Piece
from transforms.columns import ColumnsRequest, PlanError, SchemaUnion, require_columns, resolve
from transforms.schemas import Columns
from transforms.stores import FileInfo, Store, store_for

SPLIT_ROWS = 65_536
SPLIT_BYTES = 64 * 1024 * 1024
HEAD_ROWS = 1_000
HEAD_BYTES = 1024 * 1024
FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_MAGIC = {
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
}


class NoInputError(FileNotFoundError):
    """No file matches the input: it is not there yet."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The unit of work: some pieces, in order."""

    number: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All splits of a run and the columns they are read with. `rows` is an estimate unless `exact`."""

    columns: Columns
    inputs: tuple[FileInfo, ...] = ()
    splits: tuple[Split, ...] = ()
    rows: int = 0
    exact: bool = True


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What looking at one file gave."""

    schema: pa.Schema
    pieces: list[Piece]
    weights: list[tuple[int, int]] = field(default_factory=list)  # rows (estimated if the piece has none), bytes


def plan_inputs(
    patterns: Sequence[str],
    request: ColumnsRequest,
    *,
    file_format: str | None = None,
    allow_missing: bool = False,
) -> Plan:
    """Lists and looks at every input file.

    Raises NoInputError when nothing matches (unless `allow_missing`), and PlanError, naming the file, when one is
    not what it claims to be, lacks a column, or does not fit the others.
    """
    inputs = sorted({info.path: info for pattern in patterns for info in _match(pattern)}.values(), key=_path)
    if not inputs and not allow_missing:
        raise NoInputError(f"no input file matches {', '.join(patterns)}; is it written yet? (or --allow-missing)")
    formats = {info.path: _format(info.path, file_format) for info in inputs}
    kinds = sorted({kind for kind, _ in formats.values()})
    if len(kinds) > 1:
        raise PlanError(f"the input mixes {' and '.join(kinds)} files; a job reads one format: narrow --input")
    if kinds == ["text"]:
        request = replace(request, id=None, text="text")
    with ThreadPoolExecutor(16) as pool:
        facts = list(pool.map(lambda info: _look(info, *formats[info.path]), inputs))
    union = SchemaUnion(loose=kinds in (["csv"], ["tsv"]))
    for info, fact in zip(inputs, facts, strict=True):
        if len(fact.schema):
            require_columns(fact.schema, request, info.path)
            union.add(fact.schema, info.path)
    pieces = [piece for fact in facts for piece in fact.pieces]
    weights = [weight for fact in facts for weight in fact.weights]
    numbered = [replace(piece, number=i) for i, piece in enumerate(pieces)]
    return Plan(
        columns=resolve(union.schema, request),
        inputs=tuple(inputs),
        splits=tuple(_pack(numbered, weights)),
        rows=sum(rows for rows, _ in weights),
        exact=all(piece.rows is not None for piece in pieces),
    )


def _path(info: FileInfo) -> str:
    return info.path


def _match(pattern: str) -> list[FileInfo]:
    return store_for(pattern).match(pattern)


def _format(path: str, declared: str | None) -> tuple[str, str | None]:
    stem, compression = path, None
    for suffix, name in COMPRESSIONS.items():
        if path.endswith(suffix):
            stem, compression = path[: -len(suffix)], name
    found = declared or next((kind for suffix, kind in FORMATS.items() if stem.endswith(suffix)), None)
    if found is None:
        raise PlanError(
            f"{path}: the name tells no format (known: {', '.join(FORMATS)}, also with "
            f"{', '.join(COMPRESSIONS)}); say it with --format, or narrow --input"
        )
    return found, None if found == "parquet" else compression


def _look(info: FileInfo, kind: str, compression: str | None) -> _Facts:
    store = store_for(info.path)
    whole = Piece(number=0, file=info.path, size=info.size, version=info.version, format=kind, compression=compression)
    try:
        with store.open(info.path, info.version) as file:
            if kind == "parquet":
                return _look_parquet(file, whole)
            return _look_text(file, whole)
    except NotWhatItClaimsError as error:
        raise PlanError(f"{error}; mend or remove the file") from error


def _look_parquet(file: BinaryIO, whole: Piece) -> _Facts:
    schema, groups = parquet_files.inspect(file, whole.file)
    pieces, weights, start, first, rows, size = [], [], 0, 0, 0, 0
    for number, group in enumerate(groups):
        rows, size = rows + group.rows, size + group.bytes
        if rows >= SPLIT_ROWS or size >= SPLIT_BYTES or number == len(groups) - 1:
            pieces.append(replace(whole, start=start, end=number + 1, first_row=first, rows=rows))
            weights.append((rows, size))
            start, first, rows, size = number + 1, first + rows, 0, 0
    return _Facts(schema=schema.remove_metadata(), pieces=pieces, weights=weights)


def _look_text(file: BinaryIO, whole: Piece) -> _Facts:
    head, complete = _head(file, whole)
    if not head:
        return _Facts(schema=pa.schema([]), pieces=[])
    lines = [line for line in head.split(b"\n") if line.strip()][:HEAD_ROWS]
    kinds: dict[str, pa.DataType]
    if whole.format == "text":
        kinds = {"text": pa.binary()}
    elif whole.format == "jsonl":
        kinds, objects = line_files.infer(lines)
        if lines and not objects:
            raise NotWhatItClaimsError(f"{whole.file}: is read as JSONL but none of its first lines is a JSON object")
    else:
        kinds = csv_files.inspect(b"\n".join(head.split(b"\n")[: HEAD_ROWS + 1]), whole.file, whole.format)
    schema = pa.schema(list(kinds.items()))
    count = max(1, head.count(b"\n"))
    density = count / len(head)
    cuttable = whole.format in ("jsonl", "text") and not whole.compression and whole.size > SPLIT_BYTES
    if cuttable:
        pieces = list(_cut_lines(file, whole))
        sizes = [piece.end - piece.start for piece in pieces]
        return _Facts(schema=schema, pieces=pieces, weights=[(int(size * density), size) for size in sizes])
    return _Facts(
        schema=schema,
        pieces=[whole],
        weights=[(count if complete else int(whole.size * density), whole.size)],
    )


def _head(file: BinaryIO, whole: Piece) -> tuple[bytes, bool]:
    """The first whole lines of a text file, and whether that is all of it."""
    magic = file.read(4)
    file.seek(0)
    found = next((name for start, name in _MAGIC.items() if magic.startswith(start)), None)
    if found != whole.compression:
        declared = whole.compression or whole.format.upper()
        raise NotWhatItClaimsError(f"{whole.file}: is read as {declared} but is {found or 'something else'}")
    stream = pa.CompressedInputStream(file, whole.compression) if whole.compression else file
    try:
        head = b""
        while b"\n" not in head[-HEAD_BYTES:] or len(head) < HEAD_BYTES:
            chunk = stream.read(HEAD_BYTES)
            if not chunk:
                return head, True
            head += chunk
    except OSError as error:
        raise NotWhatItClaimsError(f"{whole.file}: cannot be decompressed as {whole.compression}") from error
    return head[: head.rindex(b"\n") + 1], False


def _cut_lines(file: BinaryIO, whole: Piece) -> Iterator[Piece]:
    """Cuts at the first line end after every SPLIT_BYTES, counting lines: rows keep their place in the file."""
    file.seek(0)
    start = position = first = lines = 0
    while chunk := file.read(line_files.CHUNK_BYTES):
        at = chunk.find(b"\n", max(0, SPLIT_BYTES - (position - start)))
        if position + len(chunk) - start > SPLIT_BYTES and at >= 0:
            lines += chunk.count(b"\n", 0, at + 1)
            end = position + at + 1
            yield replace(whole, start=start, end=end, first_row=first)
            start, first, lines = end, first + lines, chunk.count(b"\n", at + 1)
        else:
            lines += chunk.count(b"\n")
        position += len(chunk)
    if position > start:
        yield replace(whole, start=start, end=position, first_row=first)


def _pack(pieces: Iterable[Piece], weights: Iterable[tuple[int, int]]) -> Iterator[Split]:
    """Puts small pieces together until a split is full."""
    group: list[Piece] = []
    number = rows = size = 0
    for piece, (more_rows, more_bytes) in zip(pieces, weights, strict=True):
        if group and (rows + more_rows > SPLIT_ROWS or size + more_bytes > SPLIT_BYTES):
            yield Split(number=number, pieces=tuple(group))
            group, number, rows, size = [], number + 1, 0, 0
        group.append(piece)
        rows, size = rows + more_rows, size + more_bytes
    if group:
        yield Split(number=number, pieces=tuple(group))


def write_plan(store: Store, path: str, plan: Plan, about: dict[str, object]) -> None:
    """Writes one row per piece; `about` (run, settings, inputs) goes into the metadata of the file."""
    rows = [{"split": split.number, **asdict(piece)} for split in plan.splits for piece in split.pieces]
    table = pa.Table.from_pylist(rows, _PLAN_SCHEMA.with_metadata({_ABOUT: json.dumps(about)}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    store.write(path, sink.getvalue().to_pybytes())


def read_plan(store: Store, path: str) -> tuple[list[Split], dict[str, Any]]:
    """The splits that write_plan wrote, and `about`."""
    data = store.read(path)
    if data is None:
        raise FileNotFoundError(f"{path}: the plan of the run is gone; was the run cleaned away while it worked?")
    table = pq.read_table(pa.BufferReader(data))
    splits: dict[int, list[Piece]] = {}
    for row in table.to_pylist():
        splits.setdefault(row.pop("split"), []).append(Piece(**row))
    about = json.loads(table.schema.metadata[_ABOUT])
    return [Split(number=number, pieces=tuple(pieces)) for number, pieces in splits.items()], about


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
    ]
)
