"""The histograms of a summary, brought to the same bins: those of every statistic of all rows, and of the labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.outputs.drift.distance import Counts, counts_of
from transforms.outputs.drift.record import OF_THRESHOLDS
from transforms.outputs.summary.record import FORMAT, MOST_LABELS, checked
from transforms.outputs.summary.statistics import STATISTICS

LABEL = "label"
"""The name of the label shares among the statistics."""
NAMES = (LABEL, *(one.name for one in STATISTICS))
MOST_BINS = 40
"""Of more filled bins than that neighbours are put together: few rows in each would tell little."""

Summary = Mapping[str, Any]


def is_comparable(summary: Any) -> bool:
    """Whether a summary of a manifest has histograms of all its rows that this version can read."""
    return (
        bool(summary)
        and summary.get("format") == FORMAT
        and summary["rows"] > 0
        and not summary.get("not_summarised", 0)
    )


def baseline_of(baseline: Mapping[str, Any], *, same_thresholds: bool = True) -> Summary | None:
    """The summary in the baseline of a bundle, or None: bundles that were imported, or trained before, have none.

    Unless a run has the `same_thresholds` as the bundle, it is without OF_THRESHOLDS: they say nothing of the run.
    """
    try:
        found = checked(baseline.get("summary"))
    except ValueError:
        return None
    if not is_comparable(found):
        return None
    if same_thresholds:
        return found
    statistics = {name: tally for name, tally in found["statistics"].items() if name not in OF_THRESHOLDS}
    return {**found, "statistics": statistics, "labels": [], "other_labels": None}


def aligned(summaries: Sequence[Summary], name: str) -> list[Counts]:
    """The histograms of one statistic in the same bins; one without rows where a summary does not have it."""
    return _labels(summaries) if name == LABEL else _bins([one["statistics"].get(name) for one in summaries])


def coarser(histograms: Sequence[Counts], guide: Counts) -> list[Counts]:
    """The same with neighbouring bins put together, so that `guide` has no more than MOST_BINS, about equally full."""
    filled = int((guide > 0).sum())
    if filled <= MOST_BINS:
        return list(histograms)
    # By the rows below each bin: a bin never goes to two places.
    below = np.cumsum(guide) - guide
    starts = np.flatnonzero(np.diff(below * MOST_BINS // 2 // guide.sum(), prepend=-1))
    return [np.add.reduceat(one, starts) for one in histograms]


def _bins(tallies: Sequence[Mapping[str, Any] | None]) -> list[Counts]:
    width = max((one.get("first", 0) + len(one["bins"]) for one in tallies if one), default=0)
    found = []
    for tally in tallies:
        counts = np.zeros(width, np.int64)
        if tally:
            first = tally.get("first", 0)
            counts[first : first + len(tally["bins"])] = counts_of(tally["bins"])
        found.append(counts)
    return found


def _labels(summaries: Sequence[Summary]) -> list[Counts]:
    """Rows of each label; those beyond MOST_LABELS, or that any of the summaries has not told apart, are one group."""
    first = min((one["other_labels"]["from"] for one in summaries if one.get("other_labels")), default=MOST_LABELS)
    found = []
    for summary in summaries:
        counts = np.zeros(first + 1, np.int64)
        for label in summary.get("labels", ()):
            counts[min(label["number"], first)] += label["rows"]
        counts[first] += (summary.get("other_labels") or {}).get("rows", 0)
        found.append(counts)
    return found
