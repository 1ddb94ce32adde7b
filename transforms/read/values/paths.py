"""Columns inside structs: `doc.text` is the field `text` of the struct `doc`, unless a column has that very name."""

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.schemas import Columns
from transforms.read.formats.blocks import Block, Unfit

Path = tuple[str, ...]


def find(name: str, fields: Iterable[pa.Field]) -> tuple[Path, pa.DataType] | None:
    """Path and type of what `name` means among `fields`, None if it means nothing.

    Names may have dots themselves: the longest such name wins. A path leads through structs, not through lists. A
    column of type null may turn out to be a struct with that path.
    """
    there = {field.name: field.type for field in fields}
    if name in there:
        return (name,), there[name]
    for head, rest in splits(name):
        kind = there.get(head)
        if kind is not None and pa.types.is_null(kind):
            return (head, *rest.split(".")), kind
        if kind is not None and pa.types.is_struct(kind) and (found := find(rest, kind)) is not None:
            return (head, *found[0]), found[1]
    return None


def splits(name: str) -> list[tuple[str, str]]:
    """The two parts of `name` at each of its dots, the last one first."""
    dots = [at for at, character in enumerate(name) if character == "."]
    return [(name[:at], name[at + 1 :]) for at in reversed(dots)]


def with_paths(schema: pa.Schema, asked: Iterable[str]) -> tuple[pa.Schema, dict[str, Path]]:
    """`schema` with one more column for each name of `asked` that means a part of a struct, and the paths of these."""
    found = {name: part for name in asked if (part := find(name, schema)) is not None and len(part[0]) > 1}
    columns = [*schema, *(pa.field(name, kind) for name, (_, kind) in found.items())]
    return pa.schema(columns), {name: path for name, (path, _) in found.items()}


def pruned_type(kind: pa.DataType, path: Path) -> pa.DataType | None:
    """`kind` without its part at `path`; None if nothing is left."""
    if not path:
        return None
    if not pa.types.is_struct(kind):
        return kind
    parts = {field.name: pruned_type(field.type, path[1:]) if field.name == path[0] else field.type for field in kind}
    left = [field.with_type(parts[field.name]) for field in kind if parts[field.name] is not None]
    return pa.struct(left) if left else None


def pruned(column: pa.Array, path: Path) -> pa.Array:
    """A column of structs without their part at `path`; something else must be left of them."""
    kind = column.type
    if not pa.types.is_struct(kind):
        return column
    parts = {}
    for field, part in zip(kind, column.flatten(), strict=True):
        if field.name != path[0]:
            parts[field.name] = part
        elif pruned_type(field.type, path[1:]) is not None:
            parts[field.name] = pruned(part, path[1:])
    fields = [field.with_type(parts[field.name].type) for field in kind if field.name in parts]
    return pa.StructArray.from_arrays([*parts.values()], fields=fields, mask=column.is_null())


def inside(column: pa.Array, path: Path) -> pa.Array | None:
    """The part of a column at `path`, null where a struct above it is null; None if there is no such part."""
    kind = column.type
    for name in path:
        if pa.types.is_null(kind):
            return pa.nulls(len(column))
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return pc.struct_field(column, list(path)) if path else column


def picked(block: Block, columns: Columns) -> Block:
    """A block of columns as read -> the wanted ones: parts of structs as columns, and kept structs without texts."""
    if not columns.paths and not columns.without:
        return block
    rows, there = block.rows, frozenset(block.rows.schema.names)
    found: dict[str, pa.Array] = {}
    for name in columns.wanted:
        path = (name,) if name in there else columns.paths.get(name, (name,))
        column = inside(rows.column(path[0]), path[1:]) if path[0] in there else None
        for text in columns.without:
            if column is not None and text[:1] == path:
                column = pruned(column, text[1:])
        if column is not None:
            found[name] = column
    # A batch made of no columns would have no rows.
    rows = pa.RecordBatch.from_arrays([*found.values()], [*found]) if found else rows.select([])
    return block._replace(rows=rows, unfit=[*block.unfit, *_of_parts(block.unfit, columns.paths)])


def _of_parts(unfit: Iterable[Unfit], paths: Mapping[str, Path]) -> list[Unfit]:
    """Where a struct is null because it does not fit, its parts are too."""
    return [lost._replace(column=name) for lost in unfit for name, path in paths.items() if path[0] == lost.column]
