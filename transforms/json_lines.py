"""Reading JSONL: Arrow parses what it can, a line it refuses is looked at alone.

What becomes of a line depends on that line only, never on the lines around it.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.json

from transforms.blocks import Block, Blocks, Damage, Piece, Positions, from_table, no_rows, positions
from transforms.line_files import Lines, few_at_once, lines_of
from transforms.schemas import LARGEST_VALUE, Columns
from transforms.sizes import too_large

_OPEN, _CLOSE = b"{}"
_BLANK = b" \t\r"
_FEW = 32
_DEEPEST = 32
_LONG = 64 * 1024
# Possessive: nothing is kept to go back to, however long the string.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_JSON_NAMES = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}


class Keys(NamedTuple):
    """The keys to read: `told` is what Arrow's parser is told, `given` what comes out of a block."""

    told: pa.Schema
    given: pa.Schema
    id: str | None
    texts: tuple[str, ...]


def keys_of(columns: Columns) -> Keys:
    """The keys of a job: bytes come out for strings and for the id."""
    texts = tuple(name for name in (columns.text, columns.text_pair) if name not in (None, columns.id))
    told = []
    for name in columns.wanted:
        if name == columns.id:
            kind = columns.id_type
        elif name in texts:
            # Arrow makes a `string` of other values; a text is to be one.
            kind = pa.binary()
        else:
            kind = columns.kept.field(columns.kept_from.index(name)).type
            # A date is a string in JSON, and cast later.
            kind = pa.string() if pa.types.is_temporal(kind) else kind
        told.append(pa.field(name, kind))
    given = [
        pa.field(f.name, pa.binary() if pa.types.is_string(f.type) or f.name == columns.id else f.type) for f in told
    ]
    return Keys(pa.schema(told), pa.schema(given), columns.id, tuple(str(name) for name in texts))


def read_jsonl(file: BinaryIO, piece: Piece, columns: Columns) -> Blocks:
    """Each line that is not blank is one row; a key that is absent is null.

    Texts must be strings, ids strings or integers. A string column takes any value, what is no string as its JSON.
    """
    keys = keys_of(columns)
    for lines in few_at_once(lines_of(file, piece)):
        is_long = len(lines.starts) == 1 and len(lines.buffer) > LARGEST_VALUE
        yield long_line(lines, keys, columns.max_text_bytes) if is_long else json_block(lines, keys)


def long_line(lines: Lines, keys: Keys, longest: int) -> Block:
    """One line above LARGEST_VALUE: id and texts are read, if Arrow can (Python would need many times its bytes).

    What is to be kept is not carried. A string that is longer than `longest`, however escaped, is cut to a byte more.
    """
    needed = {keys.id, *keys.texts}
    few = keys._replace(told=_only(keys.told, needed), given=_only(keys.given, needed))
    place = positions(lines.first, 1)
    line = _abridged(lines.buffer, 6 * longest + 2, b'"' + b"x" * (longest + 1) + b'"')
    line = line.removeprefix(b"\xef\xbb\xbf").strip(_BLANK)
    rows = _parse_objects(line, 1, few) if line.startswith(b"{") and line.endswith(b"}") else None
    if rows is not None:
        unfit = [too_large(name, place) for name in keys.given.names if name not in needed]
        return Block(place, rows, place, [], unfit)
    covered = place if line else place[:0]
    reason = f"the line has more than {LARGEST_VALUE:,} bytes, and is not a JSON object with texts of strings"
    return Block(covered, no_rows(few.given), place[:0], [Damage(place, "not_json", reason)] if line else [])


def _only(schema: pa.Schema, names: Collection[str | None]) -> pa.Schema:
    return pa.schema([field for field in schema if field.name in names])


def json_block(lines: Lines, keys: Keys) -> Block:
    """Parses `lines`; see read_jsonl. Strings come out as bytes that nobody has checked."""
    data = np.frombuffer(lines.buffer or b"\n", np.uint8)
    # Arrow's parser lets a value span lines, takes two values on one line, and crashes the process on a bare `null`:
    # it only gets lines that look like one object, and the number of rows must come out as the number of lines.
    opened = data[np.minimum(lines.starts, len(data) - 1)] == _OPEN
    plain = (lines.ends > lines.starts) & opened & (data[np.maximum(lines.ends - 1, 0)] == _CLOSE)
    odd = np.flatnonzero(~plain)
    blank = odd[np.array([not lines.line(i).strip() for i in odd.tolist()], bool)]
    covered = np.delete(positions(0, len(lines.starts)), blank)
    parts: list[pa.RecordBatch] = []
    taken: list[Positions] = []
    damage: list[Damage] = []
    for batch, which in _parse(lines, np.flatnonzero(plain).astype(np.int64), keys):
        parts.append(batch)
        taken.append(which)
    done = np.concatenate([positions(0, 0), *taken])
    for i in np.setdiff1d(covered, done).tolist():
        row = _parse_line(lines.line(i), keys)
        if isinstance(row, pa.RecordBatch):
            parts.append(row)
            taken.append(positions(i, 1))
        else:
            damage.append(Damage(positions(lines.first + i, 1), *row))
    rows = from_table(pa.Table.from_batches(parts)) if parts else no_rows(keys.given)
    return Block(covered + lines.first, rows, np.concatenate([positions(0, 0), *taken]) + lines.first, damage)


def _parse(lines: Lines, which: Positions, keys: Keys) -> Iterator[tuple[pa.RecordBatch, Positions]]:
    """Arrow's rows for the lines `which`, halving what it refuses; few refused lines are left out."""
    if not len(which):
        return
    whole = len(which) == len(lines.starts) and lines.starts[0] == 0
    rows = _parse_objects(lines.buffer if whole else lines.join(which), len(which), keys)
    if rows is not None:
        yield rows, which
    elif len(which) > _FEW:
        half = len(which) // 2
        yield from _parse(lines, which[:half], keys)
        yield from _parse(lines, which[half:], keys)


def _parse_objects(buffer: bytes, count: int, keys: Keys) -> pa.RecordBatch | None:
    """The rows of `count` lines that each look like one object; None if Arrow refuses them."""
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(buffer),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(buffer) + 1),
            pyarrow.json.ParseOptions(explicit_schema=keys.told, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        # A message that quotes bytes which are not UTF-8 surfaces as UnicodeDecodeError.
        return None
    if table.num_rows != count:
        return None
    rows = from_table(table.select(keys.told.names))
    arrays = [
        (column.cast(pa.string()) if field.name == keys.id else column).cast(field.type)
        for column, field in zip(rows.columns, keys.given, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=keys.given)


def _parse_line(line: bytes, keys: Keys) -> pa.RecordBatch | tuple[str, str]:
    """One row, or code and reason why there is none."""
    row = _load(line, keys)
    if isinstance(row, pa.RecordBatch):
        return row
    # Arrow passes over what nobody asked for: NaN, a key that stands twice, a hundred thousand brackets.
    bare = line.strip(_BLANK)
    alone = _parse_objects(bare, 1, keys) if bare.startswith(b"{") and bare.endswith(b"}") else None
    return row if alone is None else alone


def _load(line: bytes, keys: Keys) -> pa.RecordBatch | tuple[str, str]:
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
    arrays = []
    for field in keys.given:
        try:
            arrays.append(pa.array([_value(row.get(field.name), field, keys)], field.type))
        except UnicodeEncodeError:
            return "not_utf8", f"the value of {field.name!r} has half a surrogate pair, which UTF-8 cannot hold"
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            found = _JSON_NAMES[type(row[field.name])]
            wanted = "text" if pa.types.is_binary(field.type) else field.type
            return "wrong_type", f"the value of {field.name!r} is a JSON {found}, which does not fit {wanted}"
    return pa.RecordBatch.from_arrays(arrays, schema=keys.given)


def _value(value: Any, field: pa.Field, keys: Keys) -> Any:
    if value is None or not pa.types.is_binary(field.type):
        return _exact(value, field.type)
    if not isinstance(value, str):
        if field.name == keys.id and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError(field.name)
        if field.name in keys.texts:
            raise TypeError(field.name)
        value = json.dumps(value, ensure_ascii=False)
    return value.encode("utf-8", "surrogateescape")


def _exact(value: Any, kind: pa.DataType) -> Any:
    """`value`; raises TypeError where pyarrow would make it fit: it makes 1 of 1.5, 1.0 of true and [] of ""."""
    if value is None:
        return None
    if pa.types.is_struct(kind) and isinstance(value, dict):
        return {field.name: _exact(value.get(field.name), field.type) for field in kind}
    if pa.types.is_list(kind) and isinstance(value, list):
        return [_exact(item, kind.value_type) for item in value]
    if isinstance(value, bool):
        fits = pa.types.is_boolean(kind)
    elif pa.types.is_floating(kind) and isinstance(value, int | float):
        # A large integer is rounded as Arrow's own parser rounds it, not refused.
        return float(value)
    elif pa.types.is_integer(kind):
        fits = isinstance(value, int | float) and value == int(value)
    else:
        fits = isinstance(value, str) and pa.types.is_string(kind)
    if not fits:
        raise TypeError(str(kind))
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

    Integers and floats are widened; a key with values of several kinds, or of a kind no file can hold, is a string.
    """
    values: dict[str, list[Any]] = {}
    objects = 0
    for line in lines:
        try:
            row = json.loads(_abridged(line, _LONG, b'""').decode("utf-8-sig", "replace"))
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            objects += 1
            for key, value in row.items():
                values.setdefault(key, []).append(value)
    return {key: _kind(found) for key, found in values.items() if _is_utf8(key)}, objects


def _abridged(line: bytes, longest: int, instead: bytes) -> bytes:
    """`line` with `instead` in the place of each string with more than `longest` bytes."""
    if len(line) <= longest:
        return line
    return _STRING.sub(lambda found: instead if found.end() - found.start() > longest else found[0], line)


def _is_utf8(key: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in key)


def _kind(values: list[Any]) -> pa.DataType:
    try:
        kind = pa.array(values).type
    except (pa.ArrowException, ValueError, OverflowError, RecursionError):
        return pa.string()
    return kind if _can_be_stored(kind, _DEEPEST) else pa.string()


def _can_be_stored(kind: pa.DataType, levels: int) -> bool:
    """Arrow's own message format ends at 64 levels, and Parquet has no struct without fields."""
    if levels == 0 or (pa.types.is_struct(kind) and kind.num_fields == 0):
        return False
    return all(_can_be_stored(kind.field(i).type, levels - 1) for i in range(kind.num_fields))
