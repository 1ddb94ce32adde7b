"""publish: one logical date is committed by one compare-and-swap of its manifest, and its table follows.

`publish` may be called again, on two machines at once, or long after another run has published. Before the swap
readers see no change; after it any command can finish the tidying. A run that was overtaken never undoes a newer one.

A manifest is marked finished, or replaced by the next one, only after the verdict of its run says published.
"""

import datetime as dt
import functools
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from model.bundle import FUSED, TENSORFLOW
from transforms.errors import PublishError
from transforms.outputs import deletion
from transforms.outputs.records import check_table
from transforms.publish import table_load
from transforms.publish.tidy import At, before, delete_staged, refuse_links, settle_committed, tidy
from transforms.runs.plan import read_about
from transforms.runs.run import Run, read_manifest, to_bytes
from transforms.runs.verdict_record import (
    ABANDONED,
    HELD,
    OVER_BUDGET,
    PUBLISHED,
    SUPERSEDED,
    UNBALANCED,
    Part,
    Verdict,
    check_parts,
)
from transforms.runs.verdicts import claim, read_verdict, settle
from transforms.stores.choose import each, store_for
from transforms.stores.store import Store

About = Callable[[], dict[str, Any]]
STEPS = (
    "copy",
    "load",
    "commit",
    "replace_rows",
    "delete_parts",
    "delete_dead_letters",
    "delete_staged",
    "drop_staging",
    "report",
    "finish",
)
"""Where a publisher can be held or killed: `at(step)` is called before each."""


def publish(run: Run, at: At = before) -> Verdict:
    """Publishes a run that has a verdict, and gives the verdict it has then: published or superseded.

    Raises PublishError if the run has no verdict, does not balance, exceeds its error budget, is held, lost a staged
    file, was cleaned away, if its table cannot be loaded, or, after the commit, not be brought up to date. Raises
    RecordError if what the output holds of run and date is damaged, or leads out of it.
    """
    verdict = read_verdict(run.verdict)
    if verdict is None:
        raise PublishError(f"run {run.run_id} has no verdict yet: it has not come to its end")
    if verdict.status in (UNBALANCED, OVER_BUDGET, ABANDONED):
        raise PublishError(f"run {run.run_id} is not published: {'; '.join(verdict.problems[:5])}")
    if verdict.status == HELD and is_open(run, read_manifest(run.manifest)[0]):
        raise PublishError(f"run {run.run_id} is held: {'; '.join(verdict.problems)}")
    check_parts(run, verdict)
    refuse_links(run.output, run.date.isoformat())
    store, about = store_for(run.output), _plan_of(run)
    at("copy")
    _copy(run, verdict, store)
    at("load")
    _load(run, verdict, about)
    at("commit")
    if _commit(run, verdict, store, about):
        tidy(run.output, run.manifest, run.run_id, at)
    else:
        # Readers of a pattern must not see rows of a run that lost: no manifest names its parts, or ever will.
        deletion.delete(run.output, [part.path for part in verdict.all_files])
        at("report")
        settle(run.verdict, SUPERSEDED)
        at("drop_staging")
        drop_staging(run, verdict, about)
        # After the staging tables, which are loaded from them.
        at("delete_staged")
        delete_staged(run.output, run.run_id)
    return standing(run) or replace(verdict, status=SUPERSEDED)


def standing(run: Run) -> Verdict | None:
    """The verdict of a run, superseded if its date is another run's by now; None if it has none (any more).

    The verdict on disk says what became of the run itself: it stays `published` when a later run replaces it.
    """
    verdict = read_verdict(run.verdict)
    if verdict is None or verdict.status not in (PUBLISHED, HELD):
        return verdict
    manifest, _ = read_manifest(run.manifest)
    if verdict.status == HELD:
        return verdict if is_open(run, manifest) else replace(verdict, status=SUPERSEDED)
    replaced = manifest is None or manifest["run_id"] != run.run_id
    return replace(verdict, status=SUPERSEDED) if replaced else verdict


def is_open(run: Run, manifest: dict[str, Any] | None) -> bool:
    """Whether the date is as it was when the run was planned, by its manifest."""
    return run.sequence == (0 if manifest is None else manifest["sequence"])


def _copy(run: Run, verdict: Verdict, store: Store) -> None:
    if not is_open(run, read_manifest(run.manifest)[0]):
        return

    def copy(part: Part) -> None:
        if store.checksum(part.path) == part.checksum:
            return
        store.copy(part.staged, part.path)
        if store.checksum(part.path) != part.checksum:
            raise PublishError(f"{part.staged}: is not the file that the run wrote; start the run again")

    try:
        each(copy, verdict.all_files)
    except (FileNotFoundError, PublishError) as error:
        # Meanwhile another publisher of this run may have finished and deleted the staged files, or another run of the
        # date may have deleted the copies.
        if is_open(run, read_manifest(run.manifest)[0]):
            raise PublishError(
                f"run {run.run_id} is not published, a staged file is gone, changed or not visible here: {error}"
            ) from error


def _load(run: Run, verdict: Verdict, about: About) -> None:
    if not is_open(run, read_manifest(run.manifest)[0]):
        return
    try:
        publication = table_load.publication_of(run.output, _manifest(run, verdict, about()))
        if publication is not None:
            table_load.load(publication)
    except (FileNotFoundError, PublishError) as error:
        # As above: the parts may be gone because another run of the date was published meanwhile.
        if is_open(run, read_manifest(run.manifest)[0]):
            raise PublishError(f"run {run.run_id} is not published: {error}") from error


def drop_staging(run: Run, verdict: Verdict, about: About | None = None) -> None:
    """Drops staging tables and uploads of a run that lost; what cannot be dropped is logged, and stays."""
    try:
        publication = table_load.publication_of(run.output, _manifest(run, verdict, (about or _plan_of(run))()))
        if publication is not None:
            table_load.drop(publication)
    except FileNotFoundError:
        return  # The plan of a run that was cleaned away; its tables expire.
    except Exception as error:
        problem = error if isinstance(error, PublishError) else type(error).__name__
        logging.getLogger(__name__).error("run %s: its staging is not dropped: %s", run.run_id, problem)


def _commit(run: Run, verdict: Verdict, store: Store, about: About) -> bool:
    """Swaps the manifest; False if the date belongs to another run by now."""
    while True:
        manifest, raw = read_manifest(run.manifest)
        if manifest is not None and manifest["run_id"] == run.run_id:
            return True
        if not is_open(run, manifest):
            return False
        if manifest is not None and not manifest["finished"]:
            # After the swap only its verdict can say that the run before was published.
            settle_committed(run.output, manifest["run_id"])
        claimed = claim(run.verdict)
        if claimed is None or claimed.status == ABANDONED:
            raise PublishError(f"run {run.run_id} is not published: it was cleaned away meanwhile; start the run again")
        if claimed.status == HELD:
            raise PublishError(f"run {run.run_id} is held: {'; '.join(claimed.problems)}")
        # Once the plan of the replaced run is gone, only this entry says that its parts are ours.
        replaces = None if manifest is None else manifest["run_id"]
        if store.swap(run.manifest, raw, to_bytes(_manifest(run, verdict, about(), replaces))):
            return True


def _plan_of(run: Run) -> About:
    """What the plan of a run says besides its splits, read when it is first asked for, and once."""
    return functools.cache(lambda: read_about(store_for(run.output), run.plan))


def _manifest(run: Run, verdict: Verdict, about: dict[str, Any], replaces: str | None = None) -> dict[str, Any]:
    table = about.get("table")
    if table:
        check_table(table, run.plan)
    return {
        "format": 1,
        "sequence": run.sequence + 1,
        "run_id": run.run_id,
        "logical_date": run.date.isoformat(),
        "started": run.started.isoformat(),
        "published_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "finished": False,
        "replaces": replaces,
        "bundle": run.bundle,
        "settings": about["settings"],
        "table": table,
        **({"table_input": about["table_input"]} if "table_input" in about else {}),
        "inputs": about["inputs"],
        "files": [_named(part, run, staged=bool(table)) for part in verdict.files],
        "dead_letters": [_named(part, run, staged=bool(table)) for part in verdict.dead_letters],
        "counts": verdict.counts,
        "dead_codes": {code: count for code, (count, _) in verdict.dead_codes.items()},
        "notes": dict(verdict.notes),
        "kept_misfits": verdict.kept_misfits,
        "work": verdict.work,
        "precision": verdict.precision,
        "engine": about.get("engine", TENSORFLOW),
        "graph": about.get("graph", FUSED),
        "splits_taken_over": verdict.taken_over,
        "compared_with": about.get("compared_with"),
        "not_compared_with": about.get("not_compared_with"),
        "padding_factor": verdict.padding_factor,
        **({"summary": verdict.summary} if verdict.summary else {}),
        **({"drift": verdict.drift} if verdict.drift else {}),
        **({"gate": dict(verdict.gate)} if verdict.gate else {}),
        **({"accepted": verdict.accepted} if verdict.accepted else {}),
    }


def _named(part: Part, run: Run, *, staged: bool) -> dict[str, Any]:
    def below(path: str) -> str:
        return path.removeprefix(run.output.rstrip("/") + "/")

    def of(file: Part) -> dict[str, Any]:
        return {"path": below(file.path), "bytes": file.bytes, "checksum": file.checksum}

    named = {"rows": part.rows, **of(part), **({} if part.digests is None else {"digests": of(part.digests)})}
    # A table is loaded from there, after the commit too if need be.
    return {**named, "staged": below(part.staged)} if staged else named
