"""What `score`, `check` and `backfill` do with a job; cheap checks come first."""

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipeline.commands.start import imports_are_done
from pipeline.runners.silence import quiet_stderr


def publish_job(job: Any, log_format: str) -> Any:
    """Runs a job on the runner it names, prints what becomes of it, and gives the verdict."""
    with quiet_stderr():
        from pipeline.jobs.dates import logical_date
        from pipeline.preparing import already_published
        from pipeline.terminal.console import console_for

    console, now = console_for(log_format), dt.datetime.now(dt.UTC)
    with console.opened():
        date = logical_date(job.date, job.timezone, now)
        # Mistakes in the job itself are reported before TensorFlow is imported.
        if already_published(job, date) is None:
            try:
                _first_look(job, date)
            except Exception:
                _finish_pending(job.home)
                raise
        with quiet_stderr():
            from pipeline.scoring import score as run
        imports_are_done()
        # The same date and time: midnight may pass meanwhile.
        verdict = run(job, date=date, now=now, watch=console.watch, progress=console.progress)
    console.verdict(verdict)
    return verdict


def with_report(job: Any, log_format: str, work: Callable[[Any], int]) -> int:
    """Does the work of a job, writes the page that it asks for however that ends, and gives the exit code of the work.

    `work` is given the job with its date as YYYY-MM-DD: midnight may pass meanwhile.
    """
    if job.report is None:
        return work(job)
    now = dt.datetime.now(dt.UTC)
    with quiet_stderr():
        from pipeline.jobs.dates import logical_date

    date = logical_date(job.date, job.timezone, now)
    place = _report_of(job, date)
    told = ""
    try:
        return work(job.model_copy(update={"date": date.isoformat()}))
    except Exception as error:
        with quiet_stderr():
            from pipeline.terminal.report import told_of
        told = told_of(error)[1][0]
        raise
    finally:
        with quiet_stderr():
            from pipeline.terminal.pages.nights.after import write_report
        write_report(job, date, place, told, log_format, began=now)


def _report_of(job: Any, date: dt.date) -> str:
    """Where the page of a date goes; raises ConfigError if none can be written there."""
    with quiet_stderr():
        from pipeline.jobs.dates import fill
        from pipeline.terminal.pages.writing import check_page

    place = fill(job.report, date, "--report")
    check_page("--report", place, [job.home])
    return place


def _first_look(job: Any, date: dt.date) -> None:
    with quiet_stderr():
        from pipeline.errors import ConfigError
        from pipeline.preparing import first_look

    if job.beam_options and not job.beam_options[0].startswith("-"):
        # Before the input is reported missing: it may stand among these.
        raise ConfigError(f"{job.beam_options[0]!r} belongs to no flag; put patterns in quotes for the shell")
    first_look(job, date)
    if job.beam_options or job.runner == "portable":
        # Only Beam knows its own options; it takes half as long as TensorFlow.
        with quiet_stderr():
            from pipeline.runners.presets import beam_options

        beam_options(job.runner, job.workers, job.beam_options)


def _finish_pending(home: str) -> None:
    """The same command completes a date that is committed, whatever becomes of the new run."""
    from transforms.publish.tidy import finish_pending

    with suppress(Exception):
        finish_pending(home)


def check_job(job: Any, log_format: str) -> int:
    """Prints what a job would do, as it is found; gives the exit code."""
    now = dt.datetime.now(dt.UTC)
    with quiet_stderr():
        from pipeline.jobs.dates import logical_date
        from pipeline.preparing import already_published, prepare
        from pipeline.runners.computing import fastest_told
        from pipeline.terminal.console import console_for, out
        from pipeline.terminal.report import show_foreign, show_found
        from transforms.publish.tidy import warn_broken
        from transforms.runs.history import read_manifests

    console, date = console_for(log_format), logical_date(job.date, job.timezone, now)
    if (there := already_published(job, date)) is not None:
        console.verdict(there)
    warn_broken(read_manifests(job.home), date)
    if job.report is not None:
        _report_of(job, date)
    _first_look(job, date)
    # The device is asked for last, because that imports TensorFlow: everything else has been printed by then.
    prepared = prepare(job, date, now, tell=show_found)
    if job.precision != "fastest":
        out.print(f"fastest  {fastest_told(job, prepared.bundle)}")
    show_foreign(job.home)
    return 0


def backfill_job(job: Any, log_format: str, first: str, last: str, max_parallel: int) -> int:
    """Scores every date of a range, and gives the exit code."""
    with quiet_stderr():
        from pipeline.backfill import backfill as run
        from pipeline.jobs.dates import date_range
        from pipeline.terminal.backfill_report import DateReporter

    reporter = DateReporter(log_format)
    dates = date_range(first, last, job.timezone, dt.datetime.now(dt.UTC))
    code = run(job, dates, max_parallel, reporter.tell)
    reporter.sum_up()
    return code
