"""Reading files of one row a line: where the lines are, and plain text."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.blocks import MAX_LINE_BYTES, Block, Blocks, NotWhatItClaimsError, Piece, Positions, positions
from transforms.dialect import text_stream

CHUNK_BYTES = 8 * 1024 * 1024
_NEWLINE, _RETURN = b"\n\r"


class Lines(NamedTuple):
    """Whole lines of a file: `buffer[starts[i]:ends[i]]` is line `first + i`, without its line end.

    `has_cr`: a CR alone ends a line of them.
    """

    buffer: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    first: int
    has_cr: bool = False

    def line(self, i: int) -> bytes:
        return self.buffer[self.starts[i] : self.ends[i]]

    def join(self, which: Positions) -> bytes:
        return b"\n".join(self.line(i) for i in which.tolist())


def lines_of(file: BinaryIO, piece: Piece, encoding: str = "utf-8") -> Iterator[Lines]:
    """Whole lines of the byte range of `piece` as UTF-8, some megabytes at a time; raises NotWhatItClaimsError.

    A line ends with LF, CR LF or CR. It raises when a compressed file is damaged or a line is longer than
    MAX_LINE_BYTES: how many rows are lost cannot be known, so no error budget may pass it.
    """
    stream = text_stream(file, piece, encoding)
    # A stream in another encoding knows itself where the range ends.
    left = piece.end - piece.start if piece.end >= 0 and encoding == "utf-8" else None
    first, rest = piece.first_row, b""
    while True:
        chunk = stream.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
        if left is not None:
            left -= len(chunk)
        if not chunk:
            break
        rest += chunk
        if end := last_line_end(rest, len(rest) - len(chunk) - 1):
            stop = end - (2 if rest[end - 2 : end] == b"\r\n" else 1)
            lines = split_lines(rest[:stop], first)
            first, rest = first + len(lines.starts), rest[end:]
            yield lines
        else:
            check_line(rest, piece.file)
    if rest:
        yield split_lines(rest.removesuffix(b"\r"), first)


def last_line_end(data: bytes, start: int = 0) -> int:
    """Where the last line of `data` begins that another line precedes, 0 if none does; nobody looks before `start`."""
    after = data.rfind(b"\n", max(start, 0)) + 1
    # Behind a CR at the end of the buffer, half of a line end may be missing.
    return max(after, data.rfind(b"\r", max(start, after, 0), -1) + 1)


def count_lines(data: bytes) -> int:
    """The number of line ends."""
    ends = data.count(b"\n")
    return ends + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else ends


def check_line(start: bytes, file: str) -> None:
    """Raises NotWhatItClaimsError if a line that starts with `start` is too long to be one."""
    if len(start) > MAX_LINE_BYTES:
        raise NotWhatItClaimsError(f"{file}: has a line of more than {MAX_LINE_BYTES:,} bytes")


def split_lines(buffer: bytes, first: int) -> Lines:
    """Where the lines of `buffer` start and end; a byte order mark of the file's first line is left out.

    `buffer` is without the last line end: behind one there is one more line, if only an empty one.
    """
    data = np.frombuffer(buffer, np.uint8)
    breaks = np.flatnonzero(data == _NEWLINE).astype(np.int64)
    returns = np.flatnonzero(data == _RETURN) if b"\r" in buffer else breaks[:0]
    alone = returns[(returns == len(data) - 1) | (data[np.minimum(returns + 1, len(data) - 1)] != _NEWLINE)]
    if len(alone):
        breaks = np.sort(np.concatenate([breaks, alone]))
    starts = np.concatenate([np.zeros(1, np.int64), breaks + 1])
    ends = np.concatenate([breaks, np.full(1, len(buffer), np.int64)])
    if len(returns):
        is_lf = data[breaks] == _NEWLINE
        ends[:-1] -= is_lf & (data[np.maximum(breaks, 1) - 1] == _RETURN) & (breaks > 0)
    if first == 0 and buffer.startswith(b"\xef\xbb\xbf"):
        starts[0] = 3
    return Lines(buffer, starts, ends, first, len(alone) > 0)


def read_plain(file: BinaryIO, piece: Piece, column: str, encoding: str = "utf-8") -> Blocks:
    """Plain text: each line is one row with the single column `column`; a blank line is a row too."""
    for lines in lines_of(file, piece, encoding):
        count = len(lines.starts)
        covered = positions(lines.first, count)
        texts = pa.array([lines.line(i) for i in range(count)], pa.binary())
        yield Block(covered, pa.record_batch([texts], names=[column]), covered, [])
