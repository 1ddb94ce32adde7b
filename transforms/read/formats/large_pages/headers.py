"""Where the pages of a column of a row group are, and how large: from their headers, nothing decoded."""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

PLAIN = 0
RLE = 3
OF_DICTIONARY = frozenset({2, 8})
"""PLAIN_DICTIONARY and RLE_DICTIONARY: the values are numbers of values in the dictionary."""
_DATA, _INDEX, _DICTIONARY, _DATA_V2 = range(4)
_SMALL_HEADER = 1024
_LARGEST_HEADER = 16 * 1024 * 1024
"""Old writers put whole values into the statistics of a page."""


class Page(NamedTuple):
    """A page whose `compressed` bytes begin at `at` in the file; `values` counts nulls too.

    `levels_first`: so many bytes of levels stand in front uncompressed (version 2); None, if they are among the values.
    `levels_rle`: whether levels are encoded as all writers of today do.
    """

    at: int
    compressed: int
    uncompressed: int
    crc: int | None
    is_dictionary: bool
    values: int
    encoding: int
    levels_first: int | None
    levels_rle: bool
    is_compressed: bool


def pages_of(file: BinaryIO, start: int, end: int) -> Iterator[Page]:
    """The pages between two places of a file; raises ValueError for what is no header."""
    while start < end:
        header, length = _header_at(file, start, end)
        start += length
        try:
            page = _page(header, start)
            size = int(header[3])
        except (KeyError, TypeError) as error:
            raise ValueError("a page header lacks a field") from error
        if size < 0 or start + size > end:
            raise ValueError("a page is larger than its column")
        start += size
        if page is not None:
            yield page


def _header_at(file: BinaryIO, start: int, end: int) -> tuple[dict[int, Any], int]:
    size = _SMALL_HEADER
    while True:
        file.seek(start)
        data = file.read(min(size, end - start))
        read = _Compact(data)
        try:
            return read.struct(), read.at
        except IndexError as error:
            if size >= min(_LARGEST_HEADER, end - start):
                raise ValueError("a page header has no end") from error
        except RecursionError as error:
            raise ValueError("a page header is too deep") from error
        size *= 16


def _page(header: dict[int, Any], at: int) -> Page | None:
    kind, crc = header[1], header.get(4)
    said = Page(
        at=at,
        compressed=header[3],
        uncompressed=header[2],
        crc=None if crc is None else crc & 0xFFFFFFFF,
        is_dictionary=kind == _DICTIONARY,
        values=0,
        encoding=PLAIN,
        levels_first=None,
        levels_rle=True,
        is_compressed=True,
    )
    if kind == _DATA:
        of = header[5]
        return said._replace(values=of[1], encoding=of[2], levels_rle=of[3] == RLE)
    if kind == _DATA_V2:
        of = header[8]
        compressed = of.get(7, True)
        return said._replace(values=of[1], encoding=of[4], levels_first=of[5] + of[6], is_compressed=compressed)
    if kind == _DICTIONARY:
        return said._replace(values=header[7][1])
    return None if kind == _INDEX else said._replace(encoding=-1)


class _Compact:
    """Reads Thrift's compact protocol; IndexError where the bytes end."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self) -> dict[int, Any]:
        """The fields by number."""
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            # A field that is true or false has no other bytes.
            found[number] = head & 15 == 1 if head & 15 in (1, 2) else self._value(head & 15)
        return found

    def _value(self, kind: int) -> Any:
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind in (7, 8):
            return self._take(8 if kind == 7 else self._varint())
        if kind in (9, 10):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            return [self._value(head & 15) for _ in range(count)]
        if kind == 11:
            count = self._varint()
            kinds = self._byte() if count else 0
            return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(count)]
        if kind == 12:
            return self.struct()
        raise ValueError("a page header has a field of an unknown kind")

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _take(self, size: int) -> bytes:
        if self.at + size > len(self._data):
            raise IndexError
        self.at += size
        return self._data[self.at - size : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
