"""Deletes what dead runs left behind, and the rows of dates that were kept long enough.

A dead run cannot be told from a slow one. So a run must be old, by the newest time in the names of its files. Then its
verdict is swapped for `abandoned`; from then on no publisher of the run can swap the manifest. Only then are its files
deleted. The verdict stays as a tombstone for TOMBSTONE_DAYS: a slow publisher may still copy a part, and only runs that
the output knows lose their files (transforms/outputs/deletion.py).

A date that is too old is published once more, empty and marked `expired`: one swap, after which the manifest names no
file. Tidying then deletes the files, in whichever command comes first. Deleting the files first would leave readers a
manifest of missing files. Deleting the manifest would start the sequence at 0 again, and a run planned long ago could
not be told from one that was never overtaken.
"""

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from transforms.errors import LockedError, PublishError, RecordError
from transforms.outputs import deletion
from transforms.outputs.names import MANIFEST
from transforms.publish.commit import drop_staging
from transforms.publish.tidy import finish_pending, tidy, warn_broken
from transforms.runs.history import Manifests, find_run, is_expired, list_runs, read_manifests
from transforms.runs.run import Run, accept_command, new_run_id, read_manifest, run_file, to_bytes
from transforms.runs.verdict_record import (
    ABANDONED,
    HELD,
    OVER_BUDGET,
    PASSED,
    PUBLISHED,
    SUPERSEDED,
    UNBALANCED,
    Verdict,
)
from transforms.runs.verdicts import abandon, bury, read_verdict
from transforms.stores.choose import each, store_for
from transforms.stores.paths import join

_WHY = {
    "": "not ended",
    PASSED: "not published",
    UNBALANCED: "unbalanced",
    OVER_BUDGET: "over budget",
    SUPERSEDED: "superseded",
    ABANDONED: "cleaned away",
    PUBLISHED: "replaced",
    HELD: "held",
}
REPLACED_DAYS = 30
"""Plan and verdict of a run whose rows were replaced by a later run are kept that long."""
HELD_DAYS = 14
"""A run that the gate holds, or that was accepted, is kept that long, while it could be published."""
TOMBSTONE_DAYS = 30
"""The verdict of a run that was cleaned away is kept that long."""
_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """A run or a date that was deleted, or would be, with its number of files and bytes; `kept`: it was left alone."""

    what: str
    why: str
    files: int = 0
    bytes: int = 0
    kept: bool = False


@dataclass(frozen=True, kw_only=True)
class _Leftover:
    """A run that no manifest names, its verdict, the dates (ISO) it may have files in, and what its plan says of it."""

    run_id: str
    verdict: Verdict | None
    dates: frozenset[str]
    planned: Run | None = None

    @property
    def was_published(self) -> bool:
        return self.verdict is not None and self.verdict.status == PUBLISHED

    @property
    def cleaned(self) -> str:
        """When it was cleaned away (ISO), if it was."""
        return "" if self.verdict is None else self.verdict.cleaned


def clean(
    output: str, *, now: dt.datetime, older_than: dt.timedelta, keep_from: dt.date | None = None, dry_run: bool = False
) -> Iterator[Cleaned]:
    """Finishes what is pending below `output`; then deletes dates before `keep_from` and runs that were not published.

    A run must be silent for `older_than`: none of its files is newer. `dry_run` changes nothing.
    """
    manifests = read_manifests(output)
    if dry_run:
        warn_broken(manifests)
    else:
        finish_pending(output, manifests)
    too_old = [date for date in manifests.published if keep_from is not None and date < keep_from.isoformat()]
    for date in too_old:
        try:
            yield from list(_expire(output, date, now, dry_run))
        except Exception as error:
            # A date that cannot be deleted does not stop the others.
            ours = isinstance(error, PublishError | RecordError)
            yield Cleaned(what=f"dt={date}", why=str(error) if ours else type(error).__name__, kept=True)
    expired = {date for date, manifest in manifests.read.items() if is_expired(manifest)} | {*too_old}
    named = {manifest["run_id"] for date, manifest in manifests.read.items() if date not in expired}

    dates, last_heard = _dates_with_parts(output), _last_heard(output)
    silent = sorted(run_id for run_id, time in last_heard.items() if time <= now - older_than and run_id not in named)
    for run in each(lambda run_id: _leftover(output, run_id, dates.get(run_id, set())), silent):
        if isinstance(run, Cleaned):
            yield run
        elif not _is_worth_keeping(run, expired, last_heard[run.run_id], now):
            unclear = _why_unclear(run, dates.get(run.run_id, set()), manifests)
            unclear = unclear or _why_held(run, manifests, last_heard[run.run_id], now)
            kept = Cleaned(what=f"run {run.run_id}", why=unclear, kept=True)
            deleted = kept if unclear else _try_to_delete(output, run, now, now - older_than, dry_run)
            # A tombstone alone is not reported.
            if deleted.kept or deleted.files or not run.cleaned:
                yield deleted


def _try_to_delete(output: str, run: _Leftover, now: dt.datetime, before: dt.datetime, dry_run: bool) -> Cleaned:
    """One that may not be touched, or that somebody holds, does not stop the others."""
    try:
        return _delete(output, run, now, before, dry_run)
    except (OSError, LockedError, RecordError) as error:
        return Cleaned(what=f"run {run.run_id}", why=str(error), kept=True)


def _is_worth_keeping(run: _Leftover, expired: set[str], last_heard: dt.datetime, now: dt.datetime) -> bool:
    """Whether it is a run that was published, and replaced not long ago."""
    return run.was_published and not run.dates <= expired and last_heard > now - dt.timedelta(REPLACED_DAYS)


def _why_unclear(run: _Leftover, seen_in: set[str], manifests: Manifests) -> str:
    """Why it is unclear whether rows of this run are published; empty if they are not."""
    broken = run.dates & manifests.broken.keys() or (not run.dates and manifests.broken)
    if broken:
        return f"the manifest of dt={min(broken)} is broken and may name it"
    if run.was_published and (gone := seen_in - manifests.read.keys()):
        return f"the manifest of dt={min(gone)} is gone, and rows that it named are there"
    return ""


def _why_held(run: _Leftover, manifests: Manifests, last_heard: dt.datetime, now: dt.datetime) -> str:
    """Why a run that is held, or accepted, is kept; empty if it is old, its date another run's by now, or neither."""
    verdict = run.verdict
    if verdict is None or run.planned is None or not (verdict.status == HELD or verdict.accepted):
        return ""
    manifest = manifests.read.get(run.planned.date.isoformat())
    heard = max(last_heard, dt.datetime.fromisoformat(verdict.accepted)) if verdict.accepted else last_heard
    end = heard + dt.timedelta(HELD_DAYS)
    if now >= end or (0 if manifest is None else manifest["sequence"]) != run.planned.sequence:
        return ""
    state = "accepted" if verdict.accepted else "held"
    return f"is {state}, and kept until {end:%Y-%m-%d}: {accept_command(run.planned.output, run.run_id)}"


def _expire(output: str, date: str, now: dt.datetime, dry_run: bool) -> Iterator[Cleaned]:
    path = join(output, f"dt={date}", MANIFEST)
    manifest, raw = read_manifest(path)
    if manifest is None or is_expired(manifest):
        return
    if link := deletion.in_the_way(output, date):
        yield Cleaned(what=f"dt={date}", why=f"{link} {deletion.IS_A_LINK}", kept=True)
        return
    if not dry_run:
        run_id, time = new_run_id(now), now.isoformat(timespec="seconds")
        empty = manifest | {"sequence": manifest["sequence"] + 1, "run_id": run_id, "finished": False, "expired": True}
        empty |= {"started": time, "published_at": time, "counts": dict.fromkeys(manifest["counts"], 0)}
        empty |= {"bundle": "", "settings": {}, "inputs": [], "files": [], "dead_letters": []}
        empty |= {"dead_codes": {}, "notes": {}, "kept_misfits": {}, "work": {}, "replaces": manifest["run_id"]}
        # Rows in BigQuery stay: how long is for the table's own partition expiration to say.
        empty |= {"table": None}
        # The date was published again since it was read: the next `clean` looks at it.
        if not manifest["finished"] or not store_for(path).swap(path, raw, to_bytes(empty)):
            return
        tidy(output, path, run_id)
    parts = [*manifest["files"], *manifest["dead_letters"]]
    parts += [part["digests"] for part in parts if part.get("digests")]
    yield Cleaned(what=f"dt={date}", why="too old", files=len(parts), bytes=sum(part["bytes"] for part in parts))


def _dates_with_parts(output: str) -> dict[str, set[str]]:
    """The dates in which there are parts or dead letters of a run, incomplete copies included, by run id."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (*deletion.listed(output, begin="dt="), *deletion.listed(output, "_dead_letters", begin="dt=")):
        if (run_id := deletion.owner(output, path)) is not None:
            found[run_id].add(path.rsplit("/", 2)[-2].removeprefix("dt="))
    return found


def _last_heard(output: str) -> dict[str, dt.datetime]:
    """The newest time in the names of a run's files: its id has one, and so have files of a later attempt.

    Only runs that the output knows: another folder or part with a name of that form is somebody else's.
    """
    found = {}
    for run_id, files in list_runs(output).items():
        if not deletion.makes_known(files):
            continue
        names = [run_id, *(path.rsplit("/_runs/", 1)[1] for path in files)]
        times = [time for name in names if (time := _time(name))]
        if times:
            found[run_id] = max(times)
    return found


def _time(name: str) -> dt.datetime | None:
    """The newest time in a name."""
    times = []
    for found in _TIME.findall(name):
        with suppress(ValueError):
            times.append(dt.datetime.strptime(found, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC))
    return max(times, default=None)


def _leftover(output: str, run_id: str, dates: set[str]) -> _Leftover | Cleaned:
    try:
        verdict = read_verdict(run_file(output, run_id, "verdict.json"))
    except (ValueError, KeyError, TypeError, OSError):
        return Cleaned(what=f"run {run_id}", why="its verdict.json cannot be read", kept=True)
    run = None
    try:
        run = find_run(output, run_id)
        dates = dates if run is None else {*dates, run.date.isoformat()}
    except PermissionError:
        return Cleaned(what=f"run {run_id}", why="its plan.parquet may not be read", kept=True)
    except (ValueError, KeyError, TypeError):  # The plan is damaged: no command can read it.
        pass
    return _Leftover(run_id=run_id, verdict=verdict, dates=frozenset(dates), planned=run)


def _delete(output: str, run: _Leftover, now: dt.datetime, claimed_before: dt.datetime, dry_run: bool) -> Cleaned:
    what, path = f"run {run.run_id}", run_file(output, run.run_id, "verdict.json")
    verdict = run.verdict if dry_run else abandon(path, run.run_id, claimed_before)
    if verdict is not None and verdict.is_claimed_since(claimed_before):
        return Cleaned(what=what, why=f"was being published lately: bert-batch publish {run.run_id}", kept=True)
    # Read last: once a run is abandoned or has ended, no later manifest can name it.
    for date in () if dry_run else run.dates:
        manifest, _ = read_manifest(join(output, f"dt={date}", MANIFEST))
        if manifest is not None and manifest["run_id"] == run.run_id:
            return Cleaned(what=what, why=f"was published meanwhile: dt={date}", kept=True)
    stays = not run.was_published and not _is_long_ago(run.cleaned, now)
    files = [file for file in _files(output, run) if not (stays and file.endswith("/verdict.json"))]
    sizes = [info.size for info in each(store_for(output).stat, files) if info]
    if not dry_run:
        # A run without files has loaded and uploaded nothing. The plan, deleted next, says where to.
        if run.planned is not None and verdict is not None and (verdict.files or verdict.dead_letters):
            drop_staging(replace(run.planned, output=output), verdict)
        _delete_files(output, run.run_id, files)
        if stays:
            bury(path, now)
    return Cleaned(what=what, why=_WHY[run.verdict.status if run.verdict else ""], files=len(sizes), bytes=sum(sizes))


def _is_long_ago(cleaned: str, now: dt.datetime) -> bool:
    return cleaned != "" and dt.datetime.fromisoformat(cleaned) <= now - dt.timedelta(TOMBSTONE_DAYS)


def _files(output: str, run: _Leftover) -> list[str]:
    """The files of a run: in the folders of dates, incomplete copies included, and in its own folder."""
    # The parts of a published run are deleted when the next version of the manifest is tidied.
    dates = () if run.was_published else run.dates
    places = [join(*below, f"dt={date}") for date in sorted(dates) for below in (("",), ("_dead_letters",))]
    there = [path for place in (*places, f"_runs/{run.run_id}") for path in deletion.listed(output, place)]
    return [path for path in there if deletion.owner(output, path) == run.run_id]


def _delete_files(output: str, run_id: str, files: Sequence[str]) -> None:
    deletion.delete(output, files)
    deletion.prune(output, run_file(output, run_id, "staged"))
    deletion.prune(output, run_file(output, run_id, ""))
