"""Labelled rows of tokens, as training reads them."""

import dataclasses
from typing import Self

import numpy as np

from model.network.encoder import INPUT_NAMES


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled rows of tokens, flat: `tokens` int32 `[N]`, `lengths` and `first_segment` int32 `[B]`.

    `targets` are class numbers int64 `[B]` or values float32 `[B]`. Tokens include [CLS] and [SEP], no padding;
    the first `first_segment` tokens of a row have type id 0, the rest 1.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    first_segment: np.ndarray
    targets: np.ndarray

    def __post_init__(self) -> None:
        rows = {len(self.lengths), len(self.first_segment), len(self.targets)}
        if len(rows) != 1:
            raise ValueError(f"lengths, first_segment and targets have {sorted(rows)} rows; they must agree")
        if int(self.lengths.sum()) != len(self.tokens):
            raise ValueError(f"lengths add up to {int(self.lengths.sum())}, but there are {len(self.tokens)} tokens")
        if self.targets.dtype not in (np.int64, np.float32):
            raise ValueError(f"targets are {self.targets.dtype}; use int64 for classes, float32 for values")

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, indices: np.ndarray) -> Self:
        """Returns the rows at `indices`, in that order."""
        mask, places = self._places(indices)
        return type(self)(
            self.tokens[places[mask]],
            self.lengths[indices],
            self.first_segment[indices],
            self.targets[indices],
        )

    def padded(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the rows at `indices` as a BertClassifier's inputs, int32 `[B, longest of them]`."""
        mask, places = self._places(indices)
        types = np.arange(mask.shape[1]) >= self.first_segment[indices, np.newaxis]
        arrays = (np.where(mask, self.tokens[places], 0), mask, mask & types)
        return {name: array.astype(np.int32) for name, array in zip(INPUT_NAMES, arrays, strict=True)}

    def _places(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of `[B, longest]` are tokens, and where these stand in `tokens` (0 for padding)."""
        lengths = self.lengths[indices, np.newaxis]
        starts = (np.cumsum(self.lengths) - self.lengths)[indices, np.newaxis]
        columns = np.arange(lengths.max(initial=0))
        mask = columns < lengths
        return mask, np.where(mask, starts + columns, 0)
