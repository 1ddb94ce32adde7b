"""Runs whose rows are a night that was drawn, made without a model."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.runs.nights import Histograms, summary_of
from support.runs.publishing import DATE, ROWS, RowCounts, planned, ready, row_counts, status

from transforms.errors import PublishError
from transforms.outputs.summary.record import compressed, merge
from transforms.publish.commit import publish, standing
from transforms.publish.gate import Gate
from transforms.publish.step import judge_and_publish
from transforms.runs.run import Run
from transforms.runs.verdict_record import Verdict

FEWER = Gate(min_rows_ratio=0.9)


def night_run(
    output: str, date: dt.date, histograms: Histograms, ids: Sequence[str] = ROWS, **settings: Any
) -> tuple[Run, RowCounts]:
    """A run whose summary has these histograms, and what reaches PublishRun of it; its files have these few rows."""
    started = dt.datetime.combine(date, dt.time(2), dt.UTC)
    run = planned(output, date=date, rows=len(ids) + 1, started=started, **settings)
    read, files, dead = row_counts(run, ids, [len(ids)])
    parts = [summary_of(histograms), *(merge([]) for _ in files[1:])]
    return run, (read, [replace(file, summary=compressed(one)) for file, one in zip(files, parts, strict=True)], dead)


def night_published(
    output: str, date: dt.date, histograms: Histograms, gate: Gate | None = None, baseline: Any = None, **settings: Any
) -> tuple[Run, Verdict]:
    """Such a run, judged and published unless the gate holds it."""
    run, (read, files, dead) = night_run(output, date, histograms, **settings)
    try:
        return run, judge_and_publish(run, read, files, dead, [], baseline=baseline, gate=gate)
    except PublishError:
        verdict = standing(run)
        assert verdict is not None
        assert verdict.status == "held"
        return run, verdict


def days_before(count: int, date: dt.date = DATE) -> list[dt.date]:
    return [date - dt.timedelta(days) for days in range(count, 0, -1)]


def weeks(output: str, count: int = 7) -> None:
    """Published dates of four rows."""
    for date in days_before(count):
        publish(ready(output, date=date))


def held(output: str, gate: Gate = FEWER, started: dt.datetime | None = None) -> Run:
    """A run with two rows, less than the last dates have."""
    run = planned(output, rows=3, **({} if started is None else {"started": started}))
    with pytest.raises(PublishError, match=f"run {run.run_id} is held: 2 rows"):
        judge_and_publish(run, *row_counts(run, ("a", "b"), [2]), [], gate=gate)
    assert status(run) == "held"
    return run
