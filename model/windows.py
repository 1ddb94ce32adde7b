"""Windows of texts: which of them belong to which text, and how their logits become those of the text. Plain NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.long_texts import MAX, LongTexts

NOBODY = -1
"""In place of a deciding window where no single one decides."""

Logits = npt.NDArray[np.float32]
Offsets = npt.NDArray[np.int64]


class Windows(NamedTuple):
    """The windows of row r have `lengths[offsets[r]:offsets[r + 1]]` tokens, special ones included; int32, int64.

    A row has at least one.
    """

    lengths: npt.NDArray[np.int32]
    offsets: Offsets

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many windows each row has."""
        return np.diff(self.offsets)

    def take(self, rows: npt.NDArray[np.integer]) -> "Windows":
        """Those of some rows."""
        places, offsets = neighbours(self.offsets, rows)
        return Windows(self.lengths[places], offsets)

    def slice(self, rows: slice) -> "Windows":
        """Those of neighbouring rows, not copied."""
        offsets = self.offsets[rows.start : rows.stop + 1]
        return Windows(self.lengths[offsets[0] : offsets[-1]], offsets - offsets[0])


def joined(parts: Sequence[Windows]) -> Windows:
    """Those of the rows of all parts, one after the other."""
    none = Windows(np.empty(0, np.int32), np.zeros(1, np.int64))
    parts = [none, *parts]
    offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), *(part.counts for part in parts)]))
    return Windows(np.concatenate([part.lengths for part in parts]), offsets)


def neighbours(offsets: Offsets, rows: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], Offsets]:
    """The places that some rows have, one after the other, and their own offsets."""
    starts = offsets[:-1][rows]
    lengths = offsets[1:][rows] - starts
    taken = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return np.arange(taken[-1]) + np.repeat(starts - taken[:-1], lengths), taken


class Folded(NamedTuple):
    """Logits float32 [B, C] of texts, and the number of the window that decided for each, int32 [B], or NOBODY."""

    logits: Logits
    deciding: npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Folding:
    """How the logits of windows become the numbers of their text.

    `by` is mean or max, `activation` that of the bundle. Window w of a text begins at its token `step * w`.
    """

    by: str
    activation: str
    step: int

    @classmethod
    def of(cls, long_texts: LongTexts, max_tokens: int, activation: str) -> "Folding | None":
        """That of a bundle; None if its texts have no windows."""
        if not long_texts.windows:
            return None
        return cls(by=long_texts.by, activation=activation, step=long_texts.step(max_tokens))

    def __call__(self, logits: Logits, offsets: Offsets) -> Folded:
        """Logits float32 [W, C] of windows -> those of their texts; row r has the windows from offsets[r] on.

        A row of which one logit is not finite has none that is.
        """
        if not len(offsets) - 1:
            return Folded(logits[:0], np.empty(0, np.int32))
        several, value = self.activation == "sigmoid" and logits.shape[1] > 1, logits.shape[1] == 1
        if self.by == MAX and value:
            raise ValueError("windows of a regression are folded by mean; no value is surer than another")
        sound = np.logical_and.reduceat(np.isfinite(logits).all(axis=1), offsets[:-1])
        deciding = np.full(len(sound), NOBODY, np.int32)
        with np.errstate(invalid="ignore", over="ignore"):
            if several and self.by == MAX:
                folded = np.maximum.reduceat(logits, offsets[:-1], axis=0)
            elif self.by == MAX:
                deciding = _first_best(_sureness(logits, logits.argmax(axis=1)), offsets)
                folded = logits[offsets[:-1] + deciding]
            else:
                folded = mean_of(logits, offsets)
                if not (several or value):
                    chosen = np.repeat(folded.argmax(axis=1), np.diff(offsets))
                    deciding = _first_best(_sureness(logits, chosen), offsets)
        folded[~sound] = np.nan
        return Folded(folded, deciding)

    def vectors(self, vectors: Logits, offsets: Offsets, deciding: npt.NDArray[np.int32]) -> Logits:
        """The embeddings of texts, of those of their windows float32 [W, H]: by max that of the window that decided,
        else their mean.
        """
        if self.by == MAX and (deciding != NOBODY).all():
            return vectors[offsets[:-1] + deciding]  # type: ignore[no-any-return]
        return mean_of(vectors, offsets)

    def shown(self, logits: Logits) -> Logits:
        """What is published of logits [B, C]: probabilities, or the value."""
        with np.errstate(invalid="ignore", over="ignore"):
            if self.activation == "softmax":
                return softmax(logits)
            return sigmoid(logits) if self.activation == "sigmoid" else logits


def mean_of(values: Logits, offsets: Offsets) -> Logits:
    """The mean of the windows of each row: float32 [W, N] -> [B, N], summed in float64."""
    sums = np.add.reduceat(values.astype(np.float64), offsets[:-1], axis=0)
    return (sums / np.diff(offsets)[:, np.newaxis]).astype(np.float32)


def _sureness(logits: Logits, chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The log odds of the chosen class of each row of logits: in the order of its probability, which ends at 1."""
    rows = np.arange(len(logits))
    others = logits.astype(np.float64)
    odds = others[rows, chosen]
    others[rows, chosen] = -np.inf
    largest = others.max(axis=1)
    return odds - largest - np.log(np.exp(others - largest[:, np.newaxis]).sum(axis=1))  # type: ignore[no-any-return]


def _first_best(score: npt.NDArray[np.float64], offsets: Offsets) -> npt.NDArray[np.int32]:
    """The window of each row with the highest score [W], counted from 0; of equal ones the first."""
    counts = np.diff(offsets)
    score = np.nan_to_num(score, nan=-np.inf)
    places = np.arange(len(score)) - np.repeat(offsets[:-1], counts)
    best = score == np.repeat(np.maximum.reduceat(score, offsets[:-1]), counts)
    return np.minimum.reduceat(np.where(best, places, len(score)), offsets[:-1]).astype(np.int32)


def softmax(logits: Logits) -> Logits:
    """Of each row, in float32; no logit is too large."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def sigmoid(logits: Logits) -> Logits:
    """Of each number, in float32, without overflow."""
    small = np.exp(-np.abs(logits))
    return (np.where(logits >= 0, np.float32(1), small) / (np.float32(1) + small)).astype(np.float32)
