"""--schema: the types that a user can give to columns."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import pydantic

if TYPE_CHECKING:
    # With it comes NumPy, which --help and a wrong flag are not to wait for.
    import pyarrow as pa

KINDS = ("string", "int64", "float64", "bool", "date", "timestamp")
GUESS = "*"
"""The key of `schema` under which `auto` stands: numbers of a CSV are numbers where they print as they are written."""


def arrow_types() -> "dict[str, pa.DataType]":
    """What each of KINDS is in Arrow."""
    import pyarrow as pa

    kinds = (pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("us", tz="UTC"))
    return dict(zip(KINDS, kinds, strict=True))


def declared(schema: Mapping[str, str]) -> "dict[str, pa.DataType]":
    """The types of the columns that a checked --schema names."""
    types = arrow_types()
    return {name: types[kind] for name, kind in schema.items() if name != GUESS}


def schema_of(value: Any) -> Any:
    """--schema as a mapping of columns to types; `auto` alone or in a list stands under GUESS."""
    if not isinstance(value, str | list | tuple):
        return value
    entries = [value] if isinstance(value, str) else value
    pairs: dict[str, str] = {}
    for entry in entries:
        name, separator, kind = str(entry).rpartition(":")
        if entry != "auto" and not (separator and name and kind):
            raise ValueError(f"{entry!r} is not of the form name:type, nor auto")
        if entry != "auto" and pairs.get(name, kind) != kind:
            raise ValueError(f"column {name!r} has two types, {pairs[name]} and {kind}; give one")
        pairs.update({GUESS: "auto"} if entry == "auto" else {name: kind})
    return pairs


SchemaTypes = Annotated[Mapping[str, str], pydantic.BeforeValidator(schema_of)]
"""The field of a job that --schema fills."""


def check_schema(schema: Mapping[str, str]) -> None:
    """Raises ValueError for a type that --schema does not know."""
    unknown = [kind for name, kind in schema.items() if kind not in KINDS and (name, kind) != (GUESS, "auto")]
    if unknown:
        raise ValueError(f"schema type {unknown[0]!r} is unknown; known are {', '.join(KINDS)}, or auto for all")
