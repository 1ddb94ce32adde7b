"""The values of a flat column of strings of one row group, one after the other: no page is in memory as a whole."""

import sys
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.read.formats.large_pages.headers import OF_DICTIONARY, PLAIN, Page
from transforms.read.formats.large_pages.levels import Numbers, numbers
from transforms.read.formats.large_pages.unpacked import CODECS, Part, check, pieces

_WIDEST = 32


class Column(NamedTuple):
    """A flat column of strings in one row group: its pages, its codec, and whether it may have nulls."""

    pages: list[Page]
    codec: str
    optional: bool

    def is_known(self, rows: int, most: int) -> bool:
        """Whether its pages can be read here: `rows` values in encodings known here, lists of at most `most` bytes."""
        first, data = self.pages[:1], [page for page in self.pages if not page.is_dictionary]
        with_dictionary = bool(first and first[0].is_dictionary)
        return (
            self.codec in CODECS
            and len(data) + with_dictionary == len(self.pages)
            and sum(page.values for page in data) == rows
            and all(page.levels_rle or not self.optional for page in data)
            and all(
                page.encoding == PLAIN
                or (page.encoding in OF_DICTIONARY and with_dictionary and page.uncompressed <= most)
                for page in data
            )
        )


def values(file: BinaryIO, column: Column, most: int | None) -> Iterator[bytes | None]:
    """Every value, None for null; of one that is longer than `most` bytes, its first `most` + 1.

    Raises ArrowInvalid or OSError where a page is damaged.
    """
    keep = sys.maxsize if most is None else most + 1
    data = [page for page in column.pages if not page.is_dictionary]
    coded = {page.at: _coded(file, page, column) for page in data if page.encoding in OF_DICTIONARY}
    known: _Dictionary | None = None
    if coded:
        known = _Dictionary(file, column, keep, np.concatenate([found for _, found in coded.values()]))
    for page in data:
        if page.at in coded and known is not None:
            present, found = coded.pop(page.at)
            following: Iterator[bytes] = map(known.take, found.tolist())
        else:
            check(file, page)
            bytes_ = _Bytes(pieces(file, page, column.codec))
            present = _present(file, page, column, bytes_)
            following = _plain(bytes_, int(present.sum()), keep)
        for there in present.tolist():
            yield next(following) if there else None


def _coded(file: BinaryIO, page: Page, column: Column) -> tuple[npt.NDArray[np.bool_], Numbers]:
    """Which values of a page are there, and which of the dictionary they are."""
    check(file, page)
    bytes_ = _Bytes(pieces(file, page, column.codec))
    present = _present(file, page, column, bytes_)
    count = int(present.sum())
    if not count:
        return present, np.zeros(0, np.int32)
    width = bytes_.take(1)[0]
    if width > _WIDEST:
        raise pa.ArrowInvalid("a page has numbers that are too wide")
    return present, numbers(bytes_.rest(), width, count)


def _present(file: BinaryIO, page: Page, column: Column, bytes_: "_Bytes") -> npt.NDArray[np.bool_]:
    """Which values of a page are not null; levels that stand among the bytes of the page are taken from these."""
    if not column.optional:
        return np.ones(page.values, bool)
    if page.levels_first is None:
        levels = bytes_.take(int.from_bytes(bytes_.take(4), "little"))
    else:
        levels = Part(file, page.at, page.levels_first).read()
    return numbers(levels, 1, page.values).astype(bool)


def _plain(bytes_: "_Bytes", count: int, keep: int) -> Iterator[bytes]:
    for _ in range(count):
        yield bytes_.take(int.from_bytes(bytes_.take(4), "little"), keep)


class _Dictionary:
    """The values of a dictionary, each read when it is first asked for and let go when it is last: `asked` says when.

    A writer puts values into it in the order in which it meets them, and one of large values can have 300 MB.
    """

    def __init__(self, file: BinaryIO, column: Column, keep: int, asked: Numbers) -> None:
        page = column.pages[0]
        if page.values * 4 > page.uncompressed or asked.max(initial=-1) >= page.values or asked.min(initial=0) < 0:
            raise pa.ArrowInvalid("a dictionary has fewer values than are asked for")
        check(file, page)
        self._values = _plain(_Bytes(pieces(file, page, column.codec)), page.values, keep)
        self._uses = np.bincount(asked, minlength=page.values).tolist()
        self._held: dict[int, bytes] = {}
        self._next = 0

    def take(self, number: int) -> bytes:
        while self._next <= number:
            value = next(self._values)
            if self._uses[self._next]:
                self._held[self._next] = value
            self._next += 1
        self._uses[number] -= 1
        return self._held[number] if self._uses[number] else self._held.pop(number)


class _Bytes:
    """Bytes that come in pieces. Raises ArrowInvalid where there are too few."""

    def __init__(self, found: Iterator[bytes]) -> None:
        self._found, self._piece, self._at = found, b"", 0

    def take(self, size: int, keep: int = sys.maxsize) -> bytes:
        """The next `size` bytes; of more than `keep`, the first ones."""
        at, end = self._at, self._at + size
        if end <= len(self._piece):
            self._at = end
            return self._piece[at : min(end, at + keep)]
        held = bytearray()
        while True:
            part = self._piece[self._at : self._at + size]
            held += part[: max(0, keep - len(held))]
            self._at += len(part)
            size -= len(part)
            if not size:
                return bytes(held)
            self._piece, self._at = next(self._found, b""), 0
            if not self._piece:
                raise pa.ArrowInvalid("a page ends inside a value")

    def rest(self) -> bytes:
        """All bytes that are left."""
        return b"".join([self._piece[self._at :], *self._found])
