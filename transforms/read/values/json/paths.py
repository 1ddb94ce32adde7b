"""Keys inside JSON objects: the schema for Arrow's parser, and the columns out of the structs that it makes."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from transforms.read.values.paths import Path, inside, pruned

Tree = dict[str, Any]


def arrow_schema(told: pa.Schema, paths: Mapping[str, Path]) -> pa.Schema | None:
    """The schema for Arrow's parser under which the columns `told` lie at their paths.

    None if there is none: a column that is to be the JSON of an object has another column inside.
    """
    tree: Tree = {}
    # A struct that is kept before its parts.
    for field in sorted(told, key=lambda field: len(paths.get(field.name, ("",)))):
        if not _put(tree, paths.get(field.name, (field.name,)), field.type):
            return None
    return pa.schema([pa.field(name, _kind(part)) for name, part in tree.items()])


def _put(tree: Tree, path: Path, kind: pa.DataType) -> bool:
    for key in path[:-1]:
        part = tree.setdefault(key, {})
        if isinstance(part, pa.DataType):
            if not pa.types.is_struct(part):
                return False
            part = tree[key] = {field.name: field.type for field in part}
        tree = part
    tree[path[-1]] = kind
    return True


def _kind(part: Any) -> pa.DataType:
    if isinstance(part, pa.DataType):
        return part
    return pa.struct([pa.field(name, _kind(inner)) for name, inner in part.items()])


def take_out(
    rows: pa.RecordBatch, made: pa.Schema, told: pa.Schema, paths: Mapping[str, Path], without: Sequence[Path]
) -> list[pa.Array] | None:
    """The columns `told` out of `rows`, which Arrow was to parse as `made`.

    None if a kept object has a key that its column does not have, or its text is not UTF-8.
    """
    found = []
    for field in told:
        path = paths.get(field.name, (field.name,))
        column = inside(rows.column(path[0]), path[1:])
        if column is None or not column.type.equals(_type_at(made, path)):
            return None
        for text in without:
            if text[:1] == path:
                column = pruned(column, text[1:])
        try:
            found.append(column if column.type.equals(field.type) else column.cast(field.type))
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
    return found


def _type_at(schema: pa.Schema, path: Path) -> pa.DataType:
    kind = schema.field(path[0]).type
    for name in path[1:]:
        kind = kind.field(name).type
    return kind
