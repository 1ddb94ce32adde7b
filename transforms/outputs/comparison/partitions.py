"""Two sides joined by id: cut by a hash of the id into files of a temporary folder, and joined file by file."""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.outputs.comparison.names import TEXT_HASH

ROWS_AT_ONCE = 400_000
"""Rows of one side that are in memory at once, about."""
_MOST_FILES = 256

Numbers = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Rows of both sides with the same ids and texts, in the same order; how many ids the others have.

    `repeated`: ids that one of the sides has more than once; `other_text`: ids whose text is another one in B. They
    are in no other number.
    """

    a: pa.RecordBatch
    b: pa.RecordBatch
    only_a: int
    only_b: int
    repeated: int
    other_text: int

    @property
    def counts(self) -> dict[str, int]:
        """Of ids, by the names that they have in Ids."""
        others = {name: getattr(self, name) for name in ("only_a", "only_b", "repeated", "other_text")}
        return {"both": self.a.num_rows, **others}


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
    # Python's own hash is of all bytes, and has a key that nobody knows: no ids can be made for one part.
    hashes = np.fromiter(map(hash, ids.to_pylist()), np.int64, len(ids))
    return hashes % partitions


class DifferentTexts:
    """Counts different hashes, by files of the folder of which each fits in memory."""

    def __init__(self, folder: str, partitions: int) -> None:
        self._folder, self._partitions = folder, partitions
        self._stack = ExitStack()
        self._files: list[BinaryIO] = []

    def __enter__(self) -> "DifferentTexts":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, hashes: pa.Array) -> None:
        """Takes some of them, int64."""
        if not self._files:
            paths = [os.path.join(self._folder, f"texts-{part:03}") for part in range(self._partitions)]
            self._files = [self._stack.enter_context(open(path, "wb+")) for path in paths]  # noqa: SIM115
        numbers = hashes.to_numpy()
        part = numbers % self._partitions
        ordered, ends = (
            numbers[np.argsort(part, kind="stable")],
            np.cumsum(np.bincount(part, minlength=len(self._files))),
        )
        for file, some in zip(self._files, np.split(ordered, ends[:-1]), strict=True):
            file.write(some.tobytes())

    def count(self) -> int:
        """How many different ones there were."""
        found = 0
        for file in self._files:
            file.seek(0)
            found += len(np.unique(np.frombuffer(file.read(), np.int64)))
        return found


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
    taken_a, taken_b = _taken(a, b, rows_a[both]), _taken(b, a, rows_b[both])
    other = 0
    if TEXT_HASH in taken_a.schema.names and TEXT_HASH in taken_b.schema.names:
        same = pc.equal(taken_a.column(TEXT_HASH), taken_b.column(TEXT_HASH))
        if other := len(same) - same.true_count:
            taken_a, taken_b = taken_a.filter(same), taken_b.filter(same)
    return Joined(
        a=taken_a,
        b=taken_b,
        other_text=other,
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
