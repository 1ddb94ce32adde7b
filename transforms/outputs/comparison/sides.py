"""One side of a comparison: the parts of a published date, read column by column into numbers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.batches.score_columns import EMBEDDING
from transforms.errors import RecordError, shown
from transforms.outputs.comparison.names import TEXT_HASH, Names, SideError
from transforms.outputs.comparison.right_ones import right_ones
from transforms.stores.choose import store_for

LABEL, LABELS, VALUE = "label", "labels", "value"
"""The column that says what is compared: one label, several labels, or a value."""
GOLD = "gold"
_RESULTS = {
    LABEL: ("label", "probability", "probabilities"),
    LABELS: ("labels", "probabilities"),
    VALUE: ("value",),
}
"""The model's own columns; see `scores_schema`."""
_BEHIND = "token_count"
_ROWS_AT_ONCE = 65_536
_AGAIN = "score the date again"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Side:
    """A published date: a name for it, the paths of its parts, and the rows that its manifest says each has."""

    name: str
    parts: tuple[str, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the columns of a side are: its kind, the columns that its job wrote, and the kept ones."""

    kind: str
    own: frozenset[str]
    kept: frozenset[str]


def layout_of(side: Side) -> Layout | None:
    """Of its first part; None if it has no part. Raises SideError if its columns are not those of scores."""
    if not side.parts:
        return None
    names = next(_each_part(side, lambda _, part: [part.schema_arrow])).names
    # A kept column may have any name that its own job does not write, that of another task's score too: the model's
    # columns are told by their place, behind the kept ones.
    before = names[: names.index(_BEHIND)] if _BEHIND in names else []
    for added in (EMBEDDING, "decision"):
        if before[-1:] == [added]:
            before.pop()
    for kind, result in _RESULTS.items():
        if names[:1] == ["id"] and tuple(before[-len(result) :]) == result:
            begin = len(before) - len(result)
            return Layout(kind=kind, own=frozenset({"id", *names[begin:]}), kept=frozenset(names[1:begin]))
    raise SideError(f"{side.name}: its files do not have the columns of scores; name a date that `score` published")


def read(
    side: Side,
    kind: str,
    names: Names,
    gold: str | None = None,
    separator: str | None = None,
    *,
    hashed: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows of the parts in order: `id`, and the numbers of the kind.

    LABEL: `label` int32 (a number of `names`), `probability` float32. LABELS: the same as lists. VALUE: `value`
    float64. With a `gold` column GOLD too: see right_ones. `hashed`: TEXT_HASH too, int64.
    """
    wanted = {LABEL: ("label", "probability"), LABELS: ("labels",), VALUE: ("value",)}[kind]
    more = [*([gold] if gold else []), *([TEXT_HASH] if hashed else [])]
    columns_read = ["id", *wanted, *more]

    def batches(path: str, part: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
        if missing := [name for name in columns_read if name not in part.schema_arrow.names]:
            raise RecordError(f"{path}: lacks {shown(missing[0])}, which the first part of its date has; {_AGAIN}")
        return part.iter_batches(_ROWS_AT_ONCE, columns=columns_read)  # type: ignore[no-any-return]

    for batch in _each_part(side, batches):
        columns = {"id": batch.column("id").cast(pa.large_string())}
        if kind == LABEL:
            columns["label"] = names.numbered(batch.column("label"))
            columns["probability"] = batch.column("probability")
        elif kind == LABELS:
            columns |= _given(batch.column("labels"), names)
        else:
            columns["value"] = batch.column("value").cast(pa.float64())
        if gold:
            columns[GOLD] = right_ones(
                batch.column(gold), names, side.name, gold, separator, several=kind == LABELS, numbers=kind == VALUE
            )
        if hashed:
            columns[TEXT_HASH] = batch.column(TEXT_HASH)
        yield pa.RecordBatch.from_pydict(columns)


def _each_part(side: Side, take: Callable[[str, pq.ParquetFile], Iterable[T]]) -> Iterator[T]:
    """What `take` reads of the parts, in order. A generator, so that no error of those who use it is caught here."""
    for path, rows in zip(side.parts, side.rows, strict=True):
        try:
            with store_for(path).open(path) as file, pq.ParquetFile(file) as part:
                if (found := part.metadata.num_rows) != rows:
                    raise RecordError(f"{path}: has {found:,} rows and not the {rows:,} of the manifest; {_AGAIN}")
                yield from take(path, part)
        except FileNotFoundError as error:
            raise SideError(
                f"{side.name}: {path} is gone; the date was published again or cleaned meanwhile: run the command again"
            ) from error
        except (pa.ArrowException, OSError) as error:
            # What the system or a store refuses has a number; Arrow's complaints about bytes have none.
            if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
                raise
            raise RecordError(f"{path}: is damaged (no Parquet); {_AGAIN}") from error


def _given(column: pa.ListArray, names: Names) -> dict[str, pa.Array]:
    entries, lengths = column.flatten(), pc.list_value_length(column).fill_null(0)
    offsets = pa.array(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))
    label, probability = names.numbered(entries.field("label")), entries.field("probability")
    return {
        "label": pa.LargeListArray.from_arrays(offsets, label),
        "probability": pa.LargeListArray.from_arrays(offsets, probability),
    }
