"""Memo: what the model gave for token sequences of earlier macro-batches, in bounded memory."""

import secrets
import threading

import numpy as np
import numpy.typing as npt

MAX_BYTES = 64 * 1024 * 1024

Keys = npt.NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Memo:
    """128-bit key of a token sequence -> outputs float32 [C]; at most `max_bytes`, the newer entry takes the place.

    The keys are salted for each Memo, so nobody can make two texts with one key. Threads may share it.
    """

    def __init__(self, width: int, max_bytes: int = MAX_BYTES) -> None:
        slots = 1 << max(0, (max_bytes // (16 + 4 * width)).bit_length() - 1)
        # Zeroed memory costs nothing before it is written to.
        self._keys = np.zeros((slots, 2), np.uint64)
        self._outputs = np.zeros((slots, width), np.float32)
        self._salt = np.frombuffer(secrets.token_bytes(16), np.uint64) | np.uint64(1)
        self._lock = threading.Lock()

    def keys(self, values: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> Keys:
        """uint64 [B, 2]: two sums of mixed (token, place), one key a row `values[offsets[r]:offsets[r + 1]]`.

        The mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014). Every row has at least one token.
        """
        starts = offsets[:-1] - offsets[0]
        lengths = np.diff(offsets)
        if not len(lengths):
            return np.empty((0, 2), np.uint64)
        with np.errstate(over="ignore"):
            mixed = np.arange(len(values), dtype=np.uint64)
            mixed -= np.repeat(starts.astype(np.uint64), lengths)
            mixed *= _GOLDEN
            mixed += values.astype(np.uint64) * self._salt[0]
            mixed ^= mixed >> np.uint64(30)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(27)
            keys = np.empty((len(lengths), 2), np.uint64)
            np.add.reduceat(mixed, starts, out=keys[:, 0])
            mixed *= self._salt[1]
            mixed ^= mixed >> np.uint64(31)
            np.add.reduceat(mixed, starts, out=keys[:, 1])
            # An empty slot is all zeros; a key never is.
            keys[:, 1] |= np.uint64(1)
        return keys

    def recall(self, keys: Keys) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Which keys are known (bool [B]), and their outputs float32 [B, C], of use only where known."""
        slots = self._slots(keys)
        with self._lock:
            known, outputs = self._keys[slots] == keys, self._outputs[slots]
        return known[:, 0] & known[:, 1], outputs

    def remember(self, keys: Keys, outputs: npt.NDArray[np.float32]) -> None:
        """Takes the outputs [B, C] of the keys."""
        slots = self._slots(keys)
        with self._lock:
            # Of rows for one slot NumPy leaves the last, in both arrays.
            self._keys[slots] = keys
            self._outputs[slots] = outputs

    def _slots(self, keys: Keys) -> npt.NDArray[np.intp]:
        return (keys[:, 0] & np.uint64(len(self._keys) - 1)).astype(np.intp)
