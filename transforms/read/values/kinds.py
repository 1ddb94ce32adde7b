"""The types in which columns of several files meet."""

from collections.abc import Callable

import pyarrow as pa

from transforms.batches.texts import is_plain


def meet_as_text(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether values of two types that cannot be widened are text where they meet."""
    # Times of two kinds are times: the user says which.
    times = pa.types.is_temporal(one) and pa.types.is_temporal(other)
    return is_plain(one) and is_plain(other) and not times


def has_nulls(kind: pa.DataType) -> bool:
    """Whether a type is not known, at any depth."""
    return pa.types.is_null(kind) or any(has_nulls(kind.field(i).type) for i in range(kind.num_fields))


def plain(kind: pa.DataType) -> pa.DataType:
    """One Arrow type for each meaning: an encoding of one file is not a property of the column."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    return _nested(kind, plain)


def without_nulls(kind: pa.DataType) -> pa.DataType:
    """`kind` with a string for what is not known."""
    return pa.string() if pa.types.is_null(kind) else _nested(kind, without_nulls)


def _nested(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """`kind` with `change` applied to the types inside it."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(change(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(change(kind.value_type)))
    return kind
