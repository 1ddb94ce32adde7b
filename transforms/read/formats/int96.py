"""Parquet's int96 times (Spark's and Impala's): read as microseconds, and none that wraps.

Nanoseconds in 64 bits end in 1677 and 2262, where Arrow wraps without a word; microseconds reach 290,000 years.
What lies beyond even those is found by reading the column a second time, in seconds, which every int96 fits.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.batches.misfits import without

UNIT = "us"
_PER_SECOND = 1_000_000
Mask = npt.NDArray[np.bool_]
Wrapped = list[tuple[str, Mask, str]]


class Twin:
    """The columns with int96 times among `wanted`, read once more beside `parquet`, which reads `file` in UNIT.

    `wanted` are columns or parts of structs, levels joined by dots.
    """

    def __init__(self, file: BinaryIO, parquet: pq.ParquetFile, wanted: Sequence[str]) -> None:
        leaves, names = parquet.schema, parquet.schema_arrow.names
        times = [leaves.column(i).path + "." for i in range(len(leaves)) if _is_int96(leaves.column(i))]
        # Without such a time nothing is looked at: there may be very many columns.
        of = {part: _column(part, frozenset(names)) for part in wanted} if times else {}
        wanted = wanted if times else ()
        self._columns = list(dict.fromkeys(of[part] for part in wanted if any(t.startswith(part + ".") for t in times)))
        # Of a struct the same parts as `parquet` reads.
        self._parts = [part for part in wanted if of[part] in self._columns]
        self._parquet = pq.ParquetFile(file, coerce_int96_timestamp_unit="s") if self._columns else None

    def beside(
        self, batches: Iterable[pa.RecordBatch], at_once: int, group: int
    ) -> Iterator[tuple[pa.RecordBatch, Wrapped]]:
        """Each batch of a row group, without what wrapped, and the columns and rows where something did."""
        if self._parquet is None:
            # Nothing here holds a batch meanwhile: it may be as large as one value is.
            return zip(batches, itertools.repeat([]), strict=False)
        return self._compared(self._parquet, batches, at_once, group)

    def _compared(
        self, parquet: pq.ParquetFile, batches: Iterable[pa.RecordBatch], at_once: int, group: int
    ) -> Iterator[tuple[pa.RecordBatch, Wrapped]]:
        twins = parquet.iter_batches(at_once, row_groups=[group], columns=self._parts)
        for batch, seconds in zip(batches, twins, strict=True):
            wrapped: Wrapped = []
            for name in self._columns:
                mask = _wraps(batch.column(name), seconds.column(name))
                if mask.any():
                    wrapped.append((name, mask, f"a value of {name!r} is a time beyond what 64 bits hold"))
                    at = batch.schema.get_field_index(name)
                    batch = batch.set_column(at, batch.schema.field(at), without(batch.column(name), mask))
            yield batch, wrapped


def _column(part: str, names: Collection[str]) -> str:
    """The column that `part` is, or is a part of."""
    return part if part in names else max((name for name in names if part.startswith(name + ".")), key=len)


def _is_int96(leaf: pq.ColumnSchema) -> bool:
    return bool(leaf.physical_type == "INT96")


def _wraps(micros: pa.Array, seconds: pa.Array) -> Mask:
    """Rows with a time, at any depth, that is another one in microseconds than in seconds."""
    kind = micros.type
    wraps = np.zeros(len(micros), bool)
    if pa.types.is_timestamp(kind) and seconds.type != kind:
        pair = [pc.fill_null(part.view(pa.int64()), 0).to_numpy(zero_copy_only=False) for part in (micros, seconds)]
        wraps = pair[0] // _PER_SECOND != pair[1]
    elif pa.types.is_struct(kind):
        for part, other in zip(micros.flatten(), seconds.flatten(), strict=True):
            wraps |= _wraps(part, other)
    elif pa.types.is_list(kind):
        inside = _wraps(micros.flatten(), seconds.flatten())
        wraps[np.unique(pc.list_parent_indices(micros).to_numpy()[inside])] = True
    return wraps
