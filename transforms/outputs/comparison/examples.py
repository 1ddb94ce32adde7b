"""The rows that are looked at first: those with the largest scores, whatever parts they come in."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A row of both sides: `a` and `b` say what each gave, `gold` what is right, where that is known."""

    id: str
    a: str
    b: str
    gold: str = ""


class Largest:
    """Keeps the rows with the largest scores; of equal ones those whose ids come first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[tuple[float, str, Example]] = []

    def add(self, ids: pa.Array, scores: Floats, rows: Numbers, told: Callable[[int, str], Example]) -> None:
        """Looks at some `rows`, whose scores [len(rows)] are; `told` describes a row that is kept."""
        if not self._most or not len(rows):
            return
        if len(rows) > self._most:
            least = np.partition(scores, len(scores) - self._most)[len(scores) - self._most]
            near = scores >= least
            scores, rows = scores[near], rows[near]
        some = zip(
            (-scores.astype(np.float64)).tolist(), ids.take(pa.array(rows)).to_pylist(), rows.tolist(), strict=True
        )
        best = heapq.nsmallest(self._most, some)
        # Ids are unique, so that no two examples are compared with each other.
        found = [*self._kept, *((score, id_, told(row, id_)) for score, id_, row in best)]
        self._kept = heapq.nsmallest(self._most, found, key=lambda one: one[:2])

    @property
    def examples(self) -> tuple[Example, ...]:
        """Largest first."""
        return tuple(example for _, _, example in self._kept)
