"""Reading files of one row a line: where the lines are, and plain text."""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.batches.schemas import Columns
from transforms.errors import NotWhatItClaimsError
from transforms.read.formats.blocks import MAX_LINE_BYTES, Block, Blocks, Positions, positions
from transforms.read.formats.transcoded import text_stream
from transforms.read.values.json.long_object import Line
from transforms.runs.plan import Piece

CHUNK_BYTES = 8 * 1024 * 1024
MANY = 65_536
_NEWLINE, _RETURN = b"\n\r"
_MARK = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")


class Lines(NamedTuple):
    """Whole lines of a file: `buffer[starts[i]:ends[i]]` is line `first + i`, without its line end.

    `has_cr`: a CR alone ends a line of them. `lost` and `fault` are of a long line of JSON; see long_object.Line.
    """

    buffer: bytes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    first: int
    has_cr: bool = False
    lost: tuple[str, ...] = ()
    fault: str | None = None

    def line(self, i: int) -> bytes:
        return self.buffer[self.starts[i] : self.ends[i]]

    def join(self, which: Positions) -> bytes:
        return b"\n".join(self.line(i) for i in which.tolist())


class Held(Protocol):
    """The beginning of a line that goes on: `size` bytes of it were added, all or some of which are held."""

    size: int

    def add(self, part: bytes) -> None: ...

    def take(self) -> Line:
        """What is held; nothing is then."""
        ...


def lines_of(file: BinaryIO, piece: Piece, encoding: str = "utf-8", held: Held | None = None) -> Iterator[Lines]:
    """Whole lines of the byte range of `piece` as UTF-8, some megabytes at a time; a line that is longer comes alone.

    A line ends with LF, CR LF or CR. `held` decides what is held of a line that goes on; all of it by default. Raises
    NotWhatItClaimsError when a compressed file is damaged or a line is longer than MAX_LINE_BYTES: how many rows are
    lost cannot be known, so no error budget may pass it.
    """
    first, held = piece.first_row, held or Whole()
    for chunk in _chunks(file, piece, encoding):
        start = 0
        if held.size > CHUNK_BYTES // 2 and (end := _LINE_END.search(chunk)) is not None:
            held.add(chunk[: end.start()])
            check_line(held.size, piece.file, first)
            yield one_line(held.take(), first)
            first, start = first + 1, end.end()
        if (behind := last_line_end(chunk, start)) > start:
            stop = behind - (2 if chunk[behind - 2 : behind] == b"\r\n" else 1)
            yield (lines := split_lines(held.take().content + chunk[start:stop], first))
            first, start = first + len(lines.starts), behind
        held.add(chunk[start:])
        check_line(held.size, piece.file, first)
    if held.size:
        yield one_line(held.take(), first)


def _chunks(file: BinaryIO, piece: Piece, encoding: str) -> Iterator[bytes]:
    """The byte range of `piece`, in chunks none of which ends with half of a line end."""
    stream = text_stream(file, piece, encoding)
    # A stream in another encoding knows itself where the range ends.
    left = piece.end - piece.start if piece.end >= 0 and encoding == "utf-8" else None
    waiting = b""
    while chunk := stream.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)):
        if left is not None:
            left -= len(chunk)
        chunk, waiting = waiting + chunk, b""
        if chunk.endswith(b"\r"):
            chunk, waiting = chunk[:-1], b"\r"
        yield chunk
    if waiting:
        # At the end it is a line end, and as such the same as the other.
        yield b"\n"


def few_at_once(found: Iterator[Lines]) -> Iterator[Lines]:
    """The same lines, at most MANY at a time: some megabytes may be millions of empty ones."""
    for lines in found:
        count = len(lines.starts)
        for start in range(0, count, MANY):
            if count <= MANY:
                yield lines
                break
            end = min(start + MANY, count)
            at = int(lines.starts[start])
            starts, ends = lines.starts[start:end] - at, lines.ends[start:end] - at
            yield Lines(lines.buffer[at : int(lines.ends[end - 1])], starts, ends, lines.first + start, lines.has_cr)


class Whole:
    """Holds a line, or about its first `keep` bytes."""

    def __init__(self, keep: int | None = None) -> None:
        self._keep, self._kept, self.size = keep, bytearray(), 0

    def add(self, part: bytes) -> None:
        if self._keep is None or self.size <= self._keep:
            # It grows in place: parts that are joined at the end would be there twice.
            self._kept += part
        self.size += len(part)

    def take(self) -> Line:
        """What was kept: of a long line, the bytearray itself."""
        kept, self._kept, self.size = self._kept, bytearray(), 0
        return Line(bytes(kept) if len(kept) <= 2 * CHUNK_BYTES else cast(bytes, kept))


def first_line_end(data: bytes) -> int:
    """Where the first line end of `data` begins, which has one."""
    found = _LINE_END.search(data)
    return len(data) if found is None else found.start()


def last_line_end(data: bytes, start: int = 0) -> int:
    """Where what follows the last line end of `data` begins, 0 if there is none; nobody looks before `start`.

    `data` ends with no half of a line end.
    """
    lf = data.rfind(b"\n", start) + 1
    return max(lf, data.rfind(b"\r", max(start, lf)) + 1)


def count_lines(data: bytes) -> int:
    """The number of line ends."""
    ends = data.count(b"\n")
    return ends + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else ends


def check_line(size: int, file: str, before: int) -> None:
    """Raises NotWhatItClaimsError if a line of `size` bytes, behind so many others, is too long to be one."""
    if size > MAX_LINE_BYTES:
        raise NotWhatItClaimsError(
            f"{file}: has a line of more than {MAX_LINE_BYTES:,} bytes, which is no row of texts: line {before + 1:,}; "
            "is it of this format?"
        )


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
    if first == 0 and buffer.startswith(_MARK):
        starts[0] = len(_MARK)
    return Lines(buffer, starts, ends, first, len(alone) > 0)


def one_line(line: Line, first: int) -> Lines:
    """What split_lines says of a line, without looking at every byte of it."""
    buffer = line.content
    start = len(_MARK) if first == 0 and buffer.startswith(_MARK) else 0
    return Lines(buffer, np.array([start]), np.array([len(buffer)]), first, lost=line.lost, fault=line.fault)


def read_plain(file: BinaryIO, piece: Piece, columns: Columns) -> Blocks:
    """Plain text: each line is one row with the text column only; a blank line is a row too."""
    longest = columns.max_text_bytes + len(_MARK) + 1
    for lines in few_at_once(lines_of(file, piece, columns.dialect.encoding, Whole(longest))):
        count = len(lines.starts)
        covered = positions(lines.first, count)
        texts = pa.array([bytes(lines.line(i)) for i in range(count)], pa.binary())
        yield Block(covered, pa.record_batch([texts], names=[columns.text]), covered, [])
