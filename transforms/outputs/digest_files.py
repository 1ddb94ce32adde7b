"""Digests of texts that no writer of texts can aim at, and the small file beside each part that holds them.

`text_hash` is made for SQL: whoever wants to can find a second text with the same FarmHash64 in a second. What decides
whether a text is the one of an earlier date is its SHA-256, cut to 128 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.stores.checksummed import Checksummed
from transforms.stores.choose import store_for

WIDTH = 16
DIGEST = "text_sha128"
"""The column of digests between Validate and Write; files of scores leave it out."""
DIGEST_TYPE = pa.binary(WIDTH)
SUFFIX = ".sha128"
HEADER = b"sha256/128 v1\n\0\0"
"""What a file of digests begins with, as wide as a digest: row r of the part stands at byte 16 (r + 1)."""
_APART = b"\xff"


@dataclass(frozen=True, kw_only=True)
class DigestFile:
    """A closed file of digests: where, how large, and its `crc32c:…`."""

    path: str
    bytes: int
    checksum: str


def text_digests(texts: pa.Array, pairs: pa.Array | None = None) -> pa.Array:
    """SHA-256 of each text's bytes, cut to the first 16; of pairs, of text, byte 0xFF, text_pair.

    No valid UTF-8 has a byte 0xFF, so a pair has one spelling and no single text has it. No text may be null.
    """
    values = _bytes(texts)
    if pairs is not None:
        values = [text + _APART + pair for text, pair in zip(values, _bytes(pairs), strict=True)]
    # One call of OpenSSL a row (measured: 0.8 µs for 40 bytes): nothing here hashes a column at once.
    whole = np.frombuffer(b"".join([sha256(value).digest() for value in values]), np.uint8)
    return from_rows(whole.reshape(len(texts), -1)[:, :WIDTH] if len(texts) else whole)


def _bytes(column: pa.Array) -> Sequence[bytes]:
    return column.cast(pa.binary()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def from_rows(rows: npt.NDArray[np.uint8]) -> pa.Array:
    """Digests as a column, from uint8 [B, 16]."""
    data = np.ascontiguousarray(rows)
    return pa.Array.from_buffers(DIGEST_TYPE, data.size // WIDTH, [None, pa.py_buffer(data)])


def as_rows(digests: pa.Array) -> npt.NDArray[np.uint8]:
    """A column of digests without nulls as uint8 [B, 16], not copied."""
    start, count = digests.offset * WIDTH, len(digests) * WIDTH
    return np.frombuffer(digests.buffers()[1], np.uint8)[start : start + count].reshape(-1, WIDTH)


def staged_beside(part: str) -> str:
    """Where the digests of a staged file are: the same name with another suffix."""
    return part.removesuffix(".parquet") + SUFFIX


def published_beside(part: str) -> str:
    """Where the digests of `…/part-<run>-<number>.parquet` are: `…/_digests-<run>-<number>.sha128`.

    Readers that glob take neither the underscore nor the suffix.
    """
    folder, _, name = part.rpartition("/")
    name = "_digests-" + name.removeprefix("part-").removesuffix(".parquet") + SUFFIX
    return f"{folder}/{name}" if folder else name


class DigestWriter:
    """A file of digests being written, row for row beside its part."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._sink = Checksummed(store_for(path).create(path))
        self._sink.write(HEADER)

    def add(self, digests: pa.Array) -> None:
        """Takes the digests of the next rows."""
        self._sink.write(as_rows(digests).tobytes())

    def close(self) -> DigestFile:
        self._sink.close()
        return DigestFile(path=self._path, bytes=self._sink.size, checksum=self._sink.checksum)


def read_digests(path: str) -> pa.Array:
    """The digests of a part, in the order of its rows; raises FileNotFoundError, ValueError if it is no such file."""
    data = store_for(path).read(path)
    if data is None:
        raise FileNotFoundError(f"{path}: the digests of an earlier date are gone")
    if not data.startswith(HEADER) or len(data) % WIDTH:
        raise ValueError(f"{path}: is no file of text digests; delete it, and the texts of its date are scored anew")
    return from_rows(np.frombuffer(data, np.uint8)[WIDTH:])
