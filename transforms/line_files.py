"""Reading files of one row a line: where the lines are, and plain text."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.blocks import (
    MAX_LINE_BYTES,
    Block,
    Blocks,
    ByteStream,
    NotWhatItClaimsError,
    Piece,
    Positions,
    positions,
)

CHUNK_BYTES = 8 * 1024 * 1024
_NEWLINE, _RETURN = b"\n\r"


class Lines(NamedTuple):
    """Whole lines of a file: `buffer[starts[i]:ends[i]]` is line `first + i`, without its line end."""

    buffer: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    first: int

    def line(self, i: int) -> bytes:
        return self.buffer[self.starts[i] : self.ends[i]]

    def join(self, which: Positions) -> bytes:
        return b"\n".join(self.line(i) for i in which.tolist())


def lines_of(file: BinaryIO, piece: Piece) -> Iterator[Lines]:
    """Whole lines of the byte range of `piece`, some megabytes at a time; raises NotWhatItClaimsError.

    That is when a compressed file is damaged or a line is longer than MAX_LINE_BYTES: how many rows are lost cannot be
    known, so no error budget may pass it.
    """
    stream = ByteStream(file, piece.file, piece.compression, piece.start)
    left = piece.end - piece.start if piece.end >= 0 else None
    first, rest = piece.first_row, b""
    while True:
        chunk = stream.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
        if left is not None:
            left -= len(chunk)
        if not chunk:
            break
        body, newline, tail = chunk.rpartition(b"\n")
        if newline:
            lines = split_lines(rest + body, first)
            first, rest = first + len(lines.starts), tail
            yield lines
        else:
            rest += chunk
            check_line(rest, piece.file)
    if rest:
        yield split_lines(rest, first)


def check_line(start: bytes, file: str) -> None:
    """Raises NotWhatItClaimsError if a line that starts with `start` is too long to be one."""
    if len(start) > MAX_LINE_BYTES:
        raise NotWhatItClaimsError(f"{file}: has a line of more than {MAX_LINE_BYTES:,} bytes")


def split_lines(buffer: bytes, first: int) -> Lines:
    """Where the lines of `buffer` start and end; a byte order mark of the file's first line is left out."""
    data = np.frombuffer(buffer, np.uint8)
    breaks = np.flatnonzero(data == _NEWLINE).astype(np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), breaks + 1])
    ends = np.concatenate([breaks, np.full(1, len(buffer), np.int64)])
    if first == 0 and buffer.startswith(b"\xef\xbb\xbf"):
        starts[0] = 3
    if len(data):
        ends = ends - ((ends > starts) & (data[np.maximum(ends, 1) - 1] == _RETURN))
    return Lines(buffer, starts, ends, first)


def read_plain(file: BinaryIO, piece: Piece, column: str) -> Blocks:
    """Plain text: each line is one row with the single column `column`; a blank line is a row too."""
    for lines in lines_of(file, piece):
        count = len(lines.starts)
        covered = positions(lines.first, count)
        texts = pa.array([lines.line(i) for i in range(count)], pa.binary())
        yield Block(covered, pa.record_batch([texts], names=[column]), covered, [])
