"""What the bounds promise: few false alarms with a weekday swing, and another corpus is found."""

import datetime as dt
from collections import deque

import numpy as np
import pytest
from support.runs.nights import World, summary_of

from transforms.outputs.drift.compared import Dated, drift_of
from transforms.outputs.drift.record import DATES, beyond

MONDAY = dt.date(2026, 3, 2)


def alarms(seed: int, nights: int, mixed: float, swing: float = 0.4) -> int:
    """How many of so many nights are beyond a bound, each after 14 that are not mixed."""
    generator = np.random.default_rng(seed)
    world = World.drawn(generator, swing)
    baseline = summary_of(world.night(generator, MONDAY, rows=1_000))
    before: deque[Dated] = deque(maxlen=14)
    found = 0
    for day in range(14 + nights):
        date = MONDAY + dt.timedelta(day)
        if day >= 14:
            tonight = Dated(date, summary_of(world.night(generator, date, mixed=mixed)))
            found += bool(beyond(drift_of(tonight, list(before), baseline, 2_000, [2_000] * 14)))
        before.append(Dated(date, summary_of(world.night(generator, date))))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("swing", [0.0, 0.4])
def test_a_thousand_unshifted_nights_give_at_most_fifteen_alarms(swing: float) -> None:
    assert sum(alarms(seed, 100, 0.0, swing) for seed in range(100, 110)) <= 15


@pytest.mark.slow
@pytest.mark.parametrize(("mixed", "least"), [(0.1, 160), (0.2, 190)])
def test_another_corpus_is_found_in_most_of_two_hundred_nights(mixed: float, least: int) -> None:
    assert sum(alarms(seed, 20, mixed) for seed in range(100, 110)) >= least


@pytest.mark.parametrize("swing", [0.0, 0.4])
def test_unshifted_nights_seldom_alarm_over_all_statistics(swing: float) -> None:
    # 1.5 % at most are promised.
    assert sum(alarms(seed, 70, 0.0, swing) for seed in range(3)) <= 3


@pytest.mark.parametrize(("mixed", "least"), [(0.1, 32), (0.2, 38)])
def test_another_corpus_is_found(mixed: float, least: int) -> None:
    # 80 % and 95 % are promised.
    assert sum(alarms(seed, 10, mixed) for seed in range(4)) >= least


def test_what_is_of_a_sample_is_compared_where_the_sample_is_of_every_row() -> None:
    generator = np.random.default_rng(5)
    world = World.drawn(generator)

    def night(day: int, copied: int = 0) -> Dated:
        """Of its rows an eighth has the entropy; `copied` rows were not scored."""
        date = MONDAY + dt.timedelta(day)
        drawn = world.night(generator, date)
        summary = summary_of({**drawn, "entropy": drawn["entropy"] // 8})
        summary["statistics"]["unknown_tokens"]["rows"] -= copied
        return Dated(date, summary)

    dates = [night(day) for day in range(14)]
    compared = drift_of(night(14), dates, None, 2_000, [2_000] * 14)[DATES]
    assert compared["entropy"]["dates"] == 14
    assert "entropy" not in drift_of(night(14, copied=1), dates, None, 2_000, [2_000] * 14)[DATES]
    partly = [night(day, copied=day % 2) for day in range(14)]
    assert drift_of(night(14), partly, None, 2_000, [2_000] * 14)[DATES]["entropy"]["dates"] == 7
