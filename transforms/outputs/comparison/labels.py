"""Counts rows that have one label, or several, in both sides."""

from abc import ABC, abstractmethod
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.outputs.comparison.examples import Example, Floats, Largest, Numbers
from transforms.outputs.comparison.found import (
    CHANGED,
    MOVED,
    ONLY_A,
    ONLY_B,
    STEPS,
    Differences,
    Ids,
    Labelled,
    OfLabel,
    Right,
)
from transforms.outputs.comparison.names import Names
from transforms.outputs.comparison.partitions import Joined
from transforms.outputs.comparison.sides import GOLD

Flags = npt.NDArray[np.bool_]


class _Differences:
    def __init__(self) -> None:
        self._rows, self._sum, self._absolute, self._largest = 0, 0.0, 0.0, 0.0
        self._bins = np.zeros(2 * len(STEPS) + 1, np.int64)

    def add(self, found: npt.NDArray[np.float64]) -> None:
        absolute = np.abs(found)
        self._rows += len(found)
        self._sum, self._absolute = self._sum + float(found.sum()), self._absolute + float(absolute.sum())
        self._largest = max(self._largest, float(absolute.max(initial=0)))
        steps = np.searchsorted(STEPS, absolute) * np.sign(found).astype(np.int64)
        self._bins += np.bincount(steps + len(STEPS), minlength=len(self._bins))

    @property
    def found(self) -> Differences:
        rows = max(1, self._rows)
        means = {"mean": self._sum / rows, "mean_absolute": self._absolute / rows}
        return Differences(rows=self._rows, **means, largest=self._largest, bins=tuple(self._bins.tolist()))


class _Tally(ABC):
    """What both kinds have in common. `with_gold`: one of the sides has a column with the right labels."""

    several: bool

    def __init__(self, names: Names, examples: int, *, with_gold: bool) -> None:
        self._numbered = names
        self._names: list[str] = []
        self._ids = Counter[str]()
        self._changed = 0
        self._labels = np.zeros((6, 0), np.int64)
        self._pairs = Counter[tuple[int, int]]()
        self._right = np.zeros(4, np.int64)
        self._differences = _Differences()
        kinds = (CHANGED, MOVED, *((ONLY_A, ONLY_B) if with_gold else ()))
        self._examples = {kind: Largest(examples) for kind in kinds}
        self._with_gold = with_gold

    def add(self, joined: Joined) -> None:
        """Counts the rows that were joined."""
        self._ids.update(joined.counts)
        # Which labels there are is known when both sides have been read.
        self._names = self._numbered.names
        self._labels = np.pad(self._labels, ((0, 0), (0, len(self._names) - self._labels.shape[1])))
        if joined.a.num_rows:
            self._count(joined)

    @abstractmethod
    def _count(self, joined: Joined) -> None:
        """Counts rows, of which there is at least one."""

    def _count_right(self, right_a: Flags, right_b: Flags) -> None:
        self._right += np.bincount(right_a + 2 * right_b.astype(np.int64), minlength=4)

    def _count_labels(self, row: int, numbers: Numbers) -> None:
        self._labels[row] += np.bincount(numbers, minlength=len(self._names))

    @property
    def found(self) -> Labelled:
        """What was counted so far."""
        columns = zip(self._names, *self._labels.tolist(), strict=True)
        keys = ("label", "a", "b", "both", "gold", "right_a", "right_b")
        labels = sorted((OfLabel(**dict(zip(keys, row, strict=True))) for row in columns), key=_most_rows_first)
        neither, only_a, only_b, both = self._right.tolist()
        right = Right(rows=neither + only_a + only_b + both, both=both, only_a=only_a, only_b=only_b)
        ids = {"both": 0, "only_a": 0, "only_b": 0, "repeated": 0, **self._ids}
        pairs = sorted((-rows, self._names[a], self._names[b]) for (a, b), rows in self._pairs.items())
        return Labelled(
            several=self.several,
            ids=Ids(**ids),
            changed=self._changed,
            labels=tuple(label for label in labels if label.a or label.b or label.gold),
            pairs={(a, b): -rows for rows, a, b in pairs},
            differences=self._differences.found,
            right=right if self._with_gold else None,
            examples={kind: largest.examples for kind, largest in self._examples.items()},
        )


def _most_rows_first(label: OfLabel) -> tuple[int, str]:
    return -max(label.a, label.b, label.gold), label.label


class OneLabel(_Tally):
    """Rows with one label each."""

    several = False

    def _count(self, joined: Joined) -> None:
        a, b = _LabelColumns.of(joined.a), _LabelColumns.of(joined.b)
        moved = b.probabilities.astype(np.float64) - a.probabilities
        changed = a.labels != b.labels
        rows = np.flatnonzero(changed)
        self._changed += len(rows)
        self._differences.add(moved)
        for place, numbers in enumerate((a.labels, b.labels, a.labels[~changed])):
            self._count_labels(place, numbers)
        pairs, counts = np.unique(np.stack([a.labels[rows], b.labels[rows]]), axis=1, return_counts=True)
        self._pairs.update(dict(zip(map(tuple, pairs.T.tolist()), counts.tolist(), strict=True)))

        gold = _gold_of(joined)
        known = np.zeros(len(changed), bool) if gold is None else gold.is_valid().to_numpy(zero_copy_only=False)
        right = np.full(len(changed), -1) if gold is None else gold.fill_null(-1).to_numpy()

        def told(row: int, id_: str) -> Example:
            shown = [f"{self._names[side.labels[row]]} {side.probabilities[row]:.4f}" for side in (a, b)]
            return Example(id=id_, a=shown[0], b=shown[1], gold=self._names[right[row]] if known[row] else "")

        # Where both are sure of different labels, their margins have moved by 2 (pA + pB - 1) at least.
        sure, ids = a.probabilities.astype(np.float64) + b.probabilities, joined.a.column("id")
        self._examples[CHANGED].add(ids, sure[rows], rows, told)
        same = np.flatnonzero(~changed & (moved != 0))
        self._examples[MOVED].add(ids, np.abs(moved[same]), same, told)
        if not self._with_gold:
            return
        right_a, right_b = a.labels == right, b.labels == right
        self._count_right(right_a[known], right_b[known])
        for place, which in enumerate((known, right_a & known, right_b & known), 3):
            self._count_labels(place, right[which])
        for kind, which in ((ONLY_A, right_a & ~right_b & known), (ONLY_B, right_b & ~right_a & known)):
            alone = np.flatnonzero(which)
            self._examples[kind].add(ids, sure[alone], alone, told)


class SeveralLabels(_Tally):
    """Rows with any number of labels each."""

    several = True

    def _count(self, joined: Joined) -> None:
        count, width = joined.a.num_rows, max(1, len(self._names))
        a, b = _Entries.of(joined.a, width), _Entries.of(joined.b, width)
        in_b, in_a = np.isin(a.keys, b.keys), np.isin(b.keys, a.keys)
        # The labels that only one of the two gives.
        alone = np.concatenate([a.keys[~in_b], b.keys[~in_a]])
        sure = np.concatenate([a.probabilities[~in_b], b.probabilities[~in_a]])
        other = np.bincount(alone // width, sure, minlength=count).astype(np.float64)
        changed = np.zeros(count, bool)
        changed[alone // width] = True
        rows = np.flatnonzero(changed)
        self._changed += len(rows)
        for place, keys in enumerate((a.keys, b.keys, a.keys[in_b])):
            self._count_labels(place, keys % width)
        # The keys that both have, in the same order.
        order_a, order_b = np.argsort(a.keys[in_b]), np.argsort(b.keys[in_a])
        moved = b.probabilities[in_a][order_b].astype(np.float64) - a.probabilities[in_b][order_a]
        self._differences.add(moved)

        gold = _gold_of(joined)
        known = np.zeros(count, bool) if gold is None else gold.is_valid().to_numpy(zero_copy_only=False)
        right = None if gold is None else np.unique(_keys(gold, width))

        def told(row: int, id_: str) -> Example:
            shown = [self._told(side.keys, row, width, side.probabilities) for side in (a, b)]
            return Example(id=id_, a=shown[0], b=shown[1], gold=self._told(right, row, width) if known[row] else "")

        ids = joined.a.column("id")
        self._examples[CHANGED].add(ids, other[rows], rows, told)
        far = np.zeros(count)
        np.maximum.at(far, np.sort(a.keys[in_b]) // width, np.abs(moved))
        same = np.flatnonzero(~changed & (far > 0))
        self._examples[MOVED].add(ids, far[same], same, told)
        if right is None:
            return
        right_a, right_b = (_the_same(side.keys, right, width, count) for side in (a, b))
        self._count_right(right_a[known], right_b[known])
        for place, keys in enumerate((right, right[np.isin(right, a.keys)], right[np.isin(right, b.keys)]), 3):
            self._count_labels(place, keys % width)
        for kind, which in ((ONLY_A, right_a & ~right_b & known), (ONLY_B, right_b & ~right_a & known)):
            some = np.flatnonzero(which)
            self._examples[kind].add(ids, other[some], some, told)

    def _told(self, keys: Any, row: int, width: int, probabilities: Floats | None = None) -> str:
        places = np.flatnonzero(keys // width == row)
        shares = ["" if probabilities is None else f" {probabilities[place]:.4f}" for place in places]
        labels = [self._names[keys[place] % width] + share for place, share in zip(places, shares, strict=True)]
        return ", ".join(sorted(labels)) or "no label"


class _LabelColumns(NamedTuple):
    labels: Numbers
    probabilities: Floats

    @classmethod
    def of(cls, rows: pa.RecordBatch) -> "_LabelColumns":
        return cls(rows.column("label").to_numpy(), rows.column("probability").to_numpy())


class _Entries(NamedTuple):
    """The labels of all rows: row * width + number of the label, and the probability of each."""

    keys: Numbers
    probabilities: Floats

    @classmethod
    def of(cls, rows: pa.RecordBatch, width: int) -> "_Entries":
        return cls(_keys(rows.column("label"), width), rows.column("probability").flatten().to_numpy())


def _keys(column: pa.LargeListArray, width: int) -> Numbers:
    lengths = column.value_lengths().fill_null(0).to_numpy()
    found: Numbers = np.repeat(np.arange(len(column)), lengths) * width + column.flatten().to_numpy()
    return found


def _the_same(keys: Numbers, others: Numbers, width: int, count: int) -> Flags:
    """Whether each row has the same labels in both."""
    same = np.ones(count, bool)
    same[np.setxor1d(keys, others, assume_unique=True) // width] = False
    return same


def _gold_of(joined: Joined) -> pa.Array | None:
    """The right labels, of the side that has them."""
    for side in (joined.a, joined.b):
        if GOLD in side.schema.names:
            return side.column(GOLD)
    return None
