"""Cuts blocks, so that memory follows bytes, whichever column has them."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.schemas import LARGEST_VALUE, MAX_ROWS, Columns
from transforms.batches.sizes import column_bytes, is_small, parts, row_bytes, total_bytes
from transforms.batches.texts import is_text
from transforms.read.formats.blocks import Block, Positions, Unfit, positions

MANY_ROWS = 8 * MAX_ROWS
"""Rows of one block at most: after each, reading can end."""


class Limits(NamedTuple):
    """How many bytes a value of a column may have at most, and which columns are texts: the others are kept."""

    most: Mapping[str, int] = MappingProxyType({})
    texts: frozenset[str] = frozenset()


def limits_of(columns: Columns) -> Limits:
    """The limits of the columns of a job. An id has none."""
    texts = _texts(columns)
    kept = dict.fromkeys({*columns.kept_from} - {columns.id}, LARGEST_VALUE)
    return Limits({**kept, **dict.fromkeys(texts, columns.max_text_bytes)}, frozenset(texts))


def bounded(block: Block, columns: Columns) -> Iterator[Block]:
    """`block` in parts of at most MAX_TEXT_BYTES of text and MAX_BATCH_BYTES in all, as far as rows allow it.

    Of a text above the limit of `columns` a little more than the limit is left: enough to see that it is too long. A
    value of a kept column above LARGEST_VALUE becomes null, and is unfit.
    """
    rows = _shortened(block.rows, columns)
    # From here on nobody holds what may be much too large.
    block = block._replace(rows=rows)
    whole = is_small(rows) and rows.num_rows <= MANY_ROWS
    ends = [(0, rows.num_rows)] if whole else parts(rows, _texts(columns), MANY_ROWS)
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
            if column_bytes(rows.column(name)) > LARGEST_VALUE:
                rows = rows.set_column(rows.schema.get_field_index(name), field, pa.nulls(1, field.type))
                unfit.append(too_large(name, block.positions))
    return block._replace(rows=rows, unfit=unfit)


def too_large(column: str, where: Positions) -> Unfit:
    """What is said of values of a kept column that are too large to be carried."""
    return Unfit(column, where, "wrong_type", why_too_large(column))


def why_too_large(column: str) -> str:
    """The reason for that."""
    return f"the value of {column!r} has more than {LARGEST_VALUE:,} bytes"
