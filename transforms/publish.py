"""PublishRun and publish: one logical date is committed by one compare-and-swap of its manifest.

`publish` may be called again, on two machines at once, or long after another run has published. Before the swap
nothing has happened; after it anyone can finish the tidying; an overtaken run never undoes a newer one.

A manifest is marked finished, or replaced by the next, only when the verdict of its run says published.
"""

import datetime as dt
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam

from transforms.books import Count, Work
from transforms.history import Manifests, read_manifests
from transforms.plan import read_plan
from transforms.runs import MANIFEST, Run, read_manifest, run_file, to_bytes
from transforms.stores import Store, each, join, store_for
from transforms.verdicts import (
    ABANDONED,
    OVER_BUDGET,
    PUBLISHED,
    SUPERSEDED,
    UNBALANCED,
    Part,
    Verdict,
    claim,
    judge,
    read_verdict,
    settle,
    write_verdict,
)
from transforms.write import StagedFile

STEPS = ("copy", "commit", "delete_parts", "delete_dead_letters", "delete_staged", "report", "finish")
"""Where a publisher can be held or killed: `at(step)` is called before each."""
At = Callable[[str], None]


class PublishError(RuntimeError):
    """The run must not be published; its verdict says why."""


class PublishRun(beam.PTransform):
    """PBegin -> PCollection[Verdict]: judges the run by its books and publishes it."""

    def __init__(
        self,
        run: Run,
        *,
        read: beam.PCollection[Count],
        scores: beam.PCollection[StagedFile],
        dead: beam.PCollection[StagedFile],
        work: beam.PCollection[Work],
    ) -> None:
        super().__init__()
        self._run, self._books = run, (read, scores, dead, work)

    def expand(self, pipeline):  # type: ignore[no-untyped-def]
        # Create and side inputs: a GroupByKey never fires on a date without rows.
        books = [beam.pvalue.AsList(books) for books in self._books]
        return pipeline | "Run" >> beam.Create([self._run]) | "JudgeAndPublish" >> beam.Map(judge_and_publish, *books)


def judge_and_publish(
    run: Run,
    read: Sequence[Count],
    scores: Sequence[StagedFile],
    dead: Sequence[StagedFile],
    work: Sequence[Work],
) -> Verdict:
    """Writes the verdict of the run down, unless it has one, and publishes it; raises PublishError as publish does."""
    if read_verdict(run.verdict) is None:
        splits, _ = read_plan(store_for(run.output), run.plan)
        write_verdict(run, judge(run, splits, read=read, scored=scores, dead=dead, work=work))
    return publish(run)


def publish(run: Run, at: At = lambda step: None) -> Verdict:
    """Publishes a run that has a verdict, and gives its standing then: published or superseded.

    Raises PublishError if the run has no verdict, does not balance, exceeds its error budget, lost a staged file, or
    was cleaned away.
    """
    verdict = read_verdict(run.verdict)
    if verdict is None:
        raise PublishError(f"run {run.run_id} has no verdict yet: it has not come to its end")
    if verdict.status in (UNBALANCED, OVER_BUDGET, ABANDONED):
        raise PublishError(f"run {run.run_id} is not published: {'; '.join(verdict.problems[:5])}")
    store = store_for(run.output)
    at("copy")
    _copy(run, verdict, store)
    at("commit")
    if _commit(run, verdict, store):
        tidy(run.output, run.manifest, run.run_id, at)
    else:
        # A reader that globs must not see rows of a run that lost. No manifest names them now, and none ever will.
        each(store.delete, [part.path for part in (*verdict.files, *verdict.dead_letters)])
        at("report")
        settle(run.verdict, SUPERSEDED)
    return standing(run) or replace(verdict, status=SUPERSEDED)


def standing(run: Run) -> Verdict | None:
    """The verdict of a run, superseded if its date is another run's by now; None if it has none (any more).

    The verdict on disk says what became of the run itself: it stays `published` when a later run replaces it.
    """
    verdict = read_verdict(run.verdict)
    if verdict is None or verdict.status != PUBLISHED:
        return verdict
    manifest, _ = read_manifest(run.manifest)
    replaced = manifest is None or manifest["run_id"] != run.run_id
    return replace(verdict, status=SUPERSEDED) if replaced else verdict


def _is_open(run: Run, manifest: dict[str, Any] | None) -> bool:
    """Whether the date is as it was when the run was planned."""
    return run.sequence == (0 if manifest is None else manifest["sequence"])


def _copy(run: Run, verdict: Verdict, store: Store) -> None:
    if not _is_open(run, read_manifest(run.manifest)[0]):
        return

    def copy(part: Part) -> None:
        if store.checksum(part.path) == part.checksum:
            return
        store.copy(part.staged, part.path)
        if store.checksum(part.path) != part.checksum:
            raise PublishError(f"{part.staged}: is not the file that the run wrote; start the run again")

    try:
        each(copy, (*verdict.files, *verdict.dead_letters))
    except (FileNotFoundError, PublishError) as error:
        # Another publisher of this run may have come to its end meanwhile and have deleted what was staged, or
        # another run of the date what was copied.
        if _is_open(run, read_manifest(run.manifest)[0]):
            raise PublishError(
                f"run {run.run_id} is not published, a staged file is gone or changed: {error}"
            ) from error


def _commit(run: Run, verdict: Verdict, store: Store) -> bool:
    """Swaps the manifest; False if the date belongs to another run by now."""
    while True:
        manifest, raw = read_manifest(run.manifest)
        if manifest is not None and manifest["run_id"] == run.run_id:
            return True
        if not _is_open(run, manifest):
            return False
        if manifest is not None and not manifest["finished"]:
            # From here on nobody could tell any more that the run before was published.
            settle(run_file(run.output, manifest["run_id"], "verdict.json"), PUBLISHED)
        claimed = claim(run.verdict)
        if claimed is None or claimed.status == ABANDONED:
            raise PublishError(f"run {run.run_id} is not published: it was cleaned away meanwhile; start the run again")
        if store.swap(run.manifest, raw, to_bytes(_manifest(run, verdict))):
            return True


def _manifest(run: Run, verdict: Verdict) -> dict[str, Any]:
    _, about = read_plan(store_for(run.output), run.plan)
    return {
        "format": 1,
        "sequence": run.sequence + 1,
        "run_id": run.run_id,
        "logical_date": run.date.isoformat(),
        "started": run.started.isoformat(),
        "published_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "finished": False,
        "bundle": run.bundle,
        "settings": about["settings"],
        "inputs": about["inputs"],
        "files": [_named(part, run) for part in verdict.files],
        "dead_letters": [_named(part, run) for part in verdict.dead_letters],
        "counts": verdict.counts,
        "dead_codes": {code: count for code, (count, _) in verdict.dead_codes.items()},
        "work": verdict.work,
        "padding_factor": verdict.padding_factor,
    }


def _named(part: Part, run: Run) -> dict[str, Any]:
    below = part.path.removeprefix(run.output.rstrip("/") + "/")
    return {"path": below, "rows": part.rows, "bytes": part.bytes, "checksum": part.checksum}


def tidy(output: str, manifest_path: str, run_id: str, at: At = lambda step: None) -> None:
    """Ends a committed run: deletes what it replaced and what it staged, and marks verdict and manifest.

    Every step can be done twice, and by several at once.
    """
    store = store_for(output)
    date = manifest_path.removesuffix("/" + MANIFEST).rsplit("/", 1)[1]
    at("delete_parts")
    _delete_replaced(output, join(output, date), "files", manifest_path, run_id)
    at("delete_dead_letters")
    _delete_replaced(output, join(output, "_dead_letters", date), "dead_letters", manifest_path, run_id)
    at("delete_staged")
    staged = run_file(output, run_id, "staged")
    each(store.delete, store.list(staged))
    store.prune(staged)
    at("report")
    settle(run_file(output, run_id, "verdict.json"), PUBLISHED)
    at("finish")
    manifest, raw = read_manifest(manifest_path)
    if manifest is not None and manifest["run_id"] == run_id and not manifest["finished"]:
        store.swap(manifest_path, raw, to_bytes({**manifest, "finished": True}))


def _delete_replaced(output: str, folder: str, key: str, manifest_path: str, run_id: str) -> None:
    """Deletes parts the run's manifest does not name under `key`, except those of runs that may still replace it."""
    store = store_for(output)
    manifest, _ = read_manifest(manifest_path)
    if manifest is None or manifest["run_id"] != run_id:
        return
    named = {part["path"].rsplit("/", 1)[1] for part in manifest[key]}
    others: dict[str, list[str]] = {}
    for path in store.list(folder):
        name = path.rsplit("/", 1)[1]
        if name.startswith("part-") and name not in named:
            others.setdefault(name.removeprefix("part-").rsplit("-", 1)[0], []).append(path)
    lost = [paths for other, paths in others.items() if _planned_at(output, other, store) < manifest["sequence"]]
    # Looked at again: a run of which nothing is known may have been published and cleaned away in the meantime.
    manifest, _ = read_manifest(manifest_path)
    if manifest is not None and manifest["run_id"] == run_id:
        each(store.delete, [path for paths in lost for path in paths])


def _planned_at(output: str, run_id: str, store: Store) -> int:
    """The sequence a run saw when it was planned; -1 if nothing is known of it."""
    try:
        _, about = read_plan(store, run_file(output, run_id, "plan.parquet"))
    except FileNotFoundError:
        return -1
    return int(about["run"]["sequence"])


def finish_pending(output: str, manifests: Manifests | None = None) -> list[str]:
    """Finishes every date below `output` whose manifest was committed but not tidied; gives their run ids.

    `manifests`: what `read_manifests` just found, if it was asked already.
    """
    manifests = read_manifests(output) if manifests is None else manifests
    for problem in manifests.broken.values():
        # The date of that manifest cannot be published before it is mended; the other dates can.
        logging.getLogger(__name__).warning("%s", problem)
    pending = {date: manifest["run_id"] for date, manifest in manifests.read.items() if not manifest["finished"]}
    for date, run_id in pending.items():
        tidy(output, join(output, f"dt={date}", MANIFEST), run_id)
    return list(pending.values())
