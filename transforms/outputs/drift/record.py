"""The drift of a run: every statistic of its summary with distance and bound. Numbers only, for the manifest."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import pydantic

from transforms.outputs.drift.bounds import (
    FEWEST_DATES,
    FEWEST_ROWS,
    MOST_DATES,
    Judged,
    Night,
    against_baseline,
    against_dates,
)
from transforms.outputs.drift.distance import Counts
from transforms.outputs.drift.histograms import NAMES, Summary, aligned, coarser, is_comparable

DATES, BASELINE = "dates", "baseline"
"""What a night is compared with."""

_Number = Annotated[float, pydantic.Field(ge=0, lt=1 << 63, allow_inf_nan=False)]
_Count = Annotated[int, pydantic.Field(strict=True, ge=0, lt=1 << 63)]


class _Checked(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", strict=True)


class _Entry(_Checked):
    distance: _Number
    bound: _Number
    dates: _Count


class _Rows(_Checked):
    number: _Count
    median: _Number | None
    dates: _Count


class _Drift(_Checked):
    compared_dates: _Count
    rows: _Rows
    dates: dict[str, _Entry]
    baseline: dict[str, _Entry]


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    # A verdict of an earlier version has none.
    if content:
        _Drift.model_validate(content)
    return content


Drift = Annotated[dict[str, Any], pydantic.AfterValidator(_checked)]
"""Its form in verdict and manifest; see docs/use/drift.md."""


class Dated(NamedTuple):
    """The summary of a published date."""

    date: dt.date
    summary: Summary


class Beyond(NamedTuple):
    """A statistic that is farther from `reference` (DATES or BASELINE) than it may be."""

    statistic: str
    reference: str
    distance: float
    bound: float
    can_hold: bool


def drift_of(
    night: Dated, dates: Sequence[Dated], baseline: Summary | None, rows: int, rows_of_dates: Sequence[int]
) -> dict[str, Any]:
    """The drift of a night against the last MOST_DATES of `dates` and against `baseline`, if there is one.

    `rows` and `rows_of_dates` are how many rows the night and the last dates have, whatever they were scored with.
    What has fewer than FEWEST_ROWS is not compared.
    """
    dates = sorted((one for one in dates if is_comparable(one.summary)), key=lambda one: one.date)[-MOST_DATES:]
    found: dict[str, Any] = {
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
        if mine.sum() < FEWEST_ROWS:
            continue
        base = others.pop() if baseline is not None else None
        for reference, judged in _judged(night.date, mine, [one.date for one in dates], others, base):
            found[reference][name] = {
                "distance": round(judged.distance, 6),
                "bound": round(judged.bound, 6),
                "dates": judged.dates,
            }
    return found


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


def beyond(drift: Mapping[str, Any]) -> list[Beyond]:
    """The statistics of a drift that are beyond their bound, farthest beyond it first."""
    found = [
        Beyond(name, reference, entry["distance"], entry["bound"], entry["dates"] >= FEWEST_DATES)
        for reference in (DATES, BASELINE)
        for name, entry in drift.get(reference, {}).items()
        if entry["distance"] > entry["bound"]
    ]
    return sorted(found, key=lambda one: one.bound / one.distance)


def is_compared(drift: Mapping[str, Any]) -> bool:
    """Whether there was anything to compare a night with."""
    return bool(drift.get(DATES) or drift.get(BASELINE))


def rows_ratio(drift: Mapping[str, Any]) -> float | None:
    """The rows of a night by the median of the last dates; None if there are none, or had no rows."""
    rows = drift.get("rows", {})
    return rows["number"] / rows["median"] if rows.get("median") else None
