"""Nights drawn from known shares: histograms of labels and of statistics, and the summary that they are."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.outputs.summary.record import merge

Histograms = Mapping[str, npt.NDArray[np.int64]]
LABELS = 5
_WIDTHS = {"probability": 20, "margin": 20, "entropy": 20, "token_count": 24, "truncated": 2, "unknown_tokens": 5}


@dataclass(frozen=True, kw_only=True)
class World:
    """Where texts come from: how often each label is, by weekday, and what its rows are like; and another corpus."""

    labels: npt.NDArray[np.float64]
    rows: Mapping[str, npt.NDArray[np.float64]]
    corpus: Mapping[str, npt.NDArray[np.float64]]

    @classmethod
    def drawn(cls, generator: np.random.Generator, swing: float = 0.4) -> "World":
        usual = generator.dirichlet(np.full(LABELS, 8.0))
        # Sunday and Saturday are unlike working days, and each day a little unlike the others.
        moved = generator.normal(0, 1, (7, LABELS)) * np.array([[0.2]] * 5 + [[1.0]] * 2) * swing
        labels = usual * np.exp(moved)
        rows, corpus = {}, {"label": (usual + generator.dirichlet(np.full(LABELS, 1.0))) / 2}
        for name, width in _WIDTHS.items():
            typical = np.exp(-np.arange(width) * 12 / width) + 0.002
            rows[name] = np.array([generator.dirichlet(200 * typical / typical.sum()) for _ in range(LABELS)])
            # Most of it is as ours is.
            corpus[name] = 0.7 * rows[name].mean(axis=0) + 0.3 * generator.dirichlet(np.full(width, 1.0))
        return cls(labels=labels / labels.sum(axis=1, keepdims=True), rows=rows, corpus=corpus)

    def night(
        self, generator: np.random.Generator, date: dt.date, rows: int = 2_000, mixed: float = 0.0
    ) -> dict[str, npt.NDArray[np.int64]]:
        """The histograms of a date, of which another corpus has a share `mixed`."""
        others = generator.binomial(rows, mixed)
        labels = generator.multinomial(rows - others, self.labels[date.weekday()])
        found = {"label": labels + generator.multinomial(others, self.corpus["label"])}
        for name, shares in self.rows.items():
            own = sum(generator.multinomial(count, shares[label]) for label, count in enumerate(labels))
            found[name] = own + generator.multinomial(others, self.corpus[name])
        return found


def summary_of(histograms: Histograms) -> dict[str, Any]:
    """The summary of rows with these histograms."""
    tallies = {
        name: {"rows": int(bins.sum()), "sum": 0, "bins": bins.tolist()}
        for name, bins in histograms.items()
        if name != "label"
    }
    labels = [
        {"label": f"l{number}", "number": number, "rows": int(rows), "statistics": {}}
        for number, rows in enumerate(histograms["label"])
    ]
    return {**merge([]), "rows": int(histograms["label"].sum()), "statistics": tallies, "labels": labels}
