"""64- and 126-bit hashes of byte strings, computed for a whole column at once."""

import secrets
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf

_LARGEST = 2**63 - 1
Keys = tuple[tuple[int, int], tuple[int, int]]
"""Two keys of SipHash."""


def text_hash(texts: pa.Array, pairs: pa.Array | None = None) -> pa.Array:
    """FarmHash64 fingerprint of each text as int64, what BigQuery calls FARM_FINGERPRINT.

    For SQL and for dead letters. It chooses the sample of a summary and tells `compare` of other texts; nothing about
    scores may be decided by it: a text with a given fingerprint is made in a second. Pairs are hashed as text, U+001F,
    text_pair. Computed by tf.fingerprint; a test compares it with the examples in BigQuery's documentation.
    """
    values = _objects(texts)
    if pairs is not None:
        values = np.array([a + b"\x1f" + b for a, b in zip(values, _objects(pairs), strict=True)], object)
    return pa.array(_farm(tf.constant(values, tf.string)), pa.int64())


def secret_keys() -> Keys:
    """Secret keys for `id_hash`: each pass over the ids draws its own, and writes them nowhere."""
    first, second = ((secrets.randbits(63), secrets.randbits(63)) for _ in range(2))
    return first, second


def id_hash(ids: pa.Array, keys: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Two hashes of each id (SipHash reduced to 63 bits, each with a key of its own): together they name it.

    Without the keys nobody can make an id that is taken for another one.
    """
    values = _objects(ids)
    if not len(values):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    tensor = tf.constant(values)
    first, second = (tf.strings.to_hash_bucket_strong(tensor, _LARGEST, list(key)).numpy() for key in keys)
    return first, second


def _farm(values: tf.Tensor) -> npt.NDArray[np.int64]:
    digest: Any = tf.fingerprint(values).numpy()
    return np.ascontiguousarray(digest).view("<i8").reshape(-1)


def _objects(column: pa.Array) -> npt.NDArray[np.object_]:
    return column.cast(pa.binary()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
