"""The small file beside each part that holds the digests of its texts.

Digests (SHA-256, cut to 128 bits) decide whether a text is the one of an earlier date. `text_hash` may not: a
second text with the same FarmHash64 is made in a second.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.batches.text_digests import WIDTH, from_rows
from transforms.stores.checksummed import Checksummed
from transforms.stores.choose import store_for

SUFFIX = ".sha128"
HEADER = b"sha256/128 v1\n\0\0"
"""What a file of digests begins with, as wide as a digest: row r of the part stands at byte 16 (r + 1)."""


@dataclass(frozen=True, kw_only=True)
class DigestFile:
    """A closed file of digests: where, how large, and its `crc32c:…`."""

    path: str
    bytes: int
    checksum: str


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
