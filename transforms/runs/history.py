"""What an output holds: which dates are published, and what became of the runs that did not publish."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transforms.errors import RecordError
from transforms.outputs import records
from transforms.outputs.deletion import listed
from transforms.outputs.names import DATE_FOLDER, MANIFEST, RUN_ID
from transforms.runs.plan import read_about
from transforms.runs.run import Run, accept_command, date_folder, manifest_path, read_manifest, run_file
from transforms.runs.verdict_record import ABANDONED, ALREADY_PUBLISHED, HELD, PASSED, PUBLISHED, SUPERSEDED, Verdict
from transforms.runs.verdicts import read_verdict
from transforms.stores.choose import each, store_for
from transforms.stores.paths import absolute, join, literal

Manifest = Mapping[str, Any]
NOT_ENDED, UNREADABLE = "not_ended", "unreadable"
"""States of runs without a verdict that can be read."""
PUBLISH_IT = "; to publish it: "
"""In the reason of a run that a person may publish: what follows is the command."""


@dataclass(frozen=True, kw_only=True)
class Manifests:
    """The manifests below an output by dates (ISO), in order; `broken`: date -> why its manifest cannot be read."""

    read: Mapping[str, Manifest]
    broken: Mapping[str, str]

    @property
    def published(self) -> Mapping[str, Manifest]:
        """Without the dates whose rows were deleted for their age."""
        return {date: manifest for date, manifest in self.read.items() if not is_expired(manifest)}

    @property
    def named(self) -> list[str]:
        """The runs that they name: those that are published, and the one before each."""
        return [run_id for manifest in self.read.values() for run_id in runs_named(manifest)]


def runs_named(manifest: Manifest) -> list[str]:
    """The runs that a manifest names: its own, and the one whose rows it replaced."""
    return [run_id for run_id in (manifest["run_id"], manifest.get("replaces")) if run_id]


def is_expired(manifest: Manifest) -> bool:
    """Whether the rows of a date were deleted for their age; see transforms/publish/clean.py."""
    return bool(manifest.get("expired"))


def read_manifests(output: str) -> Manifests:
    """All manifests below `output`, listed once and read side by side."""
    dates = dates_with_manifest(output)

    def read(date: str) -> Manifest | str | None:
        try:
            return read_manifest(join(output, f"dt={date}", MANIFEST))[0]
        except ValueError as error:
            return str(error)

    contents = dict(zip(dates, each(read, dates), strict=True))
    return Manifests(
        read={date: content for date, content in contents.items() if isinstance(content, Mapping)},
        broken={date: content for date, content in contents.items() if isinstance(content, str)},
    )


def dates_with_manifest(output: str) -> list[str]:
    """The dates (ISO) that have a manifest, in order."""
    closed: list[str] = []
    found = [info.path for info in store_for(output).match(join(literal(output), "dt=*", MANIFEST), closed.append)]
    # One of somebody else, who lets nobody look into it: read, it says so, and no other date waits for it.
    found += [join(folder, MANIFEST) for folder in closed]
    return sorted(match[1] for path in found if (match := DATE_FOLDER.fullmatch(path.rsplit("/", 2)[1])))


def dates_before(output: str, date: dt.date) -> Iterator[tuple[dt.date, Manifest]]:
    """The published dates before `date` with their manifests, the last one first, each read when it is asked for.

    Dates whose manifest is broken are passed over.
    """
    for day in reversed([day for day in dates_with_manifest(output) if day < date.isoformat()]):
        try:
            manifest, _ = read_manifest(join(output, f"dt={day}", MANIFEST))
        except ValueError:
            continue
        if manifest is not None and not is_expired(manifest):
            yield dt.date.fromisoformat(day), manifest


def published_verdict(output: str, date: dt.date) -> Verdict | None:
    """The run that a date is published by, with status ALREADY_PUBLISHED; None if the date is not published.

    It has a problem if the run is committed and not finished: then its table may not have its rows.
    """
    manifest, _ = read_manifest(manifest_path(output, date))
    if manifest is None or is_expired(manifest):
        return None
    return Verdict(
        status=ALREADY_PUBLISHED,
        run_id=manifest["run_id"],
        folder=date_folder(output, date),
        counts=manifest["counts"],
        problems=(_unfinished(manifest, date_folder(output, date)),) if pending(manifest) else (),
    )


def pending(manifest: Manifest) -> str:
    """What a committed run has not finished: its `table`, or only the `files` it replaced; empty if it has."""
    if manifest["finished"]:
        return ""
    return "table" if manifest.get("table") else "files"


def _unfinished(manifest: Manifest, folder: str) -> str:
    missing = (
        f"{manifest['table']['table']}: may not have the rows of {manifest['logical_date']} yet"
        if manifest.get("table")
        else f"{folder}: may have files yet that were replaced"
    )
    return f"{missing}: run {manifest['run_id']} is committed, not finished; the same command again completes it"


def list_runs(output: str) -> dict[str, list[str]]:
    """The files of each run below `output`, by run id, in order."""
    folder = join(absolute(output), "_runs/")
    found: dict[str, list[str]] = {}
    for path in listed(output, "_runs"):
        run_id, inside, _ = path.removeprefix(folder).partition("/")
        # A link in the place of a run's folder is not ours.
        if inside and RUN_ID.fullmatch(run_id):
            found.setdefault(run_id, []).append(path)
    return found


def find_run(output: str, run_id: str) -> Run | None:
    """The run as its plan describes it; None if there is none below `output`. Raises RecordError for a damaged plan."""
    store, path = store_for(output), run_file(output, run_id, "plan.parquet")
    if not RUN_ID.fullmatch(run_id) or store.link_on(path, output):
        return None
    try:
        run = Run.from_json(read_about(store, path)["run"])
    except FileNotFoundError:
        return None
    except PermissionError:
        raise  # Whether it is damaged is not known.
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise RecordError(f"{path}: is damaged, so the run is lost: score the date again") from error
    if run.run_id != run_id:
        raise RecordError(f"{path}: is the plan of another run, so this one is lost: score the date again")
    return run


@dataclass(frozen=True, kw_only=True)
class Unpublished:
    """A run that did not publish: its date (ISO, empty if it is not known), verdict and main reason.

    `state` is the status of its verdict; NOT_ENDED if it has none, UNREADABLE if its files are damaged. `job` is
    the Dataflow job that works on it, if there is one and no verdict yet. `drift` is that of its verdict, which may be
    empty.
    """

    run_id: str
    date: str
    state: str
    reason: str
    job: Mapping[str, str] = field(default_factory=dict)
    drift: Mapping[str, Any] = field(default_factory=dict)


def unpublished(output: str, run_ids: Sequence[str], manifests: Manifests) -> list[Unpublished]:
    """The runs among `run_ids` that never published, in order."""
    named = {manifest["run_id"] for manifest in manifests.read.values()}
    others = [run_id for run_id in run_ids if run_id not in named]
    found = each(lambda run_id: _unpublished_run(output, run_id, manifests), others)
    return [run for run in found if run is not None]


def _unpublished_run(output: str, run_id: str, manifests: Manifests) -> Unpublished | None:
    try:
        verdict = read_verdict(run_file(output, run_id, "verdict.json"))
        if verdict is not None and (verdict.status == PUBLISHED or (verdict.status == ABANDONED and verdict.cleaned)):
            return None  # All that is left of a run that was cleaned away.
        run = find_run(output, run_id)
    except (ValueError, KeyError, TypeError, OSError) as error:
        return Unpublished(run_id=run_id, date="", state=UNREADABLE, reason=type(error).__name__)
    if run is None:
        return Unpublished(run_id=run_id, date="", state=UNREADABLE, reason="its plan is gone")
    state, reason = _standing(run, verdict, manifests)
    job = _job(output, run) if verdict is None else {}
    if job:
        reason = f"Dataflow job {job['job_id']} works on it, or has failed: {job['url']}"
    drift = verdict.drift if verdict is not None else {}
    return Unpublished(run_id=run_id, date=run.date.isoformat(), state=state, reason=reason, job=job, drift=drift)


def _job(output: str, run: Run) -> dict[str, str]:
    # Beside its plan, wherever that was copied to, and not where the run once wrote.
    path = run_file(output, run.run_id, "job.json")
    try:
        content = records.parse(records.read(path) or b"{}", path)
        return {key: str(content[key]) for key in ("job_id", "project", "region", "url")} if content else {}
    except (ValueError, KeyError, TypeError, OSError):
        return {}  # The file only helps to find the job.


def _standing(run: Run, verdict: Verdict | None, manifests: Manifests) -> tuple[str, str]:
    if verdict is None:
        return NOT_ENDED, "it is still running, or it died: run the job again"
    if verdict.status not in (PASSED, SUPERSEDED, HELD):
        return verdict.status, (*verdict.problems, "")[0]
    date = run.date.isoformat()
    sequence = manifests.read[date]["sequence"] if date in manifests.read else 0
    if verdict.status == HELD and (sequence == run.sequence or date in manifests.broken):
        return HELD, f"{(*verdict.problems, '')[0]}{PUBLISH_IT}{accept_command(run.output, run.run_id)}"
    if verdict.status == PASSED and (sequence == run.sequence or date in manifests.broken):
        return PASSED, f"not published yet: bert-batch publish {run.run_id}"
    if date in manifests.read and is_expired(manifests.read[date]):
        return SUPERSEDED, "the rows of the date were deleted for their age"
    return SUPERSEDED, "another run of the date was published"
