"""Two sides joined by id: cut by a hash of the id into files of a temporary folder, and joined file by file."""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

ROWS_AT_ONCE = 400_000
"""Rows of one side that are in memory at once, about."""
_MOST_FILES = 256
_BYTES = 64
"""Of an id that decide its part, from its beginning and from its end."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)

Numbers = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Rows of both sides with the same ids, in the same order; how many ids the others have.

    `repeated`: ids that one of the sides has more than once. They are in no other number.
    """

    a: pa.RecordBatch
    b: pa.RecordBatch
    only_a: int
    only_b: int
    repeated: int


def partitions_for(rows: int, rows_at_once: int = ROWS_AT_ONCE) -> int:
    """Into how many parts a side of so many rows is cut."""
    return min(_MOST_FILES, max(1, math.ceil(rows / rows_at_once)))


def join(a: Iterable[pa.RecordBatch], b: Iterable[pa.RecordBatch], folder: str, partitions: int) -> Iterator[Joined]:
    """The sides (with a column `id`), joined part by part; files are made in the folder, and deleted when read."""
    for name, side in (("a", a), ("b", b)):
        _scatter(side, [_path(folder, name, part) for part in range(partitions)])
    for part in range(partitions):
        yield _joined(*(_gathered(_path(folder, name, part)) for name in ("a", "b")))


def _path(folder: str, name: str, part: int) -> str:
    return os.path.join(folder, f"{name}-{part:03}.arrow")


def _scatter(side: Iterable[pa.RecordBatch], paths: list[str]) -> None:
    writers: list[pa.RecordBatchStreamWriter] = []
    with ExitStack() as stack:
        for batch in side:
            if not writers:
                writers = [stack.enter_context(pa.ipc.new_stream(path, batch.schema)) for path in paths]
            if len(paths) == 1:
                writers[0].write_batch(batch)
                continue
            part = partition_of(batch.column("id"), len(paths))
            order = np.argsort(part, kind="stable")
            sorted_, start = batch.take(pa.array(order)), 0
            for writer, count in zip(writers, np.bincount(part, minlength=len(paths)).tolist(), strict=True):
                if count:
                    writer.write_batch(sorted_.slice(start, count))
                start += count


def partition_of(ids: pa.LargeStringArray, partitions: int) -> Numbers:
    """The part of each id, int64 [B]."""
    offsets = np.frombuffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1]
    data = np.frombuffer(ids.buffers()[2] or b"", np.uint8)
    lengths = np.minimum(np.diff(offsets), _BYTES)
    begin, end = (_hashes(data, starts, lengths) for starts in (offsets[:-1], offsets[1:] - lengths))
    mixed = (begin ^ (end >> _SHIFT)) * _FACTOR + end
    mixed = (mixed ^ (mixed >> _SHIFT)) * _FACTOR
    return ((mixed >> _SHIFT) % np.uint64(partitions)).astype(np.int64)


def _hashes(data: npt.NDArray[np.uint8], starts: Numbers, lengths: Numbers) -> npt.NDArray[np.uint64]:
    """Of so many bytes from each start: a polynomial modulo 2**64, so that a byte counts by its place."""
    ends = np.cumsum(lengths)
    places = np.arange(lengths.sum()) - np.repeat(ends - lengths, lengths)
    powers = np.multiply.accumulate(np.full(_BYTES, _FACTOR, np.uint64))
    taken = data[places + np.repeat(starts, lengths)] + np.uint64(1)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(taken * powers[places], dtype=np.uint64)])
    return sums[ends] - sums[ends - lengths]  # type: ignore[no-any-return]


def _gathered(path: str) -> pa.RecordBatch | None:
    """The rows of one part of a side; None if the side has no row at all."""
    if not os.path.exists(path):
        return None
    with pa.ipc.open_stream(path) as reader:
        table = reader.read_all()
    os.unlink(path)
    return table.combine_chunks().to_batches()[0] if table.num_rows else _none(table.schema)


def _none(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _joined(a: pa.RecordBatch | None, b: pa.RecordBatch | None) -> Joined:
    nothing = pa.array([], pa.large_string())
    columns = [nothing if side is None else side.column("id") for side in (a, b)]
    encoded = pa.concat_arrays(columns).dictionary_encode()
    numbers, ids = encoded.indices.to_numpy(), len(encoded.dictionary)
    of_a, of_b = numbers[: len(columns[0])], numbers[len(columns[0]) :]
    (times_a, rows_a), (times_b, rows_b) = (_places(found, ids) for found in (of_a, of_b))
    both = (times_a == 1) & (times_b == 1)
    return Joined(
        a=_taken(a, b, rows_a[both]),
        b=_taken(b, a, rows_b[both]),
        only_a=int(((times_a == 1) & (times_b == 0)).sum()),
        only_b=int(((times_b == 1) & (times_a == 0)).sum()),
        repeated=int(((times_a > 1) | (times_b > 1)).sum()),
    )


def _places(found: Numbers, ids: int) -> tuple[Numbers, Numbers]:
    """How often each id is there, and its last row."""
    rows = np.zeros(ids, np.int64)
    rows[found] = np.arange(len(found))
    return np.bincount(found, minlength=ids), rows


def _taken(side: pa.RecordBatch | None, other: pa.RecordBatch | None, rows: Numbers) -> pa.RecordBatch:
    if side is None:
        # Then no id is in both.
        return _none(pa.schema([]) if other is None else other.schema)
    return side.take(pa.array(rows))
