"""The form of the drift of a run in verdict and manifest, and what it says. Numbers only; imports nothing heavy."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import pydantic

FEWEST_DATES = 7
"""With fewer dates nothing is known of their spread: a run may be told, and is not held."""
FORMAT = 1
DATES, BASELINE = "dates", "baseline"
"""What a night is compared with."""
OF_THRESHOLDS = ("label", "labels_given", "margin")
"""The statistics that depend on the probability from which a label is given, where a text may have several."""

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
    format: int
    compared_dates: _Count
    rows: _Rows
    dates: dict[str, _Entry]
    baseline: dict[str, _Entry]


def is_known(drift: Mapping[str, Any]) -> bool:
    """Whether there is a drift, in a form that this version knows."""
    return drift.get("format") == FORMAT


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    # A verdict of an earlier version has none; one of a later version may have another form, and stays as it is.
    if is_known(content):
        _Drift.model_validate(content)
    return content


Drift = Annotated[dict[str, Any], pydantic.AfterValidator(_checked)]
"""Its form in verdict and manifest; see docs/use/drift.md."""


class Beyond(NamedTuple):
    """A statistic that is farther from `reference` (DATES or BASELINE) than it may be."""

    statistic: str
    reference: str
    distance: float
    bound: float
    can_hold: bool


def beyond(drift: Mapping[str, Any]) -> list[Beyond]:
    """The statistics of a drift that are beyond their bound, farthest beyond it first."""
    found = [
        Beyond(name, reference, entry["distance"], entry["bound"], entry["dates"] >= FEWEST_DATES)
        for reference in (DATES, BASELINE)
        for name, entry in (drift.get(reference, {}) if is_known(drift) else {}).items()
        if entry["distance"] > entry["bound"]
    ]
    return sorted(found, key=lambda one: one.bound / one.distance)


def is_compared(drift: Mapping[str, Any]) -> bool:
    """Whether there was anything to compare a night with."""
    return is_known(drift) and bool(drift[DATES] or drift[BASELINE])


def rows_ratio(drift: Mapping[str, Any]) -> float | None:
    """The rows of a night by the median of the last dates; None if there are none, or had no rows."""
    rows = drift["rows"] if is_known(drift) else {}
    return rows["number"] / rows["median"] if rows.get("median") else None
