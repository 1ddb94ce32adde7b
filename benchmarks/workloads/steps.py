"""The token batches of the model step, the same for every contestant. Imports nothing but numpy."""

import numpy as np
import numpy.typing as npt


def padded(rows: int, width: int, seed: int) -> npt.NDArray[np.int32]:
    """Random token ids without padding: int32 `[rows, width]`."""
    ids = np.random.default_rng(seed).integers(1_000, 30_000, (rows, width)).astype(np.int32)
    ids[:, 0], ids[:, -1] = 101, 102
    return ids
