"""From a block as read to Rows: every column under its output name and in its declared type."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.blocks import Block, Damage, as_binary
from transforms.dead_letters import place
from transforms.schemas import Columns, rows_schema


def conform(block: Block, columns: Columns, *, source: str, split: int) -> tuple[pa.RecordBatch, list[Damage]]:
    """The rows of `block` as Rows without duplicates marked, and its rows whose kept values do not fit."""
    rows, positions = block.rows, block.positions
    fits = np.ones(rows.num_rows, bool)
    kept, misfits = [], []
    for name, field in zip(columns.kept_from, columns.kept, strict=True):
        column = _column(rows, name, field.type)
        converted, bad = convert(without_nan(column) if name == columns.label else column, field.type)
        kept.append(converted)
        bad = bad & fits
        if bad.any():
            misfits.append(Damage(positions[bad], "wrong_type", f"a value of {name!r} does not fit {field.type}"))
            fits &= ~bad
    texts = [as_binary(_column(rows, name)) for name in (columns.text, columns.text_pair) if name]
    batch = pa.RecordBatch.from_arrays(
        [
            _ids(rows, positions, columns, source),
            *texts,
            *kept,
            *place(source, split, positions),
            pa.array(np.zeros(rows.num_rows, bool)),
            pa.nulls(rows.num_rows, pa.string()),
            *([] if columns.earlier is None else [pa.nulls(rows.num_rows, columns.earlier)]),
        ],
        schema=rows_schema(columns),
    )
    return (batch if fits.all() else batch.filter(pa.array(fits))), misfits


def id_strings(column: pa.Array) -> pa.Array:
    """Ids as strings whose bytes nobody has checked yet."""
    if pa.types.is_integer(column.type):
        return column.cast(pa.string())
    return as_binary(column).cast(pa.string(), safe=False)


def without_nan(column: pa.Array) -> pa.Array:
    """`column` with null for NaN: as a string it would be a class named nan."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column.cast(pa.float64())), pa.scalar(None, column.type), column)


def convert(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """`column` as `kind`, with nulls where that is not possible and a mask of those rows."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_binary(column.type) and not pa.types.is_binary(kind):
        column = column.cast(pa.string(), safe=False)
        if not pa.types.is_string(kind):
            # An empty field of a CSV is no number.
            column = pc.if_else(pc.equal(pc.binary_length(column), 0), pa.scalar(None, pa.string()), column)
    good = np.ones(len(column), bool)
    try:
        return column.cast(kind), ~good
    except (pa.ArrowException, UnicodeDecodeError):
        parts = []
        for i in range(len(column)):
            try:
                parts.append(column.slice(i, 1).cast(kind))
            except (pa.ArrowException, UnicodeDecodeError):
                parts.append(pa.nulls(1, kind))
                good[i] = False
    return pa.concat_arrays(parts), ~good


def _column(rows: pa.RecordBatch, name: str, kind: pa.DataType = pa.string()) -> pa.Array:  # noqa: B008
    # Not by the list of names, which is made anew each time: there may be very many.
    at = rows.schema.get_field_index(name)
    return rows.column(at) if at >= 0 else pa.nulls(rows.num_rows, kind)


def _ids(rows: pa.RecordBatch, positions: npt.NDArray[np.int64], columns: Columns, source: str) -> pa.Array:
    if columns.id is not None:
        return id_strings(_column(rows, columns.id))
    return pc.binary_join_element_wise(pa.scalar(source), pa.array(positions).cast(pa.string()), "#")
