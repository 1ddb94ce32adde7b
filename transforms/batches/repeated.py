"""Columns with the same value in every row of a batch, for what is said of the batch as a whole: one byte a row."""

from typing import Any

import numpy as np
import pyarrow as pa

WORK = "scoring_work"
"""Of what the model gave: the Work (runs/row_counts.py) that the whole batch took."""
PRECISION = "computed_in"
"""Of Scores with positions: the precision that the rows were computed in."""

_NUMBERS = ("scored", "copied", "remembered", "tokens", "padded", "model_nanos", "token_budget")
_OF_WINDOWS = ("windows", "windows_computed")
WORK_TYPE = pa.struct(
    [
        pa.field(name, pa.string() if name == "precision" else pa.int64(), False)
        for name in (*_NUMBERS, "precision", *_OF_WINDOWS)
    ]
)
WORK_FIELD = pa.field(WORK, pa.dictionary(pa.int8(), WORK_TYPE), nullable=False)
PRECISION_FIELD = pa.field(PRECISION, pa.dictionary(pa.int8(), pa.string()), nullable=False)


def repeated(value: Any, field: pa.Field, rows: int) -> pa.DictionaryArray:
    """The column of that field with `value` in each of so many rows."""
    values = pa.array([value], field.type.value_type)
    # Nothing to be checked: every index is that of the one value.
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), values, safe=False)


def value_of(batch: pa.RecordBatch, field: pa.Field) -> Any:
    """The value of such a column, also of a batch that has lost its rows."""
    return batch.column(field.name).dictionary[0].as_py()
