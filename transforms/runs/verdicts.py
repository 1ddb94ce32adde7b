"""The verdict on a run: do the row counts agree, is the error budget kept. Written before anything is published."""

import datetime as dt
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from transforms.outputs import records
from transforms.outputs.digest_files import published_beside
from transforms.outputs.summary.record import limited
from transforms.runs.fail_points import step
from transforms.runs.plan import Split
from transforms.runs.row_counts import MARKED, Count, Work, differences, total, total_work
from transforms.runs.run import Run, to_bytes
from transforms.runs.staged import StagedFile, summary_of
from transforms.runs.verdict_record import (
    ABANDONED,
    HELD,
    OVER_BUDGET,
    PASSED,
    PUBLISHED,
    UNBALANCED,
    Part,
    Verdict,
    parse,
)
from transforms.stores.choose import store_for
from transforms.stores.paths import join


def rows_published(counts: Mapping[str, int]) -> int:
    """Rows in the files of a run, by its counts: those scored, and those taken over unchanged from another date."""
    return counts["scored"] + counts.get("skipped", 0)


def judge(
    run: Run,
    splits: Iterable[Split],
    *,
    read: Iterable[Count],
    scored: Sequence[StagedFile],
    dead: Sequence[StagedFile],
    work: Iterable[Work],
    unchanged: Sequence[StagedFile] = (),
    taken_over: int = 0,
    taken_summary: Mapping[str, Any] | None = None,
    ended_early: str | None = None,
) -> Verdict:
    """Compares the row counts of every split, and the dead letters with the error budget.

    `taken_summary` is that of the files that were taken over. `ended_early` is why reading was ended early, if it was:
    then the counts are not compared.
    """
    counts, kept = list(read), [*scored, *unchanged]
    problems = [*_unread(splits, total(counts))]
    problems += [*_unwritten([*kept, *dead])]
    problems += differences(counts, (c for f in kept for c in f.counts), (c for f in dead for c in f.counts))
    rows = {
        "read": sum(count.rows for count in counts),
        "scored": sum(file.rows for file in scored),
        "skipped": sum(file.rows for file in unchanged),
        "dead": sum(file.rows for file in dead),
    }
    status = UNBALANCED if problems else PASSED
    if ended_early is not None:
        status, problems = OVER_BUDGET, [ended_early]
    elif not problems and (exceeded := run.budget.exceeded(rows["dead"], rows["read"])):
        status, problems = OVER_BUDGET, [exceeded]
    return Verdict(
        status=status,
        run_id=run.run_id,
        folder=run.folder,
        problems=tuple(problems),
        counts=rows,
        dead_codes=_codes(dead),
        work=total_work(work).told,
        files=_parts(run, run.folder, kept),
        dead_letters=_parts(run, run.dead_folder, dead),
        taken_over=taken_over,
        precision="+".join(sorted({name for file in kept for name in file.precision.split("+") if name})),
        notes={MARKED: marked} if (marked := sum(count.marked for count in counts)) else {},
        kept_misfits=_misfits(kept),
        at_least=ended_early is not None,
        summary=limited(summary_of(kept, taken_summary)),
    )


def _unread(splits: Iterable[Split], read: Mapping[int, Count]) -> Iterable[str]:
    for split in splits:
        if split.number not in read:
            yield f"split {split.number}: was planned and never read"
            continue
        known = [piece.rows for piece in split.pieces if piece.rows is not None]
        if len(known) == len(split.pieces) and sum(known) != read[split.number].rows:
            yield f"split {split.number}: {sum(known):,} rows planned, {read[split.number].rows:,} read"


def _unwritten(files: Iterable[StagedFile]) -> Iterable[str]:
    for file in files:
        counted = sum(count.rows for count in file.counts)
        if counted != file.rows:
            yield f"{file.path}: {counted:,} rows were given to the file, {file.rows:,} are in it"


def _codes(dead: Iterable[StagedFile]) -> dict[str, list[Any]]:
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for file in sorted(dead, key=_order):
        for code, (count, example) in file.codes.items():
            counts[code] += count
            examples.setdefault(code, example)
    return {code: [count, examples[code]] for code, count in counts.most_common()}


def _misfits(kept: Iterable[StagedFile]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for file in kept:
        counts.update(file.misfits)
    return dict(sorted(counts.items()))


def _parts(run: Run, folder: str, files: Iterable[StagedFile]) -> tuple[Part, ...]:
    # Sorted by split, so that every call of publish gives a staged file the same final name.
    ordered = enumerate(sorted(files, key=_order))
    return tuple(_part(file, join(folder, f"part-{run.run_id}-{number:05d}.parquet")) for number, file in ordered)


def _part(file: StagedFile, path: str) -> Part:
    part = Part(staged=file.path, path=path, rows=file.rows, bytes=file.bytes, checksum=file.checksum)
    if file.digests is None:
        return part
    beside, at = file.digests, published_beside(path)
    digests = Part(staged=beside.path, path=at, rows=file.rows, bytes=beside.bytes, checksum=beside.checksum)
    return replace(part, digests=digests)


def _order(file: StagedFile) -> tuple[list[int], str]:
    return sorted(count.split for count in file.counts), file.path


def write_verdict(run: Run, verdict: Verdict) -> None:
    """Writes verdict.json of the run unless it has one: all publishers of a run must publish the same files."""
    with step("write_verdict"):
        store_for(run.output).swap(run.verdict, None, to_bytes(verdict.told))


def settle(path: str, status: str) -> Verdict | None:
    """Makes the verdict at `path` published or superseded, if it is `passed` or `held`; gives the verdict as it is
    then.

    Any other verdict is final. None if there is no verdict (any more).
    """
    open_ = (PASSED, HELD)
    return _change(path, lambda found: replace(found, status=status) if found and found.status in open_ else None)


def claim(path: str) -> Verdict | None:
    """Marks the verdict at `path`, if it is `passed`: the manifest is about to be swapped.

    A caller may swap unless it gets `abandoned`: `clean` abandons no run that was claimed lately. None if there is no
    verdict (any more).
    """
    now = dt.datetime.now(dt.UTC).isoformat()
    return _change(path, lambda verdict: replace(verdict, claimed=now) if _is_passed(verdict) else None)


def judge_anew(path: str, judged: Callable[[Verdict], Verdict], *, passed: bool = False) -> Verdict | None:
    """Replaces the verdict at `path`, if the run is held, by what `judged` makes of it; gives it as it is then.

    With `passed` also that of a run that passed, and was neither accepted nor claimed. One that passes then is claimed:
    `clean` must not abandon it before it is published.
    """

    def change(verdict: Verdict | None) -> Verdict | None:
        nobodys = _is_passed(verdict) and not verdict.accepted and not verdict.claimed
        if verdict is None or not (verdict.status == HELD or (passed and nobodys)):
            return None
        changed = judged(verdict)
        return replace(changed, claimed=dt.datetime.now(dt.UTC).isoformat()) if _is_passed(changed) else changed

    return _change(path, change)


def accept(path: str) -> Verdict | None:
    """Lets the run at `path` pass, if it is held; gives the verdict as it is then."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return judge_anew(path, lambda verdict: replace(verdict, status=PASSED, problems=(), accepted=now))


def abandon(path: str, run_id: str, claimed_before: dt.datetime) -> Verdict:
    """Ends a run that is taken for dead: from now on no publisher of it can swap the manifest.

    Gives the verdict at `path` as it is then. It is still `passed` if the run was claimed since `claimed_before`.
    """

    def end(verdict: Verdict | None) -> Verdict | None:
        if verdict is None:
            return Verdict(status=ABANDONED, run_id=run_id, problems=(_TAKEN_FOR_DEAD,))
        if verdict.status not in (PASSED, HELD) or verdict.is_claimed_since(claimed_before):
            return None
        return replace(verdict, status=ABANDONED, problems=(_TAKEN_FOR_DEAD,))

    verdict = _change(path, end)
    assert verdict
    return verdict


def bury(path: str, now: dt.datetime) -> None:
    """Replaces the verdict at `path` by a tombstone: the run was cleaned away at `now`; an earlier time stays."""

    def end(verdict: Verdict | None) -> Verdict | None:
        if verdict is None or verdict.status == PUBLISHED or verdict.cleaned:
            return None
        problems = (
            (_TAKEN_FOR_DEAD,) if verdict.status == ABANDONED else (f"it was {verdict.status}, and cleaned away",)
        )
        cleaned = now.isoformat()
        return Verdict(
            status=ABANDONED, run_id=verdict.run_id, folder=verdict.folder, problems=problems, cleaned=cleaned
        )

    _change(path, end)


_TAKEN_FOR_DEAD = "it was taken for dead and cleaned away; start the run again"


def _is_passed(verdict: Verdict | None) -> TypeGuard[Verdict]:
    return verdict is not None and verdict.status == PASSED


def _change(path: str, change: Callable[[Verdict | None], Verdict | None]) -> Verdict | None:
    """Swaps a verdict for what `change` makes of it (None leaves it); gives the verdict as it is then."""
    store = store_for(path)
    while True:
        raw = store.read(path)
        verdict = None if raw is None else parse(raw, path)
        changed = change(verdict)
        if changed is None:
            return verdict
        if store.swap(path, raw, to_bytes(changed.told)):
            return changed


def is_judged(plan: str) -> bool:
    """Whether the run with the plan file `plan` has its verdict: only publishing is left, and may have deleted much."""
    return read_verdict(join(posixpath.dirname(plan), "verdict.json")) is not None


def read_verdict(path: str) -> Verdict | None:
    """The verdict at `path`, or None if there is none yet; raises RecordError, a ValueError, if it is damaged."""
    raw = records.read(path)
    return None if raw is None else parse(raw, path)
