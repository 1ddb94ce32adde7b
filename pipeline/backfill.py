"""Many dates: each is one `score` in a process of its own, so that a date that dies does not end the others.

Each process gives back all its memory when its date is done.
"""

import datetime as dt
import json
import os
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import EXIT_CODES, ConfigError
from pipeline.jobs.bundle import bundle_of
from pipeline.jobs.config import JobConfig
from pipeline.jobs.dates import fill, fill_sql
from pipeline.jobs.inputs import read_query
from pipeline.jobs.own_files import check_input_apart
from pipeline.runners.children import Children, Result
from pipeline.runners.cores import INTRAOP_THREADS, share_of_cores
from pipeline.runners.silence import quiet_stderr
from transforms.publish.tidy import finish_pending
from transforms.runs.history import published_verdict
from transforms.runs.verdict_record import ALREADY_PUBLISHED, PUBLISHED

_OTHER_DAYS = (dt.date(2026, 11, 21), dt.date(2031, 3, 3))
"""Two days that differ in every part of a date."""
FINE = (EXIT_CODES[PUBLISHED], EXIT_CODES[ALREADY_PUBLISHED])


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of one date: its exit code, the status of its verdict or `failed`, counts if known, and why."""

    date: str
    code: int
    outcome: str
    counts: Mapping[str, int]
    message: str = ""


def backfill(job: JobConfig, dates: Sequence[dt.date], max_parallel: int, tell: Callable[[Ended], None]) -> int:
    """Scores the dates in order, up to `max_parallel` at once, and tells of each when it has ended.

    Gives exit code 0 if all are published, else that of the first date that is not. Raises ConfigError or BundleError
    for what would be wrong with every date. An interrupt ends the dates that are being scored.
    """
    _check(job, dates)
    finish_pending(job.home)
    # With only_new, or a gate, each date is compared with those before it, which must be published first.
    at_once = 1 if job.only_new or job.gate.asked else max_parallel
    waiting, codes = deque(date.isoformat() for date in dates), {date.isoformat(): 0 for date in dates}
    with Children(_shares(job, at_once)) as children, _job_file(job) as file:
        while waiting or len(children):
            while waiting and len(children) < at_once:
                date = waiting.popleft()
                if (there := _already_published(job, date)) is not None:
                    tell(there)
                else:
                    children.start(date, ["score", "--job", file, "--date", date, "--log-format", "json"])
            for date, result in children.wait().items():
                ended = _ended(date, result)
                codes[date] = ended.code
                tell(ended)
    return next((code for code in codes.values() if code not in FINE), 0)


def _check(job: JobConfig, dates: Sequence[dt.date]) -> None:
    query = "" if job.input_query is None else read_query(job.input_query)
    if len(dates) > 1 and not _has_date(job, query):
        given = f"--input-query {job.input_query}" if job.input_query else f"--input {', '.join(job.input)}"
        raise ConfigError(
            f"{given}: has no {{date}}, so every date would get the same rows; write {{date}} where the date stands "
            "in the path, the --input-filter or the query"
        )
    if len(dates) > 1 and job.report is not None and _same_page(job.report):
        raise ConfigError(
            f"--report {job.report}: has no {{date}}, so each date would replace the page of the one before; "
            "write {date} into the name"
        )
    for date in dates:
        check_input_apart(job, date)
    bundle_of(job)
    with quiet_stderr():
        # Imports Beam: last, so that everything else that is wrong is reported at once.
        from pipeline.runners.presets import beam_options

    beam_options(job.runner, job.workers, job.beam_options)


def _has_date(job: JobConfig, query: str) -> bool:
    """Whether what is read differs from one date to another."""

    def sources(date: dt.date) -> list[str]:
        sql = [fill_sql(text, date, "--input-query") for text in (job.input_filter or "", query)]
        return [*(fill(path, date) for path in job.input), *sql]

    first, second = _OTHER_DAYS
    return sources(first) != sources(second)


def _same_page(report: str) -> bool:
    return len({fill(report, date, "--report") for date in _OTHER_DAYS}) == 1


def _shares(job: JobConfig, at_once: int) -> dict[str, str]:
    """Threads of all dates together must not exceed the cores."""
    if at_once == 1 or INTRAOP_THREADS in os.environ:
        return {}
    return {INTRAOP_THREADS: share_of_cores(at_once * job.workers)}


def _already_published(job: JobConfig, date: str) -> Ended | None:
    """The outcome of a published date that is left alone, found without a process; None if there is work to do."""
    there = None
    # `score` itself reports a broken manifest, with its exit code.
    with suppress(ValueError):
        there = published_verdict(job.home, dt.date.fromisoformat(date)) if job.if_published == "skip" else None
    # `score` also completes a date that is committed and not finished.
    if there is None or there.problems:
        return None
    return Ended(date=date, code=EXIT_CODES[there.status], outcome=there.status, counts=there.counts)


@contextmanager
def _job_file(job: JobConfig) -> Iterator[str]:
    content = job.model_dump(by_alias=True, mode="json", exclude={"date"})
    with tempfile.TemporaryDirectory(prefix="bert-batch-") as folder:
        file = Path(folder) / "job.yaml"
        file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        yield str(file)


def _ended(date: str, result: Result) -> Ended:
    last = _last_event(result.out)
    if result.code >= 0 and last.get("event") in EXIT_CODES:
        problems = "; ".join(last["problems"][:5])
        return Ended(date=date, code=result.code, outcome=last["event"], counts=last["counts"], message=problems)
    if result.code < 0:
        message = f"its process was ended by {signal.Signals(-result.code).name}"
    else:
        message = last.get("message") or "\n".join(result.err.strip().splitlines()[-3:])
    return Ended(date=date, code=max(result.code, 1), outcome="failed", counts={}, message=message)


def _last_event(text: str) -> dict[str, Any]:
    """The verdict among the lines of JSON of a `score`, or the error; behind it may stand that of its report."""
    events = []
    for line in text.splitlines():
        with suppress(ValueError):
            events.append(json.loads(line))
    told = [event for event in events if isinstance(event, dict)]
    verdicts = [event for event in told if event.get("event") in EXIT_CODES]
    errors = [event for event in told if event.get("event") == "error"]
    return (verdicts or errors or told or [{}])[-1]
