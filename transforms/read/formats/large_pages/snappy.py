"""Cuts a raw Snappy stream where a compressor began anew.

Arrow decompresses only whole streams. Compressors work on 64 KiB at a time and never refer to what was before: what
stands between two such places is a whole stream itself, with its length put in front. The elements of a stream are
only counted here, not decoded.
"""

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa

_BLOCK = 64 * 1024
_READ_BYTES = 1024 * 1024
_LONGEST_TAG = 5
# By the first byte of an element: its bytes in the stream, and what it makes. A literal with its length behind the
# first byte has 0.
_STEPS = [(tag >> 2) + 2 if tag & 3 == 0 and tag >> 2 < 60 else (0, 2, 3, 5)[tag & 3] for tag in range(256)]
_MAKES = [((tag >> 2) & 7) + 4 if tag & 3 == 1 else (tag >> 2) + 1 for tag in range(256)]


class _Source(Protocol):
    def read(self, size: int) -> bytes: ...


def segments(source: _Source, size: int, at_least: int) -> Iterator[tuple[bytes, int]]:
    """The stream of `source`, which makes `size` bytes, as streams that each make `at_least` bytes, and how many.

    Raises ArrowInvalid for what is no such stream. A segment of a stream of other habits may fail to be decompressed.
    """
    data = bytearray(source.read(_READ_BYTES))
    made, at = _length(data)
    if made != size:
        raise pa.ArrowInvalid("a page has not as many bytes as its header says")
    begin, made, before, ended = at, 0, 0, False
    while before < size:
        while at + _LONGEST_TAG > len(data) and not ended:
            more = source.read(_READ_BYTES)
            ended = not more
            del data[:begin]
            at, begin = at - begin, 0
            data += more
        last = len(data) if ended else len(data) - _LONGEST_TAG + 1
        at, made = _pass(data, at, last, made, before + at_least, size)
        if at > len(data):
            if ended:
                raise pa.ArrowInvalid("a Snappy stream ends inside an element")
        elif made == size or (made - before >= at_least and made % _BLOCK == 0):
            yield _prefix(made - before) + data[begin:at], made - before
            begin, before = at, made
        elif made > size or ended:
            raise pa.ArrowInvalid("a Snappy stream does not make what it says")


def _pass(data: bytearray, at: int, last: int, made: int, wanted: int, size: int) -> tuple[int, int]:
    """Passes over elements up to a place where one can cut, or until one begins at `last` or behind it."""
    steps, makes = _STEPS, _MAKES
    while at < last:
        tag = data[at]
        if step := steps[tag]:
            at += step
            made += makes[tag]
        else:
            behind = at + (tag >> 2) - 58
            length = int.from_bytes(data[at + 1 : behind], "little") + 1
            at = behind + length
            made += length
        if (not made & (_BLOCK - 1) and made >= wanted) or made >= size:
            break
    return at, made


def _length(data: bytearray) -> tuple[int, int]:
    """The length that stands in front, and its own bytes."""
    value = 0
    for at, byte in enumerate(data[:5]):
        value |= (byte & 127) << 7 * at
        if byte < 128:
            return value, at + 1
    raise pa.ArrowInvalid("a Snappy stream has no length")


def _prefix(length: int) -> bytes:
    found = bytearray()
    while length > 127:
        found.append(length & 127 | 128)
        length >>= 7
    return bytes([*found, length])
