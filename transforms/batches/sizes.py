"""How many bytes rows have, and cutting batches and blocks by them: memory depends on bytes, in whichever column.

A value of a dictionary counts for every row that has it: a few bytes of a file can stand for gigabytes of a column.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.schemas import MAX_BATCH_BYTES, MAX_ROWS, MAX_TEXT_BYTES

Bytes = npt.NDArray[np.int64]
TEXTS = ("text", "text_pair")


def row_bytes(column: pa.Array) -> Bytes:
    """Bytes of each row of `column`, int64 [N]; dictionaries written out, offsets and null bits left out."""
    kind: Any = column.type
    if isinstance(column, pa.ExtensionArray):
        return row_bytes(column.storage)
    if pa.types.is_dictionary(kind):
        each: Bytes = np.append(row_bytes(column.dictionary), 0)
        at: Bytes = pc.fill_null(column.indices.cast(pa.int64()), len(each) - 1).to_numpy()
        return each[at]
    if pa.types.is_struct(kind):
        parts = (row_bytes(column.field(i)) for i in range(kind.num_fields))
        return sum(parts, np.zeros(len(column), np.int64))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _by_offsets(column.values, column.offsets.to_numpy().astype(np.int64))
    if pa.types.is_fixed_size_list(kind):
        ends = np.arange(column.offset, column.offset + len(column) + 1, dtype=np.int64) * kind.list_size
        return _by_offsets(column.values, ends)
    if _is_binary(kind):
        return pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]
    return np.full(len(column), _each(column), np.int64)


def _each(column: pa.Array) -> int:
    """Bytes of one value, where all have the same."""
    return -(-int(column.nbytes) // max(1, len(column)))


def _by_offsets(values: pa.Array, offsets: Bytes) -> Bytes:
    if not len(offsets):
        return np.zeros(0, np.int64)
    within = values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    if pa.types.is_floating(within.type):
        # Vectors have hundreds of numbers a row, each of which would be looked at.
        return np.diff(offsets) * _each(within)
    inside = row_bytes(within)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(inside)])
    return np.diff(ends[offsets - offsets[0]])  # type: ignore[no-any-return]


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary_view(kind)
    )


def total_bytes(batch: pa.RecordBatch) -> int:
    """Bytes of all columns of `batch`, dictionaries written out."""
    return sum(column_bytes(column) for column in batch.columns)


def column_bytes(column: pa.Array) -> int:
    # Arrow's own figure, which is quicker, counts a dictionary once, however many rows share its values.
    return int(row_bytes(column).sum()) if _has_dictionary(column.type) else int(column.nbytes)


def _has_dictionary(kind: Any) -> bool:
    return bool(pa.types.is_dictionary(kind)) or any(
        _has_dictionary(kind.field(i).type) for i in range(kind.num_fields)
    )


def text_bytes(batch: pa.RecordBatch) -> int:
    """Bytes of text in Rows."""
    return sum(int(row_bytes(batch.column(name)).sum()) for name in TEXTS if name in batch.schema.names)


def is_small(batch: pa.RecordBatch) -> bool:
    """Whether all of `batch` has no more bytes than its texts alone may have."""
    return total_bytes(batch) <= MAX_TEXT_BYTES


def cut(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    """Cuts Rows so that no part has more than MAX_ROWS rows, MAX_TEXT_BYTES of text or MAX_BATCH_BYTES in all.

    One row that has more is a part by itself.
    """
    if batch.num_rows <= MAX_ROWS and is_small(batch):
        return [batch] if batch.num_rows else []
    return [batch.slice(start, end - start) for start, end in parts(batch, TEXTS, MAX_ROWS)]


def parts(batch: pa.RecordBatch, texts: Sequence[str], most_rows: int) -> list[tuple[int, int]]:
    """Where to cut: first row and end of each part."""
    weights = {name: row_bytes(batch.column(name)) for name in dict.fromkeys(batch.schema.names)}
    nothing = np.zeros(batch.num_rows, np.int64)
    of_text = sum((weights[name] for name in {*texts} & weights.keys()), nothing)
    of_all = sum(weights.values(), nothing)
    if not batch.num_rows:
        return [(0, 0)]
    # sums[i] is that of the rows before row i: a part ends where one of them would have too much.
    sums = [(np.append(0, np.cumsum(of_text)), MAX_TEXT_BYTES), (np.append(0, np.cumsum(of_all)), MAX_BATCH_BYTES)]
    found, start = [], 0
    while start < batch.num_rows:
        fits = [int(np.searchsorted(sums_, sums_[start] + most, "right")) - 1 for sums_, most in sums]
        end = max(start + 1, min(batch.num_rows, start + most_rows, *fits))
        found.append((start, end))
        start = end
    return found
