"""What of a night is compared with which dates, and what the record of its drift says."""

import datetime as dt
from typing import Any

import numpy as np
import pytest
from support.runs.nights import World, summary_of

from transforms.outputs.drift.bounds import FEWEST_ROWS, MOST_DATES
from transforms.outputs.drift.compared import Dated, drift_of
from transforms.outputs.drift.distance import js_distance
from transforms.outputs.drift.histograms import NAMES, baseline_of, coarser
from transforms.outputs.drift.record import BASELINE, DATES, FEWEST_DATES, OF_THRESHOLDS, beyond, rows_ratio

MONDAY = dt.date(2026, 3, 2)
BINS = {"label": [60, 40], "probability": [10, 30, 60], "token_count": [0, 50, 50], "unknown_tokens": [90, 10]}


def dated(day: int, bins: dict[str, Any] = BINS, times: int = 20) -> Dated:
    """A date whose histograms are these, so many times."""
    return Dated(MONDAY + dt.timedelta(day), summary_of({name: np.array(one) * times for name, one in bins.items()}))


def drift(night: Dated, dates: list[Dated], baseline: Any = None, rows: tuple[int, ...] = ()) -> dict[str, Any]:
    return drift_of(night, dates, baseline, 2_000, rows)


def test_the_last_fourteen_dates_are_compared_with_and_no_earlier_one() -> None:
    other = {**BINS, "probability": [60, 30, 10]}
    # The order in which they come does not matter.
    found = drift(dated(20), [dated(day, other if day < 6 else BINS) for day in reversed(range(20))])
    assert found["compared_dates"] == MOST_DATES
    assert found[DATES]["probability"]["distance"] == 0


def test_of_few_rows_nothing_is_compared() -> None:
    dates = [dated(day) for day in range(8)]
    for rows, there in ((FEWEST_ROWS - 1, False), (FEWEST_ROWS, True)):
        # Each of these has FEWEST_ROWS.
        bins = {name: [*one[:-1], one[-1] - (not there)] for name, one in BINS.items()}
        assert {sum(one) for one in bins.values()} == {rows}
        assert bool(drift(dated(8, bins, 1), dates)[DATES]) == there
        assert bool(drift(dated(8), [], dated(0, bins, 1).summary)[BASELINE]) == there
        found = drift(dated(9), [*dates, dated(8, bins, 1)])
        assert (found["compared_dates"], found[DATES]["probability"]["dates"]) == (9, 8 + there)


def test_what_is_no_summary_of_all_rows_is_not_compared() -> None:
    dates = [dated(day) for day in range(9)]
    for change in ({"format": 1}, {"rows": 0}, {"not_summarised": 1}):
        odd = Dated(MONDAY + dt.timedelta(9), {**dated(9).summary, **change})
        nothing = drift(odd, dates, dated(0).summary)
        assert (nothing[DATES], nothing[BASELINE]) == ({}, {})
        assert drift(dated(10), [*dates, odd])["compared_dates"] == 9
        assert baseline_of({"summary": odd.summary}) is None
    assert baseline_of({"summary": dated(0).summary}) == dated(0).summary


def test_a_baseline_of_other_thresholds_is_without_what_depends_on_them() -> None:
    bins = {**BINS, "labels_given": [80, 20], "margin": [50, 50], "entropy": [20, 80]}
    assert {*OF_THRESHOLDS} <= {*NAMES}
    baseline = {"summary": dated(0, bins).summary}
    both = [baseline_of(baseline, same_thresholds=same) for same in (True, False)]
    whole, some = (drift(dated(8, bins), [], one)[BASELINE].keys() for one in both)
    assert (whole, some) == ({*bins}, {*bins} - {*OF_THRESHOLDS})


def test_many_bins_are_put_together_before_they_are_compared() -> None:
    generator = np.random.default_rng(9)
    shares = generator.dirichlet(np.full(300, 5.0))
    drawn = [generator.multinomial(2_000, shares) for _ in range(10)]
    *dates, tonight = (dated(day, {**BINS, "value": one}, 1) for day, one in enumerate(drawn))
    for one in (*dates, tonight):
        one.summary["statistics"]["unknown_tokens"]["rows"] = one.summary["rows"]
        one.summary["statistics"]["value"]["rows"] = one.summary["rows"]
    # Against the baseline there is one reference, whose bins decide.
    last, base = coarser([drawn[-1], drawn[0]], drawn[0])
    found = drift(tonight, [], dates[0].summary)[BASELINE]["value"]["distance"]
    assert found == pytest.approx(js_distance(last, base), abs=1e-6)
    assert found < js_distance(drawn[-1], drawn[0]) / 2


def test_the_median_of_the_rows_is_told() -> None:
    found = drift(dated(8), [], rows=(100, 120, 90_000))
    assert found["rows"] == {"number": 2_000, "median": 120.0, "dates": 3}
    assert rows_ratio(found) == 2_000 / 120
    assert drift(dated(8), [])["rows"] == {"number": 2_000, "median": None, "dates": 0}
    assert rows_ratio(drift(dated(8), [])) is None
    assert rows_ratio(drift(dated(8), [], rows=(0, 0))) is None


def test_what_is_beyond_is_told_farthest_first_and_holds_from_seven_dates_on() -> None:
    def entry(distance: float, dates: int) -> dict[str, Any]:
        return {"distance": distance, "bound": 0.1, "dates": dates}

    record = {
        "format": 1,
        DATES: {"label": entry(0.1, 9), "margin": entry(0.3, FEWEST_DATES - 1), "entropy": entry(0.2, FEWEST_DATES)},
        BASELINE: {"token_count": entry(0.4, 9)},
    }
    found = [(one.statistic, one.reference, one.can_hold) for one in beyond(record)]
    assert found == [("token_count", BASELINE, True), ("margin", DATES, False), ("entropy", DATES, True)]
    assert beyond({**record, "format": 2}) == []


def test_a_world_that_is_drawn_is_compared_whole() -> None:
    generator = np.random.default_rng(1)
    world = World.drawn(generator)
    dates = [Dated(day, summary_of(world.night(generator, day))) for day in (MONDAY, MONDAY + dt.timedelta(1))]
    assert drift(dates[1], dates[:1])[DATES].keys() == {"label", *world.rows}
