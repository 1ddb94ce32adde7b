"""Parquet's lists of small numbers: runs of one number, and numbers packed bit by bit."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int32]
_MANY = 64 * 1024


def numbers(data: bytes, width: int, count: int) -> Numbers:
    """The first `count` numbers of `width` bits in `data`, int32 [count]; raises ArrowInvalid if there are fewer."""
    found = np.zeros(count, np.int32)
    done = at = 0
    while done < count:
        header, at = _varint(data, at)
        if header & 1:
            some, size = min(count - done, 8 * (header >> 1)), (header >> 1) * width
            _unpack(data[at : at + size], width, found[done : done + some])
        else:
            some, size = min(count - done, header >> 1), -(-width // 8)
            if at + size > len(data):
                raise pa.ArrowInvalid("a list of numbers ends too early")
            found[done : done + some] = int.from_bytes(data[at : at + size], "little") & 0x7FFFFFFF
        at, done = at + size, done + some
    return found


def _unpack(data: bytes, width: int, into: Numbers) -> None:
    if not width:
        return
    if len(data) * 8 < len(into) * width:
        raise pa.ArrowInvalid("a list of numbers ends too early")
    # A whole number of bytes at a time, and not all: each bit is a number of its own meanwhile.
    for start in range(0, len(into), _MANY):
        part = into[start : start + _MANY]
        packed = np.frombuffer(data, np.uint8, offset=start * width // 8)[: -(-len(part) * width // 8)]
        bits = np.unpackbits(packed, count=len(part) * width, bitorder="little").reshape(-1, width)
        part[:] = bits @ (1 << np.arange(width, dtype=np.int64))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise pa.ArrowInvalid("a list of numbers ends too early")
