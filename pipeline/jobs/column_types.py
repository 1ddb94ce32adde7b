"""--schema: the types that a user can give to columns."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
GUESS = "*"
"""The key of `schema` under which `auto` stands: numbers of a CSV are numbers where they print as they are written."""


def schema_of(value: Any) -> Any:
    """--schema as a mapping of columns to types; `auto` alone or in a list stands under GUESS."""
    if not isinstance(value, str | list | tuple):
        return value
    entries = [value] if isinstance(value, str) else value
    pairs = {}
    for entry in entries:
        name, separator, kind = str(entry).rpartition(":")
        if entry != "auto" and not (separator and name and kind):
            raise ValueError(f"{entry!r} is not of the form name:type, nor auto")
        pairs.update({GUESS: "auto"} if entry == "auto" else {name: kind})
    return pairs


def check_schema(schema: Mapping[str, str]) -> None:
    """Raises ValueError for a type that --schema does not know."""
    unknown = [kind for name, kind in schema.items() if kind not in TYPES and (name, kind) != (GUESS, "auto")]
    if unknown:
        raise ValueError(f"schema type {unknown[0]!r} is unknown; known are {', '.join(TYPES)}, or auto for all")
