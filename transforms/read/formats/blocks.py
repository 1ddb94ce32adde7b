"""What the readers of all formats give: blocks of rows, each row with its position in the file."""

import io
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import NotWhatItClaimsError

Positions = npt.NDArray[np.int64]


class Damage(NamedTuple):
    """Rows that could not be read: their positions, a code of the fixed list, and the reason without any text."""

    positions: Positions
    code: str
    reason: str


class Unfit(NamedTuple):
    """Rows of which one kept value is null because the reader could not make it fit; code and reason as of Damage."""

    column: str
    positions: Positions
    code: str
    reason: str


class Block(NamedTuple):
    """Some rows of a piece.

    `covered` are the positions this block answers for: the row counts rest on them. It comes from the file's structure
    (footer, counted lines), never from what was parsed; only a CSV has no structure but its records. `rows` has the
    wanted columns under their input names, `positions[i]` is the position of its row i. `marked`: fields of a TSV that
    begin with a quotation mark and were read without quoting because nobody said what it means. `unfit` names kept
    values that are null because they did not fit.
    """

    covered: Positions
    rows: pa.RecordBatch
    positions: Positions
    damage: list[Damage]
    marked: int = 0
    unfit: Sequence[Unfit] = ()


Blocks = Iterator[Block]

MAX_LINE_BYTES = 256 * 1024 * 1024
"""A longer line is no row of texts; without a limit one such file takes a worker's memory."""


def planned(file: BinaryIO, size: int) -> BinaryIO:
    """The first `size` bytes of a file, however much longer it has grown since it was planned."""
    return cast(BinaryIO, _Planned(file, size))


class _Planned(io.RawIOBase):
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            return self._file.seek(self._size + offset)
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if size is None or size < 0 else min(size, left))

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class ByteStream:
    """The bytes of a text file from `start` on, decompressed."""

    def __init__(self, file: BinaryIO, name: str, compression: str | None, start: int = 0) -> None:
        file.seek(start)
        self._stream: Any = pa.CompressedInputStream(file, compression) if compression else file
        self._name, self._compression = name, compression

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end; raises NotWhatItClaimsError naming the file if they are damaged."""
        try:
            return self._stream.read(size)  # type: ignore[no-any-return]
        except OSError as error:
            if not self._compression or error.errno is not None:
                raise
            raise NotWhatItClaimsError(
                f"{self._name}: cannot be decompressed as {self._compression} to its end"
            ) from error


def positions(start: int, count: int) -> Positions:
    """The `count` positions from `start` on."""
    return np.arange(start, start + count, dtype=np.int64)


def no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """A RecordBatch of `schema` without rows."""
    return pa.RecordBatch.from_pylist([], schema=schema)


def from_table(table: pa.Table) -> pa.RecordBatch:
    """The rows of `table` as one RecordBatch."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else no_rows(table.schema)
