"""Runs whose rows are a night that was drawn, made without a model."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from support.runs.nights import Histograms, summary_of
from support.runs.publishing import DATE, ROWS, RowCounts, planned, row_counts

from transforms.outputs.summary.record import compressed, merge
from transforms.publish.gate import Gate
from transforms.publish.step import judge_and_publish
from transforms.runs.run import Run
from transforms.runs.verdict_record import Verdict


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
    return run, judge_and_publish(run, read, files, dead, [], baseline=baseline, gate=gate)


def days_before(count: int, date: dt.date = DATE) -> list[dt.date]:
    return [date - dt.timedelta(days) for days in range(count, 0, -1)]
