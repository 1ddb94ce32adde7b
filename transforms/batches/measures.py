"""What is measured of each row for the summary of a run, on its way from Featurize to Write. It goes into no file.

All integers, so that sums do not depend on their order; shares are in millionths. What takes long is measured of a
sample of the rows, which the hash of a text alone decides: not how the work is cut, and no chance. Who writes texts can
keep them out of it, since hashes can be aimed at; copies of a text are in it or out of it together.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MEASURES = "measures"
"""The column between Featurize and Write; null in rows whose scores are an earlier date's."""
MEASURE = np.dtype(
    [(name, "<i4") for name in ("unknown_tokens", "digits", "urls", "other_scripts", "margin", "entropy")]
)
"""One row. Featurize fills what is of the text, Label `margin` and `entropy`; those of SAMPLED stay 0 elsewhere."""
SAMPLED = frozenset({"digits", "urls", "other_scripts", "entropy"})
SAMPLE = 8
"""One in so many texts is in the sample: those whose hash is a multiple of it."""
MEASURES_TYPE = pa.binary(MEASURE.itemsize)
MILLION = 1_000_000

Measured = npt.NDArray[np.void]
Rows = npt.NDArray[np.intp]


def sample(text_hashes: pa.Array) -> Rows:
    """The rows of a column `text_hash` that are in the sample, ascending."""
    return np.flatnonzero(text_hashes.to_numpy() & (SAMPLE - 1) == 0)


def packed(measured: Measured) -> pa.Array:
    """The column with these rows (MEASURE [B])."""
    data = np.ascontiguousarray(measured)
    return pa.Array.from_buffers(MEASURES_TYPE, len(data), [None, pa.py_buffer(data.view(np.uint8))])


def unpacked(column: pa.Array) -> Measured:
    """The rows (MEASURE [B]) of a column without nulls, not to be written to."""
    return np.frombuffer(column.buffers()[1], MEASURE)[column.offset : column.offset + len(column)]


def unmeasured(rows: int) -> pa.Array:
    """The column of rows of which nothing was measured."""
    return pa.nulls(rows, MEASURES_TYPE)


def millionths(shares: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Numbers as whole millionths, halves to even, as `round(x * 1e6)` has them."""
    return np.rint(shares.astype(np.float64) * MILLION).astype(np.int64)
