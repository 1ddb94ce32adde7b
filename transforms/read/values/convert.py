"""From a column as read to the type the job declares: the same value, or null and a mark, never another value."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.texts import as_binary, as_text, is_text, utf8
from transforms.read.values.written import EXACT, out_of_years, parse, try_cast

Mask = npt.NDArray[np.bool_]


def convert(column: pa.Array, kind: pa.DataType, *, exact: bool = False) -> tuple[pa.Array, Mask]:
    """`column` as `kind`, with nulls where that is not possible and a mask of those rows.

    Text may come as bytes that nobody has checked, and stays so for a string; `exact`: see written.parse.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    fine = np.zeros(len(column), bool)
    if column.type == kind or pa.types.is_null(column.type):
        return column.cast(kind), fine
    if is_text(column.type):
        if pa.types.is_string(kind):
            return as_binary(column).cast(kind, safe=False), fine
        if is_text(kind):
            return column.cast(kind), fine
        texts, bad = utf8(column)
        values, unfit = parse(texts, kind, exact=exact)
        return values, bad | unfit
    if pa.types.is_string(kind):
        if not has_times(column.type) or not (beyond := outside_calendar(column)).any():
            return as_text(column), fine
        # Arrow writes a sentence in the place of what has no date, and Python none at all.
        return as_text(column.take(pa.array(np.arange(len(column)), mask=beyond))), beyond
    return _cast(column, kind)


def convertible(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of one type can mean another one: a number is no time, and a list no number."""
    if pa.types.is_string(wanted) or is_text(found) or found == wanted:
        return True
    both = (found, wanted)
    return any(all(map(group, both)) for group in (_is_number, _is_day)) or (
        any(map(pa.types.is_boolean, both)) and any(map(pa.types.is_integer, both))
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_day(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _cast(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Mask]:
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())  # Arrow compares no half floats.
    if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(kind) and _UNITS[column.type.unit] > 1e6:
        # What is finer than a microsecond is cut, as it is of text; nothing coarser is.
        column = _cut(column) if kind.unit == "us" else column
    values = _try(column, kind)
    bad = pc.and_(column.is_valid(), values.is_null()).to_numpy(zero_copy_only=False)
    if not pa.types.is_nested(kind):
        bad = bad | _differs(column, values)
    return (values if not bad.any() else values.take(pa.array(np.arange(len(values)), mask=bad))), bad


def _cut(column: pa.Array) -> pa.Array:
    """Nanoseconds as the microseconds they are in; Arrow's own floor overflows at the earliest times."""
    nanos = pc.fill_null(column.view(pa.int64()), 0).to_numpy()
    whole = pa.array(nanos // 1_000, mask=column.is_null().to_numpy(zero_copy_only=False))
    return whole.view(pa.timestamp("us", column.type.tz))


def _try(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_integer(column.type) and pa.types.is_floating(kind):
        # Arrow refuses what is above 2^53 even where a double holds it; the way back tells.
        return column.cast(kind, safe=False)
    return try_cast(column, kind)


_UNITS = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}


def _differs(before: pa.Array, after: pa.Array) -> Mask:
    """Which values are other ones on the way back: a cast that wraps, overflows or rounds is not always refused."""
    back = _try(after, before.type)
    same = pc.fill_null(pc.equal(back, before), False)
    if pa.types.is_floating(before.type):
        same = pc.or_(same, pc.fill_null(pc.and_(pc.is_nan(before), pc.is_nan(after)), False))
    if pa.types.is_decimal(before.type) and pa.types.is_floating(after.type):
        # The nearest double of a fraction is what a double is for.
        same = pc.or_(same, pc.fill_null(pc.less(pc.abs(after.cast(pa.float64())), EXACT), False))
    return pc.and_(pc.and_(before.is_valid(), after.is_valid()), pc.invert(same)).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def texts_of(column: pa.Array) -> pa.Array:
    """A column of texts as bytes that nobody has checked; numbers and others, which --schema may allow, as text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return as_binary(column if is_text(column.type) else as_text(column))


def outside_calendar(column: pa.Array) -> Mask:
    """Which rows have a date or time outside the years 1 to 9999, at any depth: no table of BigQuery takes them."""
    kind = column.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return out_of_years(column)
    outside = np.zeros(len(column), bool)
    if pa.types.is_struct(kind):
        for part in column.flatten():
            outside |= outside_calendar(part)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inside = outside_calendar(column.flatten())
        outside[np.unique(pc.list_parent_indices(column).to_numpy()[inside])] = True
    return outside


def has_times(kind: pa.DataType) -> bool:
    """Whether there are dates or times at any depth of a type."""
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return True
    return any(has_times(kind.field(i).type) for i in range(kind.num_fields))
