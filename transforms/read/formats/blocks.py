"""What the readers of all formats give: blocks of rows, each row with its position in the file."""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of one file, or one stream of a BigQuery read session, that is read in one go.

    `number` orders all pieces of a plan by file name and place. `start` and `end` are row groups (Parquet) or bytes
    (line formats; a whole file has end -1). `first_row` is the position of its first row in the file; `rows` is the
    number of its rows where the plan knows it. The `version` of a stream is its name.
    """

    number: int
    file: str
    size: int
    version: str
    format: str
    compression: str | None = None
    start: int = 0
    end: int = -1
    first_row: int = 0
    rows: int | None = None


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

    `covered` are the positions this block answers for: the books rest on it. It comes from the file's structure
    (footer, counted lines), never from what was parsed; only a CSV has no structure but its records. `rows` has the
    wanted columns under their input names, `positions[i]` is the place of its row i. `marked`: fields of a TSV that
    begin with a quotation mark and were read without quoting because nobody said what it means.
    wanted columns under their input names, `positions[i]` is the place of its row i. `unfit` names kept values that
    are null because they did not fit.
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


class NotWhatItClaimsError(ValueError):
    """A file does not have the format its name or the job declares."""


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


def as_binary(column: pa.Array) -> pa.Array:
    """The bytes of a string-like column of any Arrow flavour, without looking at them."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.binary())


def utf8(column: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """`column` as valid strings, null where its bytes are not UTF-8, and a mask of those rows.

    One cast checks everything; only what it refuses is halved down to the rows at fault.
    """
    column = as_binary(column)
    try:
        return column.cast(pa.string()), np.zeros(len(column), bool)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        if len(column) == 1:
            return pa.nulls(1, pa.string()), np.ones(1, bool)
    half = len(column) // 2
    (left, bad_left), (right, bad_right) = utf8(column.slice(0, half)), utf8(column.slice(half))
    return pa.concat_arrays([left, right]), np.concatenate([bad_left, bad_right])


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold texts."""
    value: Any = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_string(value)
        or pa.types.is_large_string(value)
        or pa.types.is_string_view(value)
        or pa.types.is_binary(value)
        or pa.types.is_large_binary(value)
        or pa.types.is_binary_view(value)
        or pa.types.is_null(value)
    )
