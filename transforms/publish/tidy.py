"""Ends committed runs: replaces the rows of the table, deletes what was replaced and staged, marks the manifest.

Every step may be done twice, by several processes at once, and long after another run was published.
"""

import datetime as dt
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from transforms.errors import PublishError, RecordError
from transforms.outputs import deletion
from transforms.outputs.names import MANIFEST
from transforms.publish import table_commit, table_load
from transforms.runs.fail_points import reach
from transforms.runs.history import Manifests, read_manifests, runs_named
from transforms.runs.plan import read_about
from transforms.runs.run import Run, read_manifest, run_file, to_bytes
from transforms.runs.verdict_record import PUBLISHED
from transforms.runs.verdicts import settle
from transforms.stores.choose import store_for
from transforms.stores.paths import join

At = Callable[[str], None]


def before(step: str) -> None:
    """The fail point before a step of publishing; nothing happens between the end of one and the next."""
    reach(f"before {step}")


def tidy(output: str, manifest_path: str, run_id: str, at: At = before) -> None:
    """Ends a committed run; raises PublishError if its table cannot be brought up to date."""
    store = store_for(output)
    date = manifest_path.removesuffix("/" + MANIFEST).rsplit("/", 1)[1]
    refuse_links(output, date.removeprefix("dt="))
    committed = _manifest_of(run_id, manifest_path)
    publication = None if committed is None else table_load.publication_of(output, committed)
    at("replace_rows")
    if publication is not None:
        _replace_rows(publication, manifest_path)
    at("delete_parts")
    _delete_replaced(output, date, "files", manifest_path, run_id)
    at("delete_dead_letters")
    _delete_replaced(output, join("_dead_letters", date), "dead_letters", manifest_path, run_id)
    at("delete_staged")
    delete_staged(output, run_id)
    at("drop_staging")
    if publication is not None:
        table_load.drop(publication)
    at("report")
    settle_committed(output, run_id)
    at("finish")
    manifest, raw = read_manifest(manifest_path)
    if manifest is not None and manifest["run_id"] == run_id and not manifest["finished"]:
        store.swap(manifest_path, raw, to_bytes({**manifest, "finished": True}))


def settle_committed(output: str, run_id: str) -> None:
    """Says in its verdict that a run is published."""
    # A damaged verdict stays as it is: the manifest says that the run is published.
    with suppress(RecordError):
        settle(run_file(output, run_id, "verdict.json"), PUBLISHED)


def refuse_links(output: str, date: str) -> None:
    """Raises PublishError if a link is where the folders of the date (ISO) and of the runs are."""
    if link := deletion.in_the_way(output, date):
        raise PublishError(f"{link}: {deletion.IS_A_LINK}")


def delete_staged(output: str, run_id: str) -> None:
    """Deletes what a run has staged."""
    staged = join("_runs", run_id, "staged")
    deletion.delete(output, deletion.listed(output, staged), [run_id])
    deletion.prune(output, join(output, staged))


def _manifest_of(run_id: str, manifest_path: str) -> dict[str, Any] | None:
    """The manifest while it names the run."""
    manifest, _ = read_manifest(manifest_path)
    return manifest if manifest is not None and manifest["run_id"] == run_id else None


def _replace_rows(publication: table_load.Publication, manifest_path: str) -> None:
    if _manifest_of(publication.run_id, manifest_path) is None:
        return
    try:
        if table_commit.replace_rows(publication):
            return
        problem: Exception = PublishError(
            f"{publication.sink.table}: holds {publication.date} from a run that {manifest_path} does not know: "
            f"another folder publishes into this table. Delete the row of the date from "
            f"{publication.sink.published} to let the rows of this one in"
        )
    except (FileNotFoundError, PublishError) as error:
        problem = error
    # If a later run of the date was published meanwhile, its parts and rows are the only ones now.
    if _manifest_of(publication.run_id, manifest_path) is not None:
        raise problem


def _delete_replaced(output: str, folder: str, key: str, manifest_path: str, run_id: str) -> None:
    """Deletes the parts that the run's manifest does not name under `key`, except those of runs that may replace it."""
    manifest = _manifest_of(run_id, manifest_path)
    if manifest is None:
        return
    files = [file for part in manifest[key] for file in (part, part.get("digests")) if file]
    named = {file["path"].rsplit("/", 1)[1] for file in files}
    knows = deletion.known_by(output, runs_named(manifest))
    others: dict[str, list[str]] = {}
    for path in deletion.listed(output, folder):
        owner, name = deletion.owner(output, path), path.rsplit("/", 1)[1]
        if owner is not None and not name.startswith(".") and name not in named:
            others.setdefault(owner, []).append(path)
    # Parts of a run that the output does not know are somebody else's.
    lost = [paths for other, paths in others.items() if knows(other) and _is_lost(output, other, manifest["sequence"])]
    # Read once more: a run that was cleaned away meanwhile may have been published before.
    if _manifest_of(run_id, manifest_path) is not None:
        deletion.delete(output, [path for paths in lost for path in paths], runs_named(manifest))


def _is_lost(output: str, run_id: str, sequence: int) -> bool:
    """Whether a run can no longer replace a manifest of this sequence; a run without a plan cannot."""
    try:
        about = read_about(store_for(output), run_file(output, run_id, "plan.parquet"))
        return Run.from_json(about["run"]).sequence < sequence
    except FileNotFoundError:
        return True
    except (ValueError, KeyError, TypeError, OSError):
        # Its plan cannot be read, so this is not known: its parts are left to `clean`.
        return False


def warn_broken(manifests: Manifests, own: dt.date | None = None) -> None:
    """Logs every broken manifest: its date cannot be published before it is restored; the other dates can.

    Not that of the `own` date of a job, if it has one: that one is the error the job ends with.
    """
    for date, problem in manifests.broken.items():
        if own is None or date != own.isoformat():
            logging.getLogger(__name__).warning("%s", problem)


def finish_pending(
    output: str, manifests: Manifests | None = None, *, warn: bool = True, own: dt.date | None = None
) -> list[str]:
    """Finishes every date below `output` whose manifest was committed but not tidied; gives their run ids.

    `manifests`: what `read_manifests` has just given, if the caller has it. `warn` logs those that are broken; `own`:
    see warn_broken.
    """
    manifests = read_manifests(output) if manifests is None else manifests
    if warn:
        warn_broken(manifests, own)
    pending = {date: manifest["run_id"] for date, manifest in manifests.read.items() if not manifest["finished"]}
    return [run_id for date, run_id in pending.items() if _tidied(output, join(output, f"dt={date}", MANIFEST), run_id)]


def _tidied(output: str, path: str, run_id: str) -> bool:
    try:
        tidy(output, path, run_id)
    except Exception as error:
        # The manifest stays unfinished, so that the next command tries again; the other dates can be finished. A
        # message that is not ours may quote a row.
        ours = isinstance(error, (PublishError, RecordError))
        problem = error if ours else f"{path}: cannot be finished: {type(error).__name__}"
        logging.getLogger(__name__).error("%s", problem)
        return False
    return True
