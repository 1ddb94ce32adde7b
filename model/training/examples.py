"""Labelled rows of tokens, as training reads them."""

import dataclasses
import os
import weakref
from pathlib import Path
from typing import Self

import numpy as np

from model.network.encoder import INPUT_NAMES
from model.windows import Folding, Windows

_TOKEN = np.dtype("<i4")


class TokenFile:
    """The tokens of many rows one after the other in a file of little-endian int32, read where they are asked for.

    Not mapped into memory: pages of a map count as the process's own, and a training touches all of them.
    """

    def __init__(self, path: str | Path) -> None:
        # Open as long as its rows are in use.
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._tokens = os.fstat(self._file).st_size // _TOKEN.itemsize

    def __len__(self) -> int:
        return self._tokens

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(self._tokens)
        data = os.pread(self._file, (stop - start) * _TOKEN.itemsize, start * _TOKEN.itemsize)
        return np.frombuffer(data, _TOKEN)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled rows of tokens: those of row i are `tokens[starts[i] : starts[i] + lengths[i]]`.

    `tokens` are int32 `[N]`, or a file of them; `lengths` and `first_segment` int32 `[B]`, `starts` int64 `[B]` (None:
    the rows stand one after the other). `targets` are class numbers int64 `[B]`, which of C labels a row has, bool
    `[B, C]`, or values float32 `[B]`. Tokens include [CLS] and [SEP], no padding; the first `first_segment` tokens of a
    row have type id 0, the rest 1.

    Of long texts `windows` parts the tokens of each row, and `folding` says how their logits make those of the row.
    """

    tokens: np.ndarray | TokenFile
    lengths: np.ndarray
    first_segment: np.ndarray
    targets: np.ndarray
    starts: np.ndarray | None = None
    windows: Windows | None = None
    folding: Folding | None = None

    def __post_init__(self) -> None:
        rows = {len(self.lengths), len(self.first_segment), len(self.targets)}
        if len(rows) != 1:
            raise ValueError(f"lengths, first_segment and targets have {sorted(rows)} rows; they must agree")
        if self.starts is None:
            if int(self.lengths.sum()) != len(self.tokens):
                raise ValueError(
                    f"lengths add up to {int(self.lengths.sum())}, but there are {len(self.tokens)} tokens"
                )
            starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
            object.__setattr__(self, "starts", starts)
        elif (end := int((self.starts + self.lengths).max(initial=0))) > len(self.tokens):
            raise ValueError(f"a row ends at {end}, but there are {len(self.tokens)} tokens")
        if self.targets.dtype not in (np.int64, np.bool_, np.float32):
            raise ValueError(
                f"targets are {self.targets.dtype}; use int64 for classes, bool for several labels, float32 for values"
            )

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, indices: np.ndarray) -> Self:
        """Returns the rows at `indices`, in that order; their tokens stay where they are."""
        assert self.starts is not None
        return dataclasses.replace(
            self,
            lengths=self.lengths[indices],
            first_segment=self.first_segment[indices],
            targets=self.targets[indices],
            starts=self.starts[indices],
            windows=None if self.windows is None else self.windows.take(indices),
        )

    def one_by_one(self) -> Self:
        """Returns each window as a row, with the target of its text; rows without windows as they are."""
        if self.windows is None:
            return self
        assert self.starts is not None
        lengths, offsets = self.windows
        counts, ends = self.windows.counts, np.cumsum(lengths, dtype=np.int64)
        before = np.repeat((ends - lengths)[offsets[:-1]], counts)
        return dataclasses.replace(
            self,
            lengths=lengths,
            first_segment=lengths,
            targets=np.repeat(self.targets, counts, axis=0),
            starts=np.repeat(self.starts, counts) + ends - lengths - before,
            windows=None,
        )

    def weights(self) -> np.ndarray | None:
        """Returns what each row of one_by_one counts, float32: all windows of a text as much as those of any other, and
        1 on average. None where rows have no windows.
        """
        if self.windows is None:
            return None
        counts = self.windows.counts
        return np.repeat(counts.mean() / counts, counts).astype(np.float32)

    def joined(self) -> np.ndarray:
        """Returns the tokens of all rows one after the other, int32 `[N]`."""
        assert self.starts is not None
        ends = self.starts + self.lengths
        rows = [self.tokens[start:end] for start, end in zip(self.starts.tolist(), ends.tolist(), strict=True)]
        return np.concatenate([np.empty(0, np.int32), *rows])

    def padded(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the rows at `indices` as a BertClassifier's inputs, int32 `[B, longest of them]`."""
        assert self.starts is not None
        lengths = self.lengths[indices]
        columns = np.arange(lengths.max(initial=0))
        words = np.zeros((len(indices), len(columns)), np.int32)
        for row, start, length in zip(words, self.starts[indices], lengths, strict=True):
            row[:length] = self.tokens[start : start + length]
        mask = columns < lengths[:, np.newaxis]
        types = mask & (columns >= self.first_segment[indices, np.newaxis])
        return {name: array.astype(np.int32) for name, array in zip(INPUT_NAMES, (words, mask, types), strict=True)}
