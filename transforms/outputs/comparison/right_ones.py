"""The right labels or values of a kept column, read as a training reads them."""

from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.texts import as_text, is_plain, is_text, join_labels, split_labels
from transforms.errors import shown
from transforms.outputs.comparison.names import Names, SideError

MOST_LABELS, LONGEST_LABEL = 100_000, 300
"""More different ones, or a longer one (in characters): a column of texts or ids, of which none may be shown."""


def right_ones(
    column: pa.Array,
    names: Names,
    side: str,
    name: str,
    separator: str | None = None,
    *,
    several: bool = False,
    numbers: bool = False,
) -> pa.Array | pa.LargeListArray:
    """Numbers of labels (int32), lists of them where texts have `several`, or values (float64) with `numbers`.

    Null where the right one is not known: null, a blank string, and what a training would drop. `side` and `name` are
    of the column. Raises SideError for a column of another type, and for one of texts.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    what = "numbers" if numbers else "lists of labels" if several else "labels"
    other_type = SideError(
        f"--label-column {shown(name)}: has the type {column.type} in {side}, and {what} are compared; name a "
        "kept column with the right ones"
    )
    # Structs and maps hold no labels, nor do lists where there is one.
    if not (numbers or is_plain(column.type) or (several and _is_list(column.type))):
        raise other_type
    try:
        if numbers:
            return _known(column).cast(pa.float64(), safe=is_text(column.type))
        texts = as_text(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise other_type from error
    asked = _Asked(names, side, name)
    if not several:
        return asked.numbered(_known(texts))
    # Each different string is read once.
    encoded = texts.dictionary_encode()
    listed = encoded.dictionary
    joined = join_labels(listed, separator)
    unread = listed.filter(pc.is_null(joined))
    lists = pc.starts_with(pc.utf8_ltrim_whitespace(unread), "[")
    if separator is not None and pc.any(lists).as_py():
        asked.refuse("has lists, between whose labels no separator stands; leave --label-separator out")
    if separator is None and _known(unread.filter(pc.invert(lists))).drop_null():
        asked.refuse("has strings that are no lists (JSON); say with --label-separator what stands between labels")
    sets = pa.array([None if one is None else split_labels(one) for one in joined.to_pylist()], pa.list_(pa.string()))
    ends = np.cumsum(pc.list_value_length(sets).fill_null(0).to_numpy(), dtype=np.int64)
    offsets = pa.array(np.concatenate([np.zeros(1, np.int64), ends]))
    found = pa.LargeListArray.from_arrays(offsets, asked.numbered(sets.flatten()), mask=sets.is_null())
    return found.take(encoded.indices)


class _Asked:
    """The column that was asked for."""

    def __init__(self, names: Names, side: str, name: str) -> None:
        self._names, self._side, self._name = names, side, name

    def refuse(self, why: str) -> NoReturn:
        raise SideError(f"--label-column {shown(self._name)}: {why} ({self._side})")

    def numbered(self, labels: pa.Array) -> pa.Array:
        longest = pc.max(pc.utf8_length(labels)).as_py() or 0
        if longest <= LONGEST_LABEL:
            found = self._names.numbered(labels)
            if len(self._names) <= MOST_LABELS:
                return found
        return self.refuse(
            f"is no column of labels: it has more than {MOST_LABELS:,} different ones, or one of more than "
            f"{LONGEST_LABEL} characters; name a kept column with the right ones"
        )


def _is_list(kind: pa.DataType) -> bool:
    """Whether it is of lists of plain values."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    return is_plain(kind.value_type)


def _known(column: pa.Array) -> pa.Array:
    """Null in place of blank strings."""
    if not is_text(column.type):
        return column
    strings = column.cast(pa.string())
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(strings), ""), pa.scalar(None, pa.string()), strings)
