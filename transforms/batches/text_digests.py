"""Digests of texts: SHA-256, cut to 128 bits. Nobody can make a second text with the digest of another."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa

WIDTH = 16

DIGEST = "text_sha128"
"""The column of digests between Validate and Write; files of scores leave it out."""

DIGEST_TYPE = pa.binary(WIDTH)

_APART = b"\xff"


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
