"""Reads one date of an output and the dates before it: manifests, and the verdicts of runs that did not publish."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pipeline.errors import ConfigError
from pipeline.terminal.pages.nights.night import (
    BROKEN,
    EXPIRED,
    MISSING,
    NOT_BEGUN,
    Histogram,
    Night,
    codes_of,
    of_manifest,
    of_verdict,
    summarised,
)
from pipeline.terminal.pages.nights.rhythm import due_until, missing_dates
from transforms.outputs.deletion import listed
from transforms.outputs.drift.histograms import baseline_of
from transforms.outputs.names import MANIFEST
from transforms.runs.history import (
    PUBLISH_IT,
    UNREADABLE,
    Manifests,
    Unpublished,
    dates_with_manifest,
    is_expired,
    list_runs,
    pending,
    unpublished,
)
from transforms.runs.plan import read_about
from transforms.runs.run import read_manifest, run_file
from transforms.runs.verdict_record import PASSED, SUPERSEDED
from transforms.runs.verdicts import read_verdict
from transforms.stores.bundles import describe_bundle
from transforms.stores.choose import each, store_for
from transforms.stores.paths import join

_BEFORE = dt.timedelta(days=2)
"""A run may begin before its logical date does in UTC; no run that began earlier is looked at."""
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class History:
    """The nights of an output up to the one that is reported, in order; expected ones that are missing too.

    `overdue`: dates after it that should be there by now, where no date was asked for. `unreadable`: runs of which not
    even the date is known.
    """

    output: str
    nights: Sequence[Night]
    chosen: Night
    overdue: Sequence[dt.date] = ()
    unreadable: int = 0

    @property
    def before(self) -> Sequence[Night]:
        """Without the one that is reported."""
        return [night for night in self.nights if night.date < self.chosen.date]


class Attempt(NamedTuple):
    """A run that ended before it had a plan, or died: for which date, what was told, and when the command began."""

    date: dt.date
    told: str
    began: dt.datetime

    def is_of(self, run_id: str) -> bool:
        """Whether the command began this run, or took it over and told of it."""
        return run_id >= f"{self.began.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}" or run_id in self.told


class _Read(NamedTuple):
    """Of one manifest: the night, and the keys by which runs that did not publish are judged."""

    night: Night
    about: Mapping[str, Any]


def read_history(
    output: str, date: dt.date | None, last: int, now: dt.datetime, attempt: Attempt | None = None
) -> History:
    """`last` dates up to `date`, by default up to the newest; `attempt` is what the calling command has just seen.

    Raises ConfigError where there is no output, nothing in it, or nothing of the date.
    """
    asked, known = date is not None, dates_with_manifest(output)
    every = [dt.date.fromisoformat(day) for day in known if date is None or day <= date.isoformat()]
    read = dict(zip(every[-last:], each(lambda day: _manifest(output, day), every[-last:]), strict=True))
    found = {day: one.night for day, one in read.items()}
    # Where all dates are read, runs from before the first of them are too: the first nights may have failed.
    since = min(read) if len(every) > last else None
    runs = _unpublished(output, {day: one.about for day, one in read.items()}, since)
    dated = [(dt.date.fromisoformat(run.date), run) for run in runs if run.date]
    for day, run in sorted(dated, key=lambda one: one[1].run_id):
        # Before the first of these dates is what was not read, and after the chosen one what is not asked for.
        if (date is None or day <= date) and (len(every) <= last or day >= min(read)):
            found[day] = _beside(output, found.get(day), day, run)
    if attempt is not None:
        mine = any(day == attempt.date and attempt.is_of(run.run_id) for day, run in dated)
        found[attempt.date] = _attempted(found.get(attempt.date), attempt, mine)
    there = [*every, *(day for day, _ in dated), *found]
    if date is None and found:
        date = max(found)
    if date is None or date not in found:
        raise ConfigError(_nothing(output, date, there))
    nights = {day: found[day] for day in sorted(found)[-last:]}
    # Who asks for a date asks nothing of those after it.
    until = date if asked else due_until([(one.date, one.published_at) for one in nights.values()], date, now)
    absent = missing_dates(there, until)
    first = min(nights)
    nights |= {day: Night(date=day, state=MISSING) for day in absent if first < day < date}
    overdue = [day for day in absent if day > date]
    chosen = _with_positions(output, nights[date])
    ordered = [nights[day] if day != date else chosen for day in sorted(nights)][-last:]
    unreadable = sum(run.state == UNREADABLE and not run.date for run in runs)
    return History(output=output, nights=ordered, chosen=chosen, overdue=overdue, unreadable=unreadable)


def baseline_of_night(bundle: str, night: Night) -> Mapping[str, Histogram]:
    """Histograms of the validation rows of the bundle that scored a night; none if the bundle has no baseline.

    Raises BundleError where there is no bundle, ConfigError for another one.
    """
    found = describe_bundle(bundle)
    if night.bundle and found.fingerprint != night.fingerprint:
        raise ConfigError(
            f"--bundle {bundle!r}: is {found.reference}, and the date was scored with {night.bundle}; name that one"
        )
    summary = baseline_of(found.baseline)
    histograms: Mapping[str, Histogram] = {} if summary is None else summarised(summary)["histograms"]
    return histograms


def _manifest(output: str, date: dt.date) -> _Read:
    try:
        manifest, _ = read_manifest(join(output, f"dt={date.isoformat()}", MANIFEST))
    except ValueError as error:
        return _Read(Night(date=date, state=BROKEN, reason=str(error)), {})
    if manifest is None:
        # Deleted since it was listed.
        return _Read(Night(date=date, state=BROKEN, reason="its manifest is gone"), {})
    about: dict[str, Any] = {key: manifest[key] for key in ("run_id", "sequence", "expired") if key in manifest}
    if is_expired(manifest):
        return _Read(Night(date=date, state=EXPIRED, run_id=manifest["run_id"], bundle=manifest["bundle"]), about)
    return _Read(of_manifest(date, manifest, pending(manifest)), about)


def _unpublished(output: str, read: Mapping[dt.date, Mapping[str, Any]], since: dt.date | None) -> list[Unpublished]:
    # Which files a run has does not say whether it published: one that was held without rows has staged none.
    begin = "" if since is None else f"{since - _BEFORE:%Y%m%d}"
    ids = [one for one in list_runs(output) if one >= begin]
    manifests = Manifests(
        read={day.isoformat(): about for day, about in read.items() if about},
        broken={day.isoformat(): "" for day, about in read.items() if not about},
    )
    return [run for run in unpublished(output, ids, manifests) if run.state != SUPERSEDED]


def _beside(output: str, there: Night | None, date: dt.date, run: Unpublished) -> Night:
    """The night of a date with a run that did not publish, which is the newest one so far."""
    if there is not None and there.run_id and (there.is_published or there.state == EXPIRED):
        return replace(there, later=(run.state, run.reason)) if run.run_id > there.run_id else there
    if there is not None and there.state == BROKEN:
        # Readers still have that manifest, and it may be of a newer run: nothing here advises to publish this one.
        reason = "" if run.state == PASSED else run.reason.partition(PUBLISH_IT)[0]
        return replace(there, later=(run.state, reason))
    with suppress(ValueError, KeyError, TypeError, OSError):
        verdict = read_verdict(run_file(output, run.run_id, "verdict.json"))
        about = read_about(store_for(output), run_file(output, run.run_id, "plan.parquet"))
        if verdict is not None:
            return of_verdict(date, run.state, run.reason, verdict, about)
    return Night(date=date, state=run.state, reason=run.reason, run_id=run.run_id)


def _attempted(there: Night | None, attempt: Attempt, mine: bool) -> Night:
    """The night of a date with what a command has just told of it, which its files may not have.

    `mine`: the newest of its runs that did not publish is of the command. Else what was told is of no run.
    """
    if there is None:
        return Night(date=attempt.date, state=NOT_BEGUN, reason=attempt.told)
    if there.is_published or there.state in (EXPIRED, BROKEN) or not mine:
        return replace(there, later=(there.later[0] if there.later and mine else NOT_BEGUN, attempt.told))
    return replace(there, reason=attempt.told)


def _with_positions(output: str, night: Night) -> Night:
    """With positions of dead letters, which only the verdict of its run has."""
    if night.is_published and night.codes:
        with suppress(ValueError, KeyError, TypeError, OSError):
            verdict = read_verdict(run_file(output, night.run_id, "verdict.json"))
            if verdict is not None:
                return replace(night, codes={**night.codes, **codes_of(verdict)})
    return night


def _nothing(output: str, date: dt.date | None, there: Sequence[dt.date]) -> str:
    if not there and not any(_anything(output)):
        return f"{output}: nothing was published there, and no run is there; give the folder that a job publishes into"
    newest = ", ".join(day.isoformat() for day in sorted({*there})[-_SHOWN:])
    others = f"the last dates are {newest}" if newest else "no date is there"
    named = "no date" if date is None else f"{date.isoformat()}"
    return f"{output}: {named} is not published there, and no run of it is there; {others}"


def _anything(output: str) -> Iterator[bool]:
    yield bool(dates_with_manifest(output))
    yield bool(listed(output, "_runs"))
