"""What each row of a pool adds to the summary of a run: scored once, through the steps of the product itself.

A night of these rows is then a sum of integers: no model computes any of them again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from model.bundle import Bundle
from pipeline.bundling.training_record import no_run
from transforms.featurize.step import TransformGraph, featurize, read_unknown
from transforms.outputs.summary.record import FORMAT, MOST_LABELS
from transforms.outputs.summary.statistics import STATISTICS
from transforms.outputs.summary.tally import Summarizer
from transforms.read.columns import ColumnsRequest
from transforms.read.plan_files import plan_inputs
from transforms.read.step import read_rows
from transforms.runs.labelling import Labelling
from transforms.score.compute import Compute
from transforms.score.devices import find_device
from transforms.score.engines.choice import load_scorer
from transforms.score.label import label
from transforms.score.step import score_batch
from transforms.validate import validate

Integers = npt.NDArray[np.int64]
PRECISION = "float32"
_STARTS = np.cumsum([0, *(one.bins for one in STATISTICS)]).tolist()
_NOWHERE = _STARTS[-1]
"""The place of a statistic that a row does not have: no bin."""


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """What rows add to a summary: int64 `labels` [N], the place of each label in the bundle, MOST_LABELS for those that
    are not told apart; int64 `bins` [N, S], the place of the one bin of each statistic among those of all statistics.
    """

    labels: Integers
    bins: Integers

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Integers) -> "Contributions":
        """Some of these rows, also several times."""
        return Contributions(labels=self.labels[rows], bins=self.bins[rows])

    def replaced(self, rows: Integers, by: "Contributions") -> "Contributions":
        """The same with others at these places."""
        labels, bins = self.labels.copy(), self.bins.copy()
        labels[rows], bins[rows] = by.labels, by.bins
        return Contributions(labels=labels, bins=bins)

    @classmethod
    def joined(cls, *parts: "Contributions") -> "Contributions":
        """All rows of several."""
        labels, bins = zip(*((part.labels, part.bins) for part in parts), strict=True)
        return cls(labels=np.concatenate(labels), bins=np.concatenate(bins))

    @classmethod
    def none(cls) -> "Contributions":
        """Those of no row."""
        return cls(labels=np.zeros(0, np.int64), bins=np.zeros((0, len(STATISTICS)), np.int64))

    def summary(self) -> dict[str, Any]:
        """The summary of a night of these rows, as a manifest has it; it has no sums, which drift does not read."""
        counts = np.bincount(self.bins.ravel(), minlength=_NOWHERE + 1)
        statistics = {}
        for one, start in zip(STATISTICS, _STARTS, strict=False):
            bins = counts[start : start + one.bins]
            if rows := int(bins.sum()):
                statistics[one.name] = {"rows": rows, "sum": 0, "bins": bins.tolist()}
        told = np.bincount(self.labels, minlength=MOST_LABELS + 1).tolist()
        labels = [
            {"label": f"label {number}", "number": number, "rows": rows, "statistics": {}}
            for number, rows in enumerate(told[:MOST_LABELS])
            if rows
        ]
        others = {"from": MOST_LABELS, "rows": told[MOST_LABELS], "statistics": {}} if told[MOST_LABELS] else None
        return {
            "format": FORMAT,
            "rows": len(self),
            "not_summarised": 0,
            "statistics": statistics,
            "labels": labels,
            "other_labels": others,
        }


def contributions(batch: pa.RecordBatch, labels: tuple[str, ...]) -> Contributions:
    """What each row of Scores with positions adds, by the product's own summary of this row alone."""
    found = [_of_one(batch.slice(row, 1), labels) for row in range(batch.num_rows)]
    return Contributions(
        labels=np.array([number for number, _ in found], np.int64),
        bins=np.array([bins for _, bins in found], np.int64).reshape(len(found), len(STATISTICS)),
    )


def _of_one(row: pa.RecordBatch, labels: tuple[str, ...]) -> tuple[int, list[int]]:
    summarizer = Summarizer(labels)
    summarizer.add(row)
    summary = summarizer.described()
    bins = []
    for one, start in zip(STATISTICS, _STARTS, strict=False):
        tally = summary["statistics"].get(one.name)
        bins.append(_NOWHERE if tally is None else start + tally.get("first", 0) + tally["bins"].index(1))
    return (summary["labels"][0]["number"] if summary["labels"] else MOST_LABELS), bins


class Scoring:
    """A bundle that is loaded once, and scores texts as a run does: read, validated, made into tokens, computed."""

    def __init__(self, bundle: Bundle) -> None:
        self._labels = tuple(bundle.labels)
        self._graph = TransformGraph(str(bundle.path), bundle.segments, bundle.windows)
        self._unknown = read_unknown(str(bundle.path))
        self._scorer = load_scorer(bundle, Compute(precision=PRECISION), find_device())

    def scored(self, texts: list[str], file: Path) -> Contributions:
        """What each of the texts adds, in their order; raises ValueError if one becomes a dead letter.

        `file` is written for that: the texts are read from it.
        """
        if not texts:
            return Contributions.none()
        pq.write_table(pa.table({"id": [str(row) for row in range(len(texts))], "text": texts}), file)
        parts = list(self._parts(file))
        found = Contributions.joined(*(one for _, one in parts))
        rows = np.concatenate([rows for rows, _ in parts])
        if not np.array_equal(np.sort(rows), np.arange(len(texts))):
            raise ValueError(f"{len(texts) - len(rows)} of {len(texts)} texts of {file.name} were not scored")
        return found.take(np.argsort(rows))

    def _parts(self, file: Path) -> Iterator[tuple[Integers, Contributions]]:
        plan = plan_inputs([str(file)], ColumnsRequest(text="text", id="id"))
        columns = replace(plan.columns, windows=False)
        labelling = Labelling(labels=self._labels, columns=columns, run=no_run())
        for split in plan.splits:
            for piece in split.pieces:
                for batches, _, _ in read_rows(piece, split.number, columns):
                    for batch in batches:
                        texts, _ = validate(batch, columns)
                        tokens, _ = featurize(texts, self._graph, columns, self._unknown)
                        scores, _ = label(score_batch(tokens, self._scorer, columns), labelling)
                        yield scores.column("id").cast(pa.int64()).to_numpy(), contributions(scores, self._labels)
