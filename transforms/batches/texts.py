"""Columns of texts: as bytes, as valid UTF-8, as what a person would write; and of several labels a text."""

import json
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

END = "\n"
"""Stands between the labels of a row. None may hold it: a label is a line of the graph's vocabulary."""
_LINE_ENDS = ("\n", "\r")


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


def join_labels(column: pa.Array, separator: str | None = None) -> pa.Array:
    """Strings of labels with END between them, null where there are none to be read.

    `column` holds strings: labels with `separator` between them, spaces around a label being no part of it, or without
    one JSON lists of strings, numbers and booleans. A row may have no label: that is the empty string. A label that is
    there twice is there once. An empty label in a list, one with the end of a line, and a list where a separator is
    given make the row unfit.
    """
    found = [None if text is None else _labels(text, separator) for text in column.to_pylist()]
    return pa.array([None if labels is None else END.join(dict.fromkeys(labels)) for labels in found], pa.string())


def split_labels(joined: str) -> list[str]:
    """What join_labels joined."""
    return joined.split(END) if joined else []


def _labels(text: str, separator: str | None) -> list[str] | None:
    listed = _list(text)
    if separator is not None:
        if listed is not None:
            return None  # A list where strings are read: its brackets would become parts of labels.
        labels = [label for part in text.split(separator) if (label := part.strip())]
    else:
        if listed is None or not all(isinstance(one, (str, bool)) for one in listed):
            return None
        labels = [one if isinstance(one, str) else json.dumps(one) for one in listed]
    fit = all(label and not any(end in label for end in _LINE_ENDS) for label in labels)
    return labels if fit else None


def _list(text: str) -> list[Any] | None:
    """The list in JSON that a string is, if it is one."""
    if not text.lstrip().startswith("["):
        return None
    try:
        # Numbers stay as they are written. NaN and its like are no labels.
        found = json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
