"""Counts rows that have a value in both sides."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from transforms.outputs.comparison.examples import Example, Largest
from transforms.outputs.comparison.found import CHANGED, ONLY_A, ONLY_B, SHARES, Ids, Nearness, Valued
from transforms.outputs.comparison.partitions import Joined
from transforms.outputs.comparison.sides import GOLD

Values = npt.NDArray[np.float64]
_HALF = 16
_AT_ONCE = 1 << 20


class _Moments:
    """Means of two columns, and sums of products of what is left of them: added up part by part without cancelling."""

    def __init__(self) -> None:
        self.rows, self._means, self._products = 0, np.zeros(2), np.zeros((2, 2))

    def add(self, one: Values, other: Values) -> None:
        if not len(one):
            return
        both = np.stack([one, other])
        means = both.mean(axis=1)
        rest, apart = both - means[:, np.newaxis], means - self._means
        rows = self.rows + len(one)
        self._products += rest @ rest.T + np.outer(apart, apart) * (self.rows * len(one) / rows)
        self._means += apart * (len(one) / rows)
        self.rows = rows

    @property
    def correlation(self) -> float | None:
        (one, both), (_, other) = self._products
        return None if one <= 0 or other <= 0 else float(np.clip(both / math.sqrt(one * other), -1, 1))


class Value:
    """Rows with a value each. Differences go to the `file` of a temporary folder, from which quantiles are taken."""

    def __init__(self, examples: int, file: BinaryIO, *, with_gold: bool) -> None:
        self._file, self._with_gold = file, with_gold
        self._ids = Counter[str]()
        self._sum, self._squares, self._both = 0.0, 0.0, _Moments()
        self._errors, self._right, self._nearer = np.zeros(2), (_Moments(), _Moments()), np.zeros(2, np.int64)
        kinds = (CHANGED, *((ONLY_A, ONLY_B) if with_gold else ()))
        self._examples = {kind: Largest(examples) for kind in kinds}

    def add(self, joined: Joined) -> None:
        """Counts the rows that were joined."""
        self._ids.update(joined.counts)
        if not joined.a.num_rows:
            return
        a, b = (side.column("value").to_numpy() for side in (joined.a, joined.b))
        moved, ids = b - a, joined.a.column("id")
        self._sum, self._squares = self._sum + float(moved.sum()), self._squares + float(moved @ moved)
        self._both.add(a, b)
        self._file.write(moved.astype(np.float32).tobytes())
        side = next((side for side in (joined.a, joined.b) if GOLD in side.schema.names), None)
        gold = np.full(len(a), np.nan) if side is None else side.column(GOLD).to_numpy(zero_copy_only=False)

        def told(row: int, id_: str) -> Example:
            right = "" if np.isnan(gold[row]) else f"{gold[row]:.6g}"
            return Example(id=id_, a=f"{a[row]:.6g}", b=f"{b[row]:.6g}", gold=right)

        some = np.flatnonzero(moved != 0)
        self._examples[CHANGED].add(ids, np.abs(moved[some]), some, told)
        if not self._with_gold:
            return
        known = np.flatnonzero(np.isfinite(gold))
        errors = [np.abs(values[known] - gold[known]) for values in (a, b)]
        self._errors += [error @ error for error in errors]
        for moments, values in zip(self._right, (a, b), strict=True):
            moments.add(values[known], gold[known])
        for place, (kind, nearer) in enumerate(((ONLY_A, errors[1] - errors[0]), (ONLY_B, errors[0] - errors[1]))):
            better = np.flatnonzero(nearer > 0)
            self._nearer[place] += len(better)
            self._examples[kind].add(ids, nearer[better], known[better], told)

    @property
    def found(self) -> Valued:
        """What was counted so far."""
        self._file.flush()
        ids = Ids(**{"both": 0, "only_a": 0, "only_b": 0, "repeated": 0, **self._ids})
        rows = max(1, ids.both)
        return Valued(
            ids=ids,
            mean=self._sum / rows,
            rms=math.sqrt(self._squares / rows),
            quantiles=quantiles(self._file.name, SHARES) if ids.both else (),
            correlation=self._both.correlation,
            nearness=self._nearness() if self._with_gold else None,
            examples={kind: largest.examples for kind, largest in self._examples.items()},
        )

    def _nearness(self) -> Nearness:
        rows = self._right[0].rows
        rms_a, rms_b = np.sqrt(self._errors / max(1, rows)).tolist()
        nearer_a, nearer_b = self._nearer.tolist()
        correlations = {"correlation_a": self._right[0].correlation, "correlation_b": self._right[1].correlation}
        return Nearness(rows=rows, rms_a=rms_a, rms_b=rms_b, **correlations, nearer_a=nearer_a, nearer_b=nearer_b)


def quantiles(path: str, shares: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers at these shares of a file of float32, exactly: the smallest with at least that share up to it.

    In two passes, so that the file need not fit into memory: numbers are counted by the upper half of their bits, and
    those with the upper half of a number that is looked for by the lower one.
    """
    upper = np.zeros(1 << _HALF, np.int64)
    for keys in _keys(path):
        upper += np.bincount(keys >> _HALF, minlength=1 << _HALF)
    ends = np.cumsum(upper)
    ranks = np.maximum(np.ceil(np.array(shares) * ends[-1]).astype(np.int64), 1)
    halves = np.searchsorted(ends, ranks)
    lower = {int(half): np.zeros(1 << _HALF, np.int64) for half in halves}
    for keys in _keys(path):
        high = keys >> _HALF
        for half, counts in lower.items():
            counts += np.bincount(keys[high == half] & ((1 << _HALF) - 1), minlength=1 << _HALF)
    found = []
    for rank, half in zip(ranks, halves, strict=True):
        before = ends[half] - upper[half]
        key = (int(half) << _HALF) + int(np.searchsorted(np.cumsum(lower[int(half)]), rank - before))
        bits = key ^ 0x80000000 if key >= 0x80000000 else key ^ 0xFFFFFFFF
        found.append(float(np.array(bits, np.uint32).view(np.float32)))
    return tuple(found)


def _keys(path: str) -> Iterator[npt.NDArray[np.int64]]:
    """The numbers of a file, as integers in the same order; int64."""
    with open(path, "rb") as file:
        while data := file.read(4 * _AT_ONCE):
            bits = np.frombuffer(data, np.uint32)
            # Bits of negative floats fall where the floats rise.
            yield np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000)).astype(np.int64)
