"""The error for missing columns: all of them at once, with their flags, and the columns there are."""

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa

from transforms.errors import shown
from transforms.read.values.paths import splits

Asked = Sequence[tuple[str, str]]
"""(flag, name) of columns."""
POSITION = ", or make ids from file and row with --id-from position"


def missing(
    schema: pa.Schema, needed: Asked, wished: Asked, *, anywhere: Collection[str], with_header: bool, training: bool
) -> str | None:
    """Which columns a file of this schema lacks of those `needed`, and which of those `wished` no file has.

    None if it has all that are needed. `anywhere` are the columns of all files. `with_header`: the names stand in the
    first line of a CSV, which may be no header but one of values.
    """
    names = schema.names
    if all(name in names for _, name in needed):
        return None
    lost = _named([*(pair for pair in needed if pair[1] not in names), *_absent(wished, {*names, *anywhere})])
    position = POSITION if "--id-column" in dict(lost) and not training else ""
    asked = [name for _, name in (*needed, *wished)]
    there = _there(schema, asked, [name for _, name in lost], with_header)
    return f"has no {_columns(lost)}; {there}{_choose(lost)}{position}"


def absent(schema: pa.Schema, wished: Asked) -> str | None:
    """Which columns of those `wished` no file has; None if all are there."""
    lost = _named(_absent(wished, schema.names))
    if not lost:
        return None
    return f"no {_columns(lost)} in the input; it has {_listed(schema, [name for _, name in lost])}: {_choose(lost)}"


def _choose(lost: Asked) -> str:
    return f"choose with {lost[0][0]}" if len(lost) == 1 else "choose with these flags"


def _absent(wished: Asked, known: Collection[str]) -> list[tuple[str, str]]:
    return [pair for pair in wished if pair[1] not in known]


def _named(pairs: Asked) -> list[tuple[str, str]]:
    """Each name once, with the first flag that names it."""
    found: dict[str, str] = {}
    for flag, name in pairs:
        found.setdefault(name, flag)
    return [(flag, name) for name, flag in found.items()]


def _columns(lost: Asked) -> str:
    if len(lost) == 1:
        return f"column {shown(lost[0][1])}"
    return "columns " + ", ".join(f"{shown(name)} ({flag})" for flag, name in lost)


def _there(schema: pa.Schema, asked: Sequence[str], lost: Sequence[str], with_header: bool) -> str:
    """The columns there are, as an error may name them."""
    # A first line without any of the names is more likely one of values, and values are never printed.
    if with_header and not {*asked} & {*schema.names}:
        fields = len(schema.names)
        what = "its first line has 1 field" if fields == 1 else f"its first line has {fields:,} fields"
        return f"{what}, none of them named {' or '.join(map(repr, sorted({*asked})))}: if that is a header, "
    return f"it has {_listed(schema, lost)}: "


def _listed(schema: pa.Schema, lost: Sequence[str]) -> str:
    names = list(dict.fromkeys(name for field in schema for name in _parts(field, lost)))
    listed = ", ".join(map(shown, names[:20])) or "no columns"
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    heads = {head for name in lost for head, _ in splits(name)}
    flat = [field.name for field in schema if field.name in heads and not pa.types.is_struct(field.type)]
    return listed + more + "".join(f" ({shown(name)} is no struct and has no parts)" for name in flat)


def _parts(field: pa.Field, lost: Sequence[str]) -> Iterator[str]:
    """The name of a column, or those of its parts if one of them was asked for."""
    inside = [name.removeprefix(field.name + ".") for name in lost if name.startswith(field.name + ".")]
    if not inside or not pa.types.is_struct(field.type):
        yield field.name
        return
    yield from (f"{field.name}.{name}" for part in field.type for name in _parts(part, inside))
