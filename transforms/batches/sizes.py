"""How many bytes rows have, and cutting batches and blocks by them: memory follows bytes, whichever column has them.

A value of a dictionary counts for every row that has it: a few bytes of a file can stand for gigabytes of a column.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.schemas import LARGEST_VALUE, MAX_BATCH_BYTES, MAX_ROWS, MAX_TEXT_BYTES, Columns
from transforms.read.formats.blocks import Block, Positions, Unfit, is_text, positions

Bytes = npt.NDArray[np.int64]
MANY_ROWS = 8 * MAX_ROWS
"""Rows of one block at most: after each, reading can end."""
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
    return np.full(len(column), -(-column.nbytes // max(1, len(column))), np.int64)


def _by_offsets(values: pa.Array, offsets: Bytes) -> Bytes:
    if not len(offsets):
        return np.zeros(0, np.int64)
    inside = row_bytes(values.slice(int(offsets[0]), int(offsets[-1] - offsets[0])))
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
    return sum(_column_bytes(column) for column in batch.columns)


def _column_bytes(column: pa.Array) -> int:
    # What Arrow says at once counts a dictionary once, however many rows have its values.
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
    return [batch.slice(start, end - start) for start, end in _parts(batch, TEXTS, MAX_ROWS)]


def _parts(batch: pa.RecordBatch, texts: Sequence[str], most_rows: int) -> list[tuple[int, int]]:
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


def bounded(block: Block, columns: Columns) -> Iterator[Block]:
    """`block` in parts of at most MAX_TEXT_BYTES of text and MAX_BATCH_BYTES in all, as far as rows allow it.

    Of a text above the limit of `columns` a little more than the limit is left: enough to see that it is too long. A
    value of a kept column above LARGEST_VALUE becomes null, and is unfit.
    """
    rows = _shortened(block.rows, columns)
    # From here on nobody holds what may be much too large.
    block = block._replace(rows=rows)
    whole = is_small(rows) and rows.num_rows <= MANY_ROWS
    ends = [(0, rows.num_rows)] if whole else _parts(rows, _texts(columns), MANY_ROWS)
    if len(ends) == 1:
        yield _carried(block, columns)
        return
    place, unfit = block.positions, block.unfit
    # What the block answers for besides its rows: those it could not read.
    rest = np.setdiff1d(block.covered, place, assume_unique=True)
    yield block._replace(covered=rest, rows=rows.slice(0, 0), positions=positions(0, 0), unfit=())
    for start, end in ends:
        here = place[start:end]
        of_these = [lost._replace(positions=np.intersect1d(here, lost.positions)) for lost in unfit]
        some = [lost for lost in of_these if len(lost.positions)]
        part = Block(here, rows.slice(start, end - start), here, [], unfit=some)
        yield _carried(part, columns)


def _texts(columns: Columns) -> list[str]:
    # An id is never shortened: two that differ at their ends would become duplicates.
    return [name for name in (columns.text, columns.text_pair) if name not in (None, columns.id)]


def _shortened(rows: pa.RecordBatch, columns: Columns) -> pa.RecordBatch:
    """`rows` with at most one byte more than the limit of each text; a character may be cut through."""
    most = columns.max_text_bytes
    for name in {*_texts(columns)} & {*rows.schema.names}:
        column = rows.column(name)
        # What is no text yet is made one in its row, and its length is looked at there.
        if is_text(column.type) and column.nbytes > most and (row_bytes(column) > most).any():
            rows = rows.set_column(rows.schema.get_field_index(name), name, _prefixes(column, most + 1))
    return rows


def _prefixes(column: pa.Array, size: int) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(column.indices, _prefixes(column.dictionary, size))
    large = pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type)
    return pc.binary_slice(column.cast(pa.large_binary() if large else pa.binary()), 0, size)


def _carried(block: Block, columns: Columns) -> Block:
    """`block` with null for a kept value above LARGEST_VALUE, which is in a part by itself, beside its row's others."""
    rows, unfit = block.rows, [*block.unfit]
    if rows.num_rows == 1 and total_bytes(rows) > LARGEST_VALUE:
        for name in {*columns.kept_from} & {*rows.schema.names} - {columns.id, *_texts(columns)}:
            field = rows.schema.field(name)
            if _column_bytes(rows.column(name)) > LARGEST_VALUE:
                rows = rows.set_column(rows.schema.get_field_index(name), field, pa.nulls(1, field.type))
                unfit.append(too_large(name, block.positions))
    return block._replace(rows=rows, unfit=unfit)


def too_large(column: str, where: Positions) -> Unfit:
    """What is said of values of a kept column that are too large to be carried."""
    return Unfit(column, where, "wrong_type", f"the value of {column!r} has more than {LARGEST_VALUE:,} bytes")
