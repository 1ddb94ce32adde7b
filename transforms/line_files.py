"""Reading files of one row a line: JSONL and plain text, plain or compressed."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json

from transforms.blocks import Block, Blocks, Damage, Piece, Positions, from_table, no_rows

CHUNK_BYTES = 8 * 1024 * 1024
_NEWLINE, _RETURN, _OPEN, _CLOSE = b"\n\r{}"
_FEW = 32


class Lines(NamedTuple):
    """Whole lines of a file: `buffer[starts[i]:ends[i]]` is line `first + i`, without its line end."""

    buffer: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    first: int

    def line(self, i: int) -> bytes:
        return self.buffer[self.starts[i] : self.ends[i]]

    def join(self, which: Positions) -> bytes:
        return b"\n".join(self.line(i) for i in which.tolist())


def lines_of(file: BinaryIO, piece: Piece) -> Iterator[Lines]:
    """Whole lines of the byte range of `piece`, some megabytes at a time."""
    stream = pa.CompressedInputStream(file, piece.compression) if piece.compression else file
    if not piece.compression:
        file.seek(piece.start)
    left = piece.end - piece.start if piece.end >= 0 else None
    first, rest = piece.first_row, b""
    while True:
        chunk = stream.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
        if left is not None:
            left -= len(chunk)
        if not chunk:
            break
        body, newline, tail = chunk.rpartition(b"\n")
        if newline:
            lines = split_lines(rest + body, first)
            first, rest = first + len(lines.starts), tail
            yield lines
        else:
            rest += chunk
    if rest:
        yield split_lines(rest, first)


def split_lines(buffer: bytes, first: int) -> Lines:
    """Where the lines of `buffer` start and end; a byte order mark of the file's first line is left out."""
    data = np.frombuffer(buffer, np.uint8)
    breaks = np.flatnonzero(data == _NEWLINE).astype(np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), breaks + 1])
    ends = np.concatenate([breaks, np.full(1, len(buffer), np.int64)])
    if first == 0 and buffer.startswith(b"\xef\xbb\xbf"):
        starts[0] = 3
    if len(data):
        ends = ends - ((ends > starts) & (data[np.maximum(ends, 1) - 1] == _RETURN))
    return Lines(buffer, starts, ends, first)


def read_plain(file: BinaryIO, piece: Piece, wanted: Sequence[str]) -> Blocks:
    """Plain text: each line is one row with the single column `text`; a blank line is a row too."""
    for lines in lines_of(file, piece):
        count = len(lines.starts)
        covered = np.arange(lines.first, lines.first + count, dtype=np.int64)
        texts = pa.array([lines.line(i) for i in range(count)], pa.binary())
        yield Block(covered, pa.record_batch([texts], names=[wanted[0]]), covered, [])


def read_jsonl(file: BinaryIO, piece: Piece, schema: pa.Schema) -> Blocks:
    """JSONL: each line that is not blank is one row; `schema` has the wanted keys and their declared types.

    A chunk is parsed by Arrow as a whole; only a part of it that Arrow refuses is looked at line by line.
    """
    for lines in lines_of(file, piece):
        yield json_block(lines, schema)


def json_block(lines: Lines, schema: pa.Schema) -> Block:
    """Parses `lines`; see read_jsonl."""
    data = np.frombuffer(lines.buffer + b"\n", np.uint8)
    # Arrow's parser lets a value span lines, takes two values on one line, and crashes the process on a bare `null`:
    # it only gets lines that look like one object, and the number of rows must come out as the number of lines.
    plain = (data[lines.starts] == _OPEN) & (data[np.maximum(lines.ends - 1, 0)] == _CLOSE)
    odd = np.flatnonzero(~plain)
    blank = odd[np.array([not lines.line(i).strip() for i in odd.tolist()], bool)]
    covered = np.delete(np.arange(len(lines.starts), dtype=np.int64), blank)
    parts: list[pa.RecordBatch] = []
    taken: list[Positions] = []
    damage: list[Damage] = []
    for batch, which in _parse(lines, np.flatnonzero(plain).astype(np.int64), schema):
        parts.append(batch)
        taken.append(which)
    done = np.concatenate(taken) if taken else np.empty(0, np.int64)
    for i in np.setdiff1d(covered, done).tolist():
        row = _parse_line(lines.line(i), schema)
        if isinstance(row, pa.RecordBatch):
            parts.append(row)
            taken.append(np.array([i], np.int64))
        else:
            damage.append(Damage(np.array([lines.first + i], np.int64), *row))
    rows = from_table(pa.Table.from_batches(parts)) if parts else no_rows(binary_strings(schema))
    place = np.concatenate(taken) if taken else np.empty(0, np.int64)
    return Block(covered + lines.first, rows, place + lines.first, damage)


def _parse(lines: Lines, which: Positions, schema: pa.Schema) -> Iterator[tuple[pa.RecordBatch, Positions]]:
    """Arrow's rows for the lines `which`, halving what it refuses; few refused lines are left out."""
    if not len(which):
        return
    whole = len(which) == len(lines.starts) and lines.starts[0] == 0
    buffer = lines.buffer if whole else lines.join(which)
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(buffer),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(buffer) + 1),
            pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        if table.num_rows == len(which):
            yield from_table(table.select(schema.names)).cast(binary_strings(schema)), which
            return
    except (pa.ArrowInvalid, UnicodeDecodeError):
        # A message that quotes bytes which are not UTF-8 surfaces as UnicodeDecodeError.
        pass
    if len(which) > _FEW:
        half = len(which) // 2
        yield from _parse(lines, which[:half], schema)
        yield from _parse(lines, which[half:], schema)


def binary_strings(schema: pa.Schema) -> pa.Schema:
    """`schema` with binary for string: bytes are checked later, a whole batch at once."""
    return pa.schema([pa.field(f.name, pa.binary() if pa.types.is_string(f.type) else f.type) for f in schema])


def _parse_line(line: bytes, schema: pa.Schema) -> pa.RecordBatch | tuple[str, str]:
    """One row, or code and reason why there is none."""
    try:
        # Invalid bytes come back as they were; only the validation decides about them.
        row = json.loads(
            line.decode("utf-8", "surrogateescape"),
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError):
        return "not_json", "the line is not a JSON object"
    if not isinstance(row, dict):
        return "not_json", "the line is JSON but not an object"
    columns = []
    for field in binary_strings(schema):
        try:
            columns.append(pa.array([_as_declared(row.get(field.name), field.type)], field.type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            found = type(row[field.name]).__name__
            return "wrong_type", f"the value of {field.name!r} is a {found}, which does not fit {field.type}"
    return pa.RecordBatch.from_arrays(columns, schema=binary_strings(schema))


def _as_declared(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_binary(kind) and value is not None:
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value).encode()
        raise TypeError(type(value).__name__)
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key stands twice")
    return row


def _no_constant(name: str) -> Callable[[], None]:
    raise ValueError(f"{name} is not JSON")


def infer(lines: Sequence[bytes]) -> tuple[dict[str, pa.DataType], int]:
    """Types of the keys of the JSON objects among `lines`, and how many lines are objects.

    Integers and floats are widened; a key with values of several kinds is a string.
    """
    values: dict[str, list[Any]] = {}
    objects = 0
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            objects += 1
            for key, value in row.items():
                values.setdefault(key, []).append(value)
    return {key: _kind(found) for key, found in values.items()}, objects


def _kind(values: list[Any]) -> pa.DataType:
    try:
        kind = pa.array(values).type
    except (pa.ArrowException, ValueError, OverflowError):
        return pa.string()
    return pa.string() if pa.types.is_null(kind) else kind
