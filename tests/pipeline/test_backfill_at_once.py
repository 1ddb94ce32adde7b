"""How many dates of a back-fill are scored at once, and what their processes say of them."""

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.bundles import Built

from pipeline import backfill
from pipeline.jobs.config import load_job
from pipeline.runners.children import Result

DATES = [dt.date(2026, 11, day) for day in (1, 2, 3, 4)]


class Counted:
    """In place of Children: nothing is run; `most` is how many ran at once."""

    most = 0

    def __init__(self, _: object) -> None:
        self._running: list[str] = []

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *_: object) -> None: ...

    def __len__(self) -> int:
        return len(self._running)

    def start(self, name: str, _: Sequence[str]) -> None:
        self._running.append(name)
        Counted.most = max(Counted.most, len(self._running))

    def wait(self) -> dict[str, Result]:
        return {self._running.pop(0): Result(code=1, out="", err="")}


@pytest.mark.parametrize(
    ("settings", "most"),
    [({}, 3), ({"only_new": True}, 1), ({"hold_if_drift": True}, 1), ({"min_rows_ratio": 0.5}, 1)],
    ids=["neither", "only new", "drift", "rows"],
)
def test_dates_that_are_compared_with_those_before_run_one_at_a_time(
    settings: dict[str, Any], most: int, classes: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"bundle": str(classes.path), "input": [str(tmp_path / "{date}.jsonl")], "output": [str(tmp_path / "out")]}
    monkeypatch.setattr(backfill, "Children", Counted)
    monkeypatch.setattr(Counted, "most", 0)
    backfill.backfill(load_job(None, {**flags, **settings}), DATES, 3, lambda _: None)
    assert Counted.most == most


@pytest.mark.parametrize(
    ("said", "code", "outcome"),
    [
        (["published", "report"], 0, "published"),
        (["warning", "published", "warning"], 0, "published"),
        (["held", "report"], 5, "held"),
        (["over_budget", "report"], 3, "over_budget"),
        (["error", "report"], 1, "failed"),
    ],
)
def test_a_date_has_its_verdict_although_its_process_says_more_behind_it(
    said: list[str], code: int, outcome: str
) -> None:
    about = {"problems": ["a"], "counts": {"read": 1}, "message": "b"}
    out = "".join(json.dumps({"event": event, **about}) + "\n" for event in said)
    ended = backfill._ended("2026-11-01", Result(code=code, out=out, err=""))
    assert (ended.code, ended.outcome, ended.message) == (code, outcome, "b" if outcome == "failed" else "a")
