"""Columns of texts: as bytes, as valid UTF-8, as what a person would write."""

import json
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def as_binary(column: pa.Array) -> pa.Array:
    """The bytes of a string-like column of any Arrow flavour, without looking at them."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.binary())


def utf8(column: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """`column` as valid strings, null where its bytes are not UTF-8, and a mask of those rows.

    One cast checks everything; only what it refuses is halved down to the rows at fault.
    """
    column = as_binary(column)
    try:
        return column.cast(pa.string()), np.zeros(len(column), bool)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        if len(column) == 1:
            return pa.nulls(1, pa.string()), np.ones(1, bool)
    half = len(column) // 2
    (left, bad_left), (right, bad_right) = utf8(column.slice(0, half)), utf8(column.slice(half))
    return pa.concat_arrays([left, right]), np.concatenate([bad_left, bad_right])


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold texts."""
    value: Any = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_string(value)
        or pa.types.is_large_string(value)
        or pa.types.is_string_view(value)
        or pa.types.is_binary(value)
        or pa.types.is_large_binary(value)
        or pa.types.is_binary_view(value)
        or pa.types.is_null(value)
    )


def as_text(column: pa.Array) -> pa.Array:
    """The values of a column of any type as strings: lists, maps and structs as JSON, UUIDs in the usual form."""
    kind = column.type
    if isinstance(kind, pa.UuidType):
        raw = column.storage.to_pylist()
        return pa.array([None if value is None else str(uuid.UUID(bytes=value)) for value in raw], pa.string())
    if isinstance(kind, pa.BaseExtensionType):
        return as_text(column.storage)
    if pa.types.is_decimal(kind):
        # Arrow writes 12000 as 1.2E+4 where the scale is below 0.
        return pa.array([None if value is None else f"{value:f}" for value in column.to_pylist()], pa.string())
    if pa.types.is_fixed_size_binary(kind):
        return column.cast(pa.binary()).cast(pa.string(), safe=False)
    if is_plain(kind):
        try:
            return column.cast(pa.string())
        except pa.ArrowNotImplementedError:
            # Intervals, which Arrow cannot write: as Python does. They are never refused, and never null.
            return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    return pa.array([None if value is None else _json(value) for value in column.to_pylist()], pa.string())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain_value)


def _plain_value(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def is_plain(kind: pa.DataType) -> bool:
    """Whether a type is of single values, which can be written as text."""
    return not pa.types.is_nested(kind) and not pa.types.is_union(kind)
