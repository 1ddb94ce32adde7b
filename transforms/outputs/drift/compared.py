"""The drift of a run: every statistic of its summary with distance and bound."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from transforms.batches.measures import SAMPLED
from transforms.outputs.drift.bounds import (
    FEWEST_ROWS,
    MOST_DATES,
    Judged,
    Night,
    against_baseline,
    against_dates,
)
from transforms.outputs.drift.distance import Counts
from transforms.outputs.drift.histograms import LABEL, NAMES, Summary, aligned, coarser, is_comparable
from transforms.outputs.drift.record import BASELINE, DATES, FORMAT

SCORED = "unknown_tokens"
"""A statistic of every row that was scored."""


class Dated(NamedTuple):
    """The summary of a published date."""

    date: dt.date
    summary: Summary


def drift_of(
    night: Dated, dates: Sequence[Dated], baseline: Summary | None, rows: int, rows_of_dates: Sequence[int]
) -> dict[str, Any]:
    """The drift of a night against the last MOST_DATES of `dates` and against `baseline`, if there is one.

    `rows` and `rows_of_dates` are how many rows the night and the last dates have, whatever they were scored with.
    What has fewer than FEWEST_ROWS is not compared, nor a statistic that not every row has, or of which the sample is
    not of every row: of a run with only_new it is that of the rows that are new, which are unlike all rows.
    """
    dates = sorted((one for one in dates if is_comparable(one.summary)), key=lambda one: one.date)[-MOST_DATES:]
    found: dict[str, Any] = {
        "format": FORMAT,
        "compared_dates": len(dates),
        "rows": {
            "number": rows,
            "median": float(np.median(rows_of_dates)) if rows_of_dates else None,
            "dates": len(rows_of_dates),
        },
        DATES: {},
        BASELINE: {},
    }
    if not is_comparable(night.summary):
        return found
    summaries = [night.summary, *(one.summary for one in dates), *([] if baseline is None else [baseline])]
    for name in NAMES:
        mine, *others = aligned(summaries, name)
        if mine.sum() < FEWEST_ROWS or not _has_all_rows(night.summary, name):
            continue
        pairs = zip(others, summaries[1:], strict=True)
        others = [one if _has_all_rows(summary, name) else np.zeros_like(one) for one, summary in pairs]
        base = others.pop() if baseline is not None else None
        for reference, judged in _judged(night.date, mine, [one.date for one in dates], others, base):
            found[reference][name] = {
                "distance": round(judged.distance, 6),
                "bound": round(judged.bound, 6),
                "dates": judged.dates,
            }
    return found


def _has_all_rows(summary: Summary, name: str) -> bool:
    # The sample is of the rows that were scored: of all of them where every row has what they all have.
    of = SCORED if name in SAMPLED else name
    return name == LABEL or summary["statistics"].get(of, {}).get("rows") == summary["rows"]


def _judged(
    date: dt.date, mine: Counts, dates: Sequence[dt.date], others: Sequence[Counts], base: Counts | None
) -> Iterator[tuple[str, Judged]]:
    there = [(day, counts) for day, counts in zip(dates, others, strict=True) if counts.sum() >= FEWEST_ROWS]
    for reference, guide in ((DATES, sum((counts for _, counts in there), np.zeros_like(mine))), (BASELINE, base)):
        if guide is None or guide.sum() < FEWEST_ROWS:
            continue
        tonight, fixed, *rest = coarser([mine, guide, *(counts for _, counts in there)], guide)
        nights = [Night(day, counts) for (day, _), counts in zip(there, rest, strict=True)]
        judged = (
            against_dates(Night(date, tonight), nights)
            if reference == DATES
            else against_baseline(Night(date, tonight), nights, fixed)
        )
        if judged is not None:
            yield reference, judged
