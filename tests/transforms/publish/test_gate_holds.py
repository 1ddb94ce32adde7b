"""What holds a run, by its drift alone."""

from typing import Any

import pytest

from transforms.outputs.drift.record import BASELINE, DATES
from transforms.publish.gate import Gate


def drift(*, dates: int = 7, rows: int = 50, of: int = 7, median: float | None = 100.0, **more: Any) -> dict[str, Any]:
    """One that is beyond a bound made from so many `dates`; `rows` of a `median` of `of` dates."""
    entry = {"distance": 0.25, "bound": 0.1, "dates": dates}
    numbers = {"number": rows, "median": median, "dates": of}
    return {"format": 1, "rows": numbers, DATES: {"margin": entry}, BASELINE: {}, **more}


MARGIN = "margin is 0.250 from earlier dates, and its bound is 0.100"


def test_it_holds_what_it_is_asked_to_hold_and_nothing_else() -> None:
    few = "50 rows are 0.500 of the 100 that the last dates have, and --min-rows-ratio is 0.6"
    assert list(Gate().holds(drift())) == []
    assert list(Gate(drift=True).holds(drift())) == [f"{MARGIN} (--hold-if-drift)"]
    assert list(Gate(min_rows_ratio=0.6).holds(drift())) == [few]
    assert list(Gate(drift=True, min_rows_ratio=0.6).holds(drift())) == [f"{MARGIN} (--hold-if-drift)", few]
    assert list(Gate(drift=True, min_rows_ratio=0.6).holds({})) == []


def test_bounds_of_fewer_than_seven_dates_hold_nothing() -> None:
    both = Gate(drift=True, min_rows_ratio=0.6)
    assert list(both.holds(drift(dates=6, of=6))) == []
    assert len(list(both.holds(drift(dates=6)))) == len(list(both.holds(drift(of=6)))) == 1


@pytest.mark.parametrize(("ratio", "held"), [(0.5, False), (0.51, True)])
def test_as_many_rows_as_the_share_are_enough(ratio: float, held: bool) -> None:
    assert bool(list(Gate(min_rows_ratio=ratio).holds(drift()))) == held


def test_dates_without_rows_hold_nothing() -> None:
    for median in (None, 0.0):
        assert list(Gate(min_rows_ratio=0.9).holds(drift(median=median))) == []


def test_the_farthest_is_named_with_its_reference_and_the_others_are_counted() -> None:
    baseline = {
        "label": {"distance": 0.9, "bound": 0.1, "dates": 7},
        "entropy": {"distance": 0.1, "bound": 0.1, "dates": 7},
    }
    (said,) = Gate(drift=True).holds(drift(**{BASELINE: baseline}))
    assert said == "label is 0.900 from the baseline, and its bound is 0.100, and 1 more (--hold-if-drift)"
    # One that cannot hold is not among them.
    (said,) = Gate(drift=True).holds(drift(dates=6, **{BASELINE: baseline}))
    assert said == "label is 0.900 from the baseline, and its bound is 0.100 (--hold-if-drift)"


def test_it_says_what_it_was_asked_by_the_names_of_the_settings() -> None:
    assert (Gate().asked, Gate(drift=True).asked) == ({}, {"hold_if_drift": True})
    assert Gate(min_rows_ratio=0.0).asked == {"min_rows_ratio": 0.0}
