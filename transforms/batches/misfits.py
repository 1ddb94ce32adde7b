"""Kept values that do not fit their column: null in the row, and named beside it so that Write can count them."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]


def named(rows: int, found: Mapping[str, Mask], before: pa.Array | None = None) -> pa.Array:
    """A column list<string> of `rows` rows: the names whose mask is set there, after those of `before`; else null."""
    hit = [(name, mask) for name, mask in found.items() if mask.any()]
    if not hit:
        return pa.nulls(rows, pa.list_(pa.string())) if before is None else before
    names: list[list[str] | None] = [None] * rows if before is None else before.to_pylist()
    for name, mask in hit:
        for row in np.flatnonzero(mask).tolist():
            names[row] = [*(names[row] or []), name]
    return pa.array(names, pa.list_(pa.string()))


def count(column: pa.Array) -> Counter[str]:
    """How many rows of a column that `named` made have each name."""
    if column.null_count == len(column):
        return Counter()
    counted = pc.value_counts(column.flatten())
    return Counter({entry["values"]: entry["counts"] for entry in counted.to_pylist()})


def without(column: pa.Array, bad: Mask) -> pa.Array:
    """`column` of any type with nulls where `bad` is set."""
    return column.take(pa.array(np.arange(len(column)), mask=bad)) if bad.any() else column
