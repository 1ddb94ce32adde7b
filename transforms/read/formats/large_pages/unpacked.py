"""The bytes of a page, decompressed a piece at a time."""

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import pyarrow as pa

from transforms.read.formats.large_pages.headers import Page
from transforms.read.formats.large_pages.snappy import segments

PIECE_BYTES = 1024 * 1024
_STREAMED = {"UNCOMPRESSED": None, "GZIP": "gzip", "ZSTD": "zstd", "BROTLI": "brotli"}
_SNAPPY = "SNAPPY"
_AT_ONCE = 128 * 1024 * 1024
"""Bytes of a Snappy stream and of what it makes that are held at once: that is ten times faster than in pieces."""
CODECS = frozenset({*_STREAMED, _SNAPPY})
"""What Parquet calls them; what another one has compressed cannot be had in pieces."""


class Part(io.RawIOBase):
    """`size` bytes of a file from `at` on; others may seek in the file meanwhile. Raises ArrowInvalid where it ends."""

    def __init__(self, file: BinaryIO, at: int, size: int) -> None:
        self._file, self._at, self._end = file, at, at + size

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        left = self._end - self._at
        wanted = left if size is None or size < 0 else min(size, left)
        self._file.seek(self._at)
        data = self._file.read(wanted)
        if len(data) < wanted:
            raise pa.ArrowInvalid("the file ends inside a page")
        self._at += len(data)
        return data


def check(file: BinaryIO, page: Page) -> None:
    """Raises ArrowInvalid if the page has a checksum, and it is not that of its bytes."""
    if page.crc is None:
        return
    part, crc = Part(file, page.at, page.compressed), 0
    while data := part.read(PIECE_BYTES):
        crc = zlib.crc32(data, crc)
    if crc != page.crc:
        raise pa.ArrowInvalid("the checksum of a page is not that of its bytes")


def pieces(file: BinaryIO, page: Page, codec: str) -> Iterator[bytes]:
    """The bytes of a page, without levels that stand in front, in pieces of a megabyte or so.

    Raises ArrowInvalid or OSError where they cannot be decompressed, or are not as many as the header of the page says.
    """
    first = page.levels_first or 0
    at, compressed, left = page.at + first, page.compressed - first, page.uncompressed - first
    if not left:
        return  # What an empty page is compressed to says nothing.
    name = codec if page.is_compressed else "UNCOMPRESSED"
    if name == _SNAPPY:
        found = _snappy(file, at, compressed, left)
    else:
        found = _stream(Part(file, at, compressed), _STREAMED[name])
    for piece in found:
        left -= len(piece)
        yield piece
    if left:
        raise pa.ArrowInvalid("a page has not as many bytes as its header says")


def _stream(part: Part, codec: str | None) -> Iterator[bytes]:
    source = part if codec is None else pa.CompressedInputStream(part, codec)
    while data := source.read(PIECE_BYTES):
        yield cast(bytes, data)


def _snappy(file: BinaryIO, at: int, compressed: int, size: int) -> Iterator[bytes]:
    codec, done = pa.Codec("snappy"), 0
    if compressed + size <= _AT_ONCE:
        yield codec.decompress(Part(file, at, compressed).read(), size, asbytes=True)
        return
    try:
        for data, length in segments(Part(file, at, compressed), size, PIECE_BYTES):
            piece = codec.decompress(data, length, asbytes=True)
            done += length
            yield piece
            del piece
    except OSError:
        # Some compressor refers to what is longer ago than others do.
        whole = codec.decompress(Part(file, at, compressed).read(), size)
        yield whole.slice(done).to_pybytes()
