"""PublishRun and publish: one logical date is committed by one compare-and-swap of its manifest.

`publish` may be called again, on two machines at once, or long after another run has published. Before the swap
nothing has happened; after it anyone can finish the tidying; an overtaken run never undoes a newer one.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import apache_beam as beam

from transforms.books import Count, Work
from transforms.plan import read_plan
from transforms.runs import MANIFEST, Run, read_manifest, to_bytes
from transforms.stores import Store, join, store_for
from transforms.verdicts import (
    OVER_BUDGET,
    PUBLISHED,
    SUPERSEDED,
    UNBALANCED,
    Part,
    Verdict,
    judge,
    read_verdict,
    write_verdict,
)
from transforms.write import StagedFile

STEPS = ("copy", "commit", "delete_parts", "delete_dead_letters", "delete_staged", "finish", "report")
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
    """Writes the verdict of the run down, then publishes it; raises PublishError if it must not be."""
    known = read_verdict(run.verdict)
    if known is None or known.status not in (PUBLISHED, SUPERSEDED):
        splits, _ = read_plan(store_for(run.output), run.plan)
        write_verdict(run, judge(run, splits, read=read, scored=scores, dead=dead, work=work))
    return publish(run)


def publish(run: Run, at: At = lambda step: None) -> Verdict:
    """Publishes a run that has a verdict, and gives the verdict as it is then: published or superseded.

    Raises PublishError if the run has no verdict, does not balance, or exceeds its error budget.
    """
    verdict = read_verdict(run.verdict)
    if verdict is None:
        raise PublishError(f"run {run.run_id} has no verdict yet: it has not come to its end")
    if verdict.status in (UNBALANCED, OVER_BUDGET):
        raise PublishError(f"run {run.run_id} is not published: {'; '.join(verdict.problems[:5])}")
    store = store_for(run.output)
    at("copy")
    _copy(run, verdict, store)
    at("commit")
    if _commit(run, verdict, store):
        tidy(run.output, run.manifest, run.run_id, at)
        verdict = replace(verdict, status=PUBLISHED)
    else:
        # A reader that globs must not see rows of a run that lost.
        for part in (*verdict.files, *verdict.dead_letters):
            store.delete(part.path)
        verdict = replace(verdict, status=SUPERSEDED)
    at("report")
    write_verdict(run, verdict)
    return verdict


def _state(run: Run) -> tuple[str, bytes | None]:
    """Whether the date is `open` for this run, `mine` already, or `taken` by another; and the manifest as it stands."""
    manifest, raw = read_manifest(run.manifest)
    if manifest is not None and manifest["run_id"] == run.run_id:
        return "mine", raw
    sequence = 0 if manifest is None else manifest["sequence"]
    return ("open" if sequence == run.sequence else "taken"), raw


def _copy(run: Run, verdict: Verdict, store: Store) -> None:
    if _state(run)[0] != "open":
        return

    def copy(part: Part) -> None:
        if store.checksum(part.path) != part.checksum:
            store.copy(part.staged, part.path)

    try:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(copy, (*verdict.files, *verdict.dead_letters)))
    except FileNotFoundError:
        # Another publisher of this run may have come to its end meanwhile and have deleted what was staged.
        if _state(run)[0] == "open":
            raise


def _commit(run: Run, verdict: Verdict, store: Store) -> bool:
    """Swaps the manifest; False if the date belongs to another run by now."""
    manifest = to_bytes(_manifest(run, verdict))
    while True:
        state, raw = _state(run)
        if state != "open":
            return state == "mine"
        if store.swap(run.manifest, raw, manifest):
            return True


def _manifest(run: Run, verdict: Verdict) -> dict[str, Any]:
    _, about = read_plan(store_for(run.output), run.plan)
    return {
        "format": 1,
        "sequence": run.sequence + 1,
        "run_id": run.run_id,
        "logical_date": run.date.isoformat(),
        "started": run.started.isoformat(),
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
    """Ends a committed run: deletes what its manifest replaced and what it staged, then marks it finished.

    Each step looks again whether the manifest still names the run; every step can be done twice.
    """
    store = store_for(output)
    date = manifest_path.removesuffix("/" + MANIFEST).rsplit("/", 1)[1]
    for step, folder in (
        ("delete_parts", join(output, date)),
        ("delete_dead_letters", join(output, "_dead_letters", date)),
    ):
        at(step)
        manifest, _ = read_manifest(manifest_path)
        if manifest is None or manifest["run_id"] != run_id:
            return
        _delete_replaced(output, folder, manifest, store)
    at("delete_staged")
    staged = join(output, "_runs", run_id, "staged")
    for path in store.list(staged):
        store.delete(path)
    store.prune(staged)
    at("finish")
    manifest, raw = read_manifest(manifest_path)
    if manifest is not None and manifest["run_id"] == run_id and not manifest["finished"]:
        store.swap(manifest_path, raw, to_bytes({**manifest, "finished": True}))


def _delete_replaced(output: str, folder: str, manifest: dict[str, Any], store: Store) -> None:
    """Deletes parts the manifest does not name, except those of a run that may still replace it."""
    named = {join(output, part["path"]) for part in (*manifest["files"], *manifest["dead_letters"])}
    candidates: dict[str, bool] = {}
    for path in store.list(folder):
        name = path.rsplit("/", 1)[1]
        if path in named or not name.startswith("part-"):
            continue
        run_id = name.removeprefix("part-").rsplit("-", 1)[0]
        if run_id not in candidates:
            candidates[run_id] = _planned_at(output, run_id, store) >= manifest["sequence"]
        if not candidates[run_id]:
            store.delete(path)


def _planned_at(output: str, run_id: str, store: Store) -> int:
    """The sequence a run saw when it was planned; -1 if nothing is known of it."""
    try:
        _, about = read_plan(store, join(output, "_runs", run_id, "plan.parquet"))
    except FileNotFoundError:
        return -1
    return int(about["run"]["sequence"])


def finish_pending(output: str) -> list[str]:
    """Finishes every date below `output` whose manifest was committed but not tidied; gives their run ids."""
    store = store_for(output)
    found = [info.path for info in store.match(join(output, "dt=*", MANIFEST))]
    with ThreadPoolExecutor(16) as pool:
        manifests = list(pool.map(lambda path: read_manifest(path)[0], found))
    pending = [
        (path, m["run_id"]) for path, m in zip(found, manifests, strict=True) if m is not None and not m["finished"]
    ]
    for path, run_id in pending:
        tidy(output, path, run_id)
    return [run_id for _, run_id in pending]
