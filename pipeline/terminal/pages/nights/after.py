"""The page that `score --report` writes once its run has ended, however it has."""

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.terminal.console import emit, err, out
from pipeline.terminal.pages.nights.night import Histogram
from pipeline.terminal.pages.nights.page import page
from pipeline.terminal.pages.nights.reading import Attempt, baseline_of_night, read_history
from pipeline.terminal.pages.writing import write_page
from pipeline.terminal.report import told_of

if TYPE_CHECKING:
    from pipeline.jobs.config import JobConfig

LAST = 30
"""Dates on the page."""
# The terminal ends the program where its output is closed; the run has ended as it has.
_NOBODY_READS = suppress(OSError, SystemExit)


def write_report(
    job: "JobConfig", date: dt.date, place: str, told: str, log_format: str, *, began: dt.datetime
) -> None:
    """Writes the page of a date; `told` is what a command that `began` then says of a run that failed, else nothing.

    An error here is told, and changes neither the exit code nor the error of the run. Nor does a reader of the output
    that has gone, or a full disk, of which nobody can be told.
    """
    try:
        _write(job, date, place, Attempt(date, told, began) if told else None)
    except Exception as error:
        why = f"the report is not written: {told_of(error)[1][0]}"
        with _NOBODY_READS:
            if log_format == "json":
                emit("warning", message=why)
            else:
                err.print(f"warning: {why}")
    else:
        with _NOBODY_READS:
            if log_format == "json":
                emit("report", page=place)
            else:
                out.print(f"  report     {place}")


def _write(job: "JobConfig", date: dt.date, place: str, attempt: Attempt | None) -> None:
    now = dt.datetime.now(dt.UTC)
    history = read_history(job.home, date, LAST, now, attempt)
    baseline: Mapping[str, Histogram] = {}
    with suppress(ValueError, OSError):
        baseline = baseline_of_night(job.bundle, history.chosen)
    write_page(place, page(history, baseline, now))
