"""The columns that the first JSON objects of a file have, and their types."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from transforms.read.values.paths import Path, splits

_DEEPEST = 32
_LONG = 64 * 1024
# Possessive: no backtracking, however long the string.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def objects(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """The JSON objects among `lines`; strings of many bytes are left out of long lines."""
    found = []
    for line in lines:
        try:
            row = json.loads(abridged(line, _LONG, b'""').decode("utf-8-sig", "replace"))
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def infer(rows: Sequence[dict[str, Any]]) -> dict[str, pa.DataType]:
    """Types of the keys of JSON objects.

    Integers and floats are widened; a key with values of several kinds, or of a kind no file can hold, is a string.
    What has no value yet is null, at any depth: SchemaUnion makes a string of a key that stays so.
    """
    values: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in row.items():
            values.setdefault(key, []).append(value)
    return {key: _kind(found) for key, found in values.items() if _is_utf8(key)}


def inside(rows: Sequence[dict[str, Any]], asked: Iterable[str]) -> dict[str, tuple[Path, pa.DataType]]:
    """The names of `asked` that mean a key inside objects, each with its path and its type (see `infer`)."""
    paths = {name: path for name in asked if (path := _path_of(name, rows)) is not None}
    return {name: (path, _kind([value_at(row, path) for row in rows])) for name, path in paths.items()}


def _path_of(name: str, rows: Sequence[Mapping[str, Any]]) -> Path | None:
    """The path of what `name` means in these objects; None if it is a key of theirs, or means nothing."""
    if any(name in row for row in rows):
        return None
    paths = [path for row in rows if (path := _path_in(name, row))]
    # A path that ends at a null is only likely.
    return next((path for path, sure in paths if sure), next((path for path, _ in paths), None))


def _path_in(name: str, row: Mapping[str, Any]) -> tuple[Path, bool] | None:
    """The path of `name` in one object, and whether the object has the whole of it."""
    if name in row:
        return (name,), True
    perhaps = None
    for head, rest in splits(name):
        value = row.get(head, False)
        found = _path_in(rest, value) if isinstance(value, dict) else None
        if found is not None and found[1]:
            return (head, *found[0]), True
        if found is not None or value is None:
            perhaps = perhaps or ((head, *(found[0] if found else rest.split("."))), False)
    return perhaps


def value_at(row: Mapping[str, Any], path: Path) -> Any:
    """The value at `path`, None where there is none."""
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def abridged(line: bytes, longest: int, instead: bytes) -> bytes:
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
