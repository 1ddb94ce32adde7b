"""Runs that died in every way, long ago, and a cleaning of what they left."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from support.runs.publishing import (
    DATE,
    Killed,
    before,
    dead,
    die,
    judge_and_publish_counts,
    planned,
    ready,
    row_counts,
    scored,
)

from transforms.errors import PublishError
from transforms.publish.clean import Cleaned
from transforms.publish.clean import clean as clean_lazily
from transforms.publish.commit import publish
from transforms.runs.error_budget import ErrorBudget
from transforms.runs.run import Run
from transforms.stores.choose import store_for

# Claims carry the time of the clock, so everything here is told from it.
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
LONG_AGO = NOW - dt.timedelta(5)
OTHER = DATE + dt.timedelta(1)


def clean(output: str, *, now: dt.datetime = NOW, days: float = 2, **options: Any) -> list[Cleaned]:
    return list(clean_lazily(output, now=now, older_than=dt.timedelta(days), **options))


def everything(output: str) -> dict[str, bytes | None]:
    return {path: store_for(output).read(path) for path in store_for(output).list(output)}


def left(output: str) -> dict[str, bytes | None]:
    """Everything but the verdicts that stay of runs that were cleaned away."""
    return {path: data for path, data in everything(output).items() if b'"cleaned": "2' not in (data or b"")}


def folder_of(run: Run) -> list[str]:
    return store_for(run.output).list(run.file(""))


def old_run(output: str, **settings: Any) -> Run:
    return ready(output, started=LONG_AGO, **settings)


def killed_at(step: str) -> Callable[[str], Run]:
    def make(output: str) -> Run:
        run = old_run(output)
        with pytest.raises(Killed):
            publish(run, before(step, die))
        return run

    return make


def only_staged(output: str) -> Run:
    run = planned(output, started=LONG_AGO)
    scored(run)
    dead(run, [4])
    return run


def unbalanced(output: str) -> Run:
    run = planned(output, started=LONG_AGO)
    read, files, dead_files = row_counts(run)
    with pytest.raises(PublishError):
        judge_and_publish_counts(run, (read, files[1:], dead_files))
    return run


def over_budget(output: str) -> Run:
    run = planned(output, started=LONG_AGO, budget=ErrorBudget(fraction=0))
    with pytest.raises(PublishError):
        judge_and_publish_counts(run, row_counts(run))
    return run


def superseded(output: str) -> Run:
    run = old_run(output)
    publish(ready(output, started=LONG_AGO))
    assert publish(run).status == "superseded"
    return run


DEATHS: dict[str, Callable[[str], Run]] = {
    "planned": lambda output: planned(output, started=LONG_AGO),
    "staged": only_staged,
    "judged": old_run,
    "copying": killed_at("copy"),
    "committing": killed_at("commit"),
    "unbalanced": unbalanced,
    "over_budget": over_budget,
    "superseded": superseded,
}
