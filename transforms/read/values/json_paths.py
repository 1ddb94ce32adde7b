"""What Arrow's parser is told of keys inside of JSON objects, and taking them out of its structs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from transforms.read.values.paths import Path, inside, pruned

Tree = dict[str, Any]


def arrow_schema(told: pa.Schema, paths: Mapping[str, Path]) -> pa.Schema | None:
    """What Arrow's parser is told, so that it makes structs of objects with keys of `told` in them.

    None if it cannot be told: an object that is to be one text, as its JSON, has one of the keys.
    """
    tree: Tree = {}
    for way, kind in sorted(((paths.get(f.name, (f.name,)), f.type) for f in told), key=lambda found: len(found[0])):
        if not _put(tree, way, kind):
            return None
    return pa.schema([pa.field(name, _kind(part)) for name, part in tree.items()])


def _put(tree: Tree, way: Path, kind: pa.DataType) -> bool:
    for key in way[:-1]:
        part = tree.setdefault(key, {})
        if isinstance(part, pa.DataType):
            if not pa.types.is_struct(part):
                return False
            part = tree[key] = {field.name: field.type for field in part}
        tree = part
    tree[way[-1]] = kind
    return True


def _kind(part: Any) -> pa.DataType:
    if isinstance(part, pa.DataType):
        return part
    return pa.struct([pa.field(name, _kind(inner)) for name, inner in part.items()])


def take_out(
    rows: pa.RecordBatch, made: pa.Schema, told: pa.Schema, paths: Mapping[str, Path], without: Sequence[Path]
) -> list[pa.Array] | None:
    """The columns `told` out of `rows`, which Arrow has parsed as `made`.

    None if a key stands in a kept object that nobody has told of, or a text of one is not UTF-8.
    """
    found = []
    for field in told:
        way = paths.get(field.name, (field.name,))
        column = inside(rows.column(way[0]), way[1:])
        if column is None or not column.type.equals(_type_at(made, way)):
            return None
        for path in without:
            if path[:1] == way:
                column = pruned(column, path[1:])
        try:
            found.append(column if column.type.equals(field.type) else column.cast(field.type))
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
    return found


def _type_at(schema: pa.Schema, way: Path) -> pa.DataType:
    kind = schema.field(way[0]).type
    for name in way[1:]:
        kind = kind.field(name).type
    return kind
