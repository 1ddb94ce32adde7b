"""The labels of texts that have any number of them, on their way from a column to the graph: one string a row."""

import json
from typing import Any

import pyarrow as pa

END = "\n"
"""Stands between the labels of a row. None may hold it: a label is a line of the graph's vocabulary."""
_LINE_ENDS = ("\n", "\r")


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
