"""One side of a comparison: the parts of a published date, read column by column into numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.errors import RecordError, shown
from transforms.stores.choose import store_for

LABEL, LABELS, VALUE = "label", "labels", "value"
"""The column that says what is compared: one label, several labels, or a value."""
KINDS = (LABEL, LABELS, VALUE)
GOLD = "gold"
_ROWS_AT_ONCE = 65_536


class SideError(ValueError):
    """A published date cannot be compared; the message names it and says why."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """A published date: a name for it, and the paths of its parts."""

    name: str
    parts: tuple[str, ...]


class Names:
    """Numbers of the labels of both sides, in the order in which they were met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        return list(self._numbers)

    def numbered(self, labels: pa.Array) -> pa.Array:
        """int32 with the number of each label, null for null."""
        encoded = labels if pa.types.is_dictionary(labels.type) else labels.dictionary_encode()
        met = [self._numbers.setdefault(label, len(self._numbers)) for label in encoded.dictionary.to_pylist()]
        return pa.array(met, pa.int32()).take(encoded.indices)


def kind_of(side: Side) -> str | None:
    """The column of KINDS that its parts have; None if it has no part. Raises SideError if they have none of them."""
    names = _schema(side).names if side.parts else None
    found = None if names is None else next((kind for kind in KINDS if kind in names), "")
    if found == "":
        raise SideError(f"{side.name}: its files have none of the columns {', '.join(KINDS)}, so they are no scores")
    return found


def has_column(side: Side, column: str) -> bool:
    """Whether its parts have the column."""
    return bool(side.parts) and column in _schema(side).names


def _schema(side: Side) -> pa.Schema:
    with _opened(side, side.parts[0]) as part:
        return part.schema_arrow


def read(
    side: Side, kind: str, names: Names, gold: str | None = None, separator: str | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of the parts in order: `id`, and the numbers of the kind.

    LABEL: `label` int32 (a number of `names`), `probability` float32. LABELS: the same as lists. VALUE: `value`
    float64. With a `gold` column GOLD too, of the type of label or value, null where it is not known; strings of a
    LABELS side are cut at the separator, or are one label. Raises SideError for a gold column of another type.
    """
    wanted = {LABEL: ("label", "probability"), LABELS: ("labels",), VALUE: ("value",)}[kind]
    for path in side.parts:
        with _opened(side, path) as part:
            for batch in part.iter_batches(_ROWS_AT_ONCE, columns=["id", *wanted, *([gold] if gold else [])]):
                columns = {"id": batch.column("id").cast(pa.large_string())}
                if kind == LABEL:
                    columns["label"] = names.numbered(batch.column("label"))
                    columns["probability"] = batch.column("probability")
                elif kind == LABELS:
                    columns |= _given(batch.column("labels"), names)
                else:
                    columns["value"] = batch.column("value").cast(pa.float64())
                if gold:
                    columns[GOLD] = _gold(side, gold, batch.column(gold), kind, names, separator)
                yield pa.RecordBatch.from_pydict(columns)


@contextmanager
def _opened(side: Side, path: str) -> Iterator[pq.ParquetFile]:
    try:
        with store_for(path).open(path) as file, pq.ParquetFile(file) as part:
            yield part
    except FileNotFoundError as error:
        raise SideError(
            f"{side.name}: {path} is gone; the date was published again or cleaned meanwhile: run the command again"
        ) from error
    except pa.ArrowInvalid as error:
        raise RecordError(f"{path}: is damaged (no Parquet); score the date again") from error


def _given(column: pa.ListArray, names: Names) -> dict[str, pa.Array]:
    entries, offsets = column.flatten(), _offsets(column)
    label, probability = names.numbered(entries.field("label")), entries.field("probability")
    return {
        "label": pa.LargeListArray.from_arrays(offsets, label),
        "probability": pa.LargeListArray.from_arrays(offsets, probability),
    }


def _offsets(column: pa.ListArray) -> pa.Array:
    return pa.array(np.concatenate([np.zeros(1, np.int64), np.cumsum(pc.list_value_length(column).fill_null(0))]))


def _gold(
    side: Side, name: str, column: pa.Array, kind: str, names: Names, separator: str | None
) -> pa.Array | pa.LargeListArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        if kind == VALUE:
            return column.cast(pa.float64())
        if kind == LABEL:
            if pa.types.is_nested(column.type):
                raise pa.ArrowNotImplementedError("a list")
            return names.numbered(column.cast(pa.string()))
        if not pa.types.is_nested(column.type):
            strings = column.cast(pa.string())
            column = _parted(strings, separator) if separator else _alone(strings)
        labels = names.numbered(column.flatten().cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        what = {LABEL: "labels", LABELS: "lists of labels", VALUE: "numbers"}[kind]
        raise SideError(
            f"--label-column {shown(name)}: has the type {column.type} in {side.name}, and {what} are compared; name a "
            "kept column with the right ones"
        ) from error
    unknown: npt.NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return pa.LargeListArray.from_arrays(_offsets(column), labels, mask=pa.array(unknown))


def _alone(strings: pa.Array) -> pa.ListArray:
    """Each string as a list of its own, null as null."""
    known = strings.is_valid().to_numpy(zero_copy_only=False)
    ends = np.concatenate([np.zeros(1, np.int32), np.cumsum(known, dtype=np.int32)])
    return pa.ListArray.from_arrays(pa.array(ends), strings.drop_null(), mask=pa.array(~known))


def _parted(strings: pa.Array, separator: str) -> pa.ListArray:
    """As a training takes them: spaces around a label are no part of it, and an empty one is none."""
    listed = pc.split_pattern(strings, separator)
    labels = pc.utf8_trim_whitespace(listed.flatten())
    there = pc.not_equal(labels, "")
    rows = np.bincount(pc.list_parent_indices(listed).filter(there).to_numpy(), minlength=len(strings))
    ends = np.concatenate([np.zeros(1, np.int32), np.cumsum(rows, dtype=np.int32)])
    return pa.ListArray.from_arrays(pa.array(ends), labels.filter(there), mask=strings.is_null())
