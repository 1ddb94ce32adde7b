"""Rows of tokens to try a network on: always the same ones, from all over its vocabulary."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

ROWS = 9

Ids = npt.NDArray[np.int32]


class Special(NamedTuple):
    """Ids of the tokens that stand in every row, and of what stands behind it."""

    start: int
    end: int
    pad: int


class Rows(NamedTuple):
    """Rows of tokens, special ones included; `first_segment` is how many of each have type id 0."""

    tokens: tuple[Ids, ...]
    first_segment: Ids

    @property
    def lengths(self) -> Ids:
        return np.array([len(row) for row in self.tokens], np.int32)

    def take(self, places: Iterable[int]) -> "Rows":
        """Some rows, in that order."""
        places = list(places)
        return Rows(tuple(self.tokens[i] for i in places), self.first_segment[places])

    def __add__(self, other: object) -> "Rows":
        assert isinstance(other, Rows)
        return Rows(self.tokens + other.tokens, np.concatenate([self.first_segment, other.first_segment]))

    def padded(self, width: int, pad: int) -> Ids:
        """int32 `[B, width]`."""
        return np.array([np.pad(row, (0, width - len(row)), constant_values=pad) for row in self.tokens], np.int32)


def trial_rows(special: Special, vocabulary: int, longest: int, *, pairs: bool) -> Rows:
    """Rows of different lengths, one of `longest`, with tokens from all over the vocabulary; always the same ones.

    With `pairs` every second one is a pair.
    """
    rng = np.random.default_rng(20_261_129)
    least = min(5 if pairs else 3, longest)
    steps = np.linspace(0, 1, ROWS)
    lengths = np.round(least * (longest / least) ** steps).astype(int)
    # Not by length: which rows are padded must not go with where they stand.
    lengths = rng.permutation(lengths)
    # Each token once before any comes twice, the last of the vocabulary first.
    known = np.setdiff1d(np.arange(vocabulary), [special.pad])
    bodies = np.resize(np.concatenate([known[-1:], rng.permutation(known[:-1])]), int(lengths.sum()))
    rows, first, at = [], [], 0
    for number, length in enumerate(lengths):
        row = np.full(length, special.end, np.int32)
        row[0], row[1:-1] = special.start, bodies[at : at + length - 2]
        at += length - 2
        begin = int(length)
        if pairs and number % 2 == 0 and length > 3:
            begin = int(rng.integers(2, length - 1))
            row[begin - 1] = special.end
        rows.append(row)
        first.append(begin)
    return Rows(tuple(rows), np.array(first, np.int32))
