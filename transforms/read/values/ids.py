"""Ids as strings: whatever a file has them as, one id is one string, and what could be another id is none."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.misfits import without
from transforms.batches.texts import as_binary, as_text, is_text
from transforms.read.values.convert import convert
from transforms.read.values.written import try_cast

Mask = npt.NDArray[np.bool_]
EXACT_BITS = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}
"""Of each floating type, the power of two from which on two whole numbers can be one value."""
_DIGITS = pa.decimal256(76, 0)


def is_id(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold ids without being told so."""
    if pa.types.is_dictionary(kind):
        return is_id(kind.value_type)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(number or is_text(kind) or isinstance(kind, pa.UuidType))


def id_strings(column: pa.Array, declared: pa.DataType | None = None) -> tuple[pa.Array, Mask]:
    """Ids as strings whose bytes nobody has checked yet, and the rows with a value that cannot be an id, null there.

    A number is written as a whole number. A fraction is no id, nor is a double so large that it could be another one.
    `declared` is the user's type: of a string, fractions are ids too.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    bad = np.zeros(len(column), bool)
    any_text = declared is not None and pa.types.is_string(declared)
    if declared is not None and not any_text:
        column, bad = convert(column, declared)
    kind = column.type
    if is_text(kind):
        return as_binary(column).cast(pa.string(), safe=False), bad
    if pa.types.is_floating(kind):
        strings = _of_floats(column, any_text)
    elif pa.types.is_decimal(kind):
        strings = try_cast(column, _DIGITS).cast(pa.string())
        strings = pc.coalesce(strings, as_text(column)) if any_text else strings
    else:
        strings, _ = convert(column, pa.string())
    lost = pc.and_(column.is_valid(), strings.is_null()).to_numpy(zero_copy_only=False)
    return strings, bad | lost


def _of_floats(column: pa.Array, any_text: bool) -> pa.Array:
    limit = float(1 << EXACT_BITS[column.type])
    values = column.cast(pa.float64())
    known = pc.fill_null(pc.less(pc.abs(values), limit), False)
    whole = pc.and_(known, pc.fill_null(pc.equal(values, pc.trunc(values)), False))
    numbers = without(values, ~whole.to_numpy(zero_copy_only=False)).cast(pa.int64()).cast(pa.string())
    if not any_text:
        return numbers
    fractions = without(column, ~known.to_numpy(zero_copy_only=False)).cast(pa.string())
    return pc.coalesce(numbers, fractions)
