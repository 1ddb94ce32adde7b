"""From a block as read to Rows: every column under its output name and in its declared type."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.dead_letters import position_columns
from transforms.batches.misfits import named, without
from transforms.batches.schemas import Columns, rows_schema
from transforms.read.formats.blocks import Block, Damage, Unfit
from transforms.read.values.convert import convert, has_times, outside_calendar, texts_of
from transforms.read.values.ids import id_strings

Mask = npt.NDArray[np.bool_]


def conform(block: Block, columns: Columns, *, source: str, split: int) -> tuple[pa.RecordBatch, list[Damage]]:
    """The rows of `block` as Rows without duplicates marked, and those that cannot be rows.

    That is a row whose id is no id, and, if the columns are strict, one with a kept value that does not fit. Otherwise
    such a value is null, and the column kept_misfits of its row names it.
    """
    rows, positions = block.rows, block.positions
    fits = np.ones(rows.num_rows, bool)
    damage: list[Damage] = []

    def refuse(bad: Mask, code: str, reason: str) -> None:
        bad = bad & fits
        if bad.any():
            damage.append(Damage(positions[bad], code, reason))
            np.logical_and(fits, ~bad, out=fits)

    ids, bad = _ids(rows, positions, columns, source)
    refuse(bad, "wrong_type", f"the value of {columns.id!r} is no id: not a whole number, or too large a double")
    reported: dict[str, list[Unfit]] = {}
    for unfit in block.unfit:
        reported.setdefault(unfit.column, []).append(unfit)
    kept, misfits = [], {}
    for name, field in zip(columns.kept_from, columns.kept, strict=True):
        column = _column(rows, name, field.type)
        converted, bad = _kept(without_nan(column) if name == columns.label else column, field.type, name, columns)
        converted = without_nan(converted) if name == columns.label else converted
        if columns.strict:
            refuse(bad, "wrong_type", f"a value of {name!r} does not fit {field.type}")
        for unfit in reported.get(name, ()):
            here = np.isin(positions, unfit.positions)
            if columns.strict:
                refuse(here, unfit.code, unfit.reason)
            bad = bad | here
        kept.append(converted)
        misfits[field.name] = bad
    texts = [texts_of(_column(rows, name)) for name in (columns.text, columns.text_pair) if name]
    batch = pa.RecordBatch.from_arrays(
        [
            ids,
            *texts,
            *kept,
            *position_columns(source, split, positions),
            named(rows.num_rows, misfits),
            pa.array(np.zeros(rows.num_rows, bool)),
            pa.nulls(rows.num_rows, pa.string()),
            *([] if columns.earlier is None else [pa.nulls(rows.num_rows, columns.earlier)]),
        ],
        schema=rows_schema(columns),
    )
    return (batch if fits.all() else batch.filter(pa.array(fits))), damage


def without_nan(column: pa.Array) -> pa.Array:
    """`column` with null for NaN: as a string it would be a class named nan."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column.cast(pa.float64())), pa.scalar(None, column.type), column)


def _kept(column: pa.Array, kind: pa.DataType, name: str, columns: Columns) -> tuple[pa.Array, Mask]:
    """A kept column in its type. A number that nobody asked for must print as it is written."""
    converted, bad = convert(column, kind, exact=name not in columns.types)
    if columns.bounded and has_times(kind) and (outside := outside_calendar(converted)).any():
        return without(converted, outside), bad | outside
    return converted, bad


def _column(rows: pa.RecordBatch, name: str, kind: pa.DataType = pa.string()) -> pa.Array:  # noqa: B008
    # Not by the list of names, which is made anew each time: there may be very many.
    at = rows.schema.get_field_index(name)
    return rows.column(at) if at >= 0 else pa.nulls(rows.num_rows, kind)


def _ids(
    rows: pa.RecordBatch, positions: npt.NDArray[np.int64], columns: Columns, source: str
) -> tuple[pa.Array, Mask]:
    if columns.id is not None:
        return id_strings(_column(rows, columns.id), columns.types.get(columns.id))
    numbers = pa.array(positions).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(source), numbers, "#"), np.zeros(rows.num_rows, bool)
