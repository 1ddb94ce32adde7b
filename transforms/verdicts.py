"""The verdict on a run: do the books balance, is the error budget kept. Written down before anything is published."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from transforms.books import Count, Work, differences, total, total_work
from transforms.fail_points import step
from transforms.plan import Split
from transforms.runs import Run, to_bytes
from transforms.stores import join, store_for
from transforms.write import StagedFile

PASSED, PUBLISHED, SUPERSEDED = "passed", "published", "superseded"
UNBALANCED, OVER_BUDGET = "unbalanced", "over_budget"


class PublishError(RuntimeError):
    """A run is not published, or what it has published could not be completed; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file to publish: where it is staged, its final path below the output, rows, bytes and `crc32c:…`."""

    staged: str
    path: str
    rows: int
    bytes: int
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a run that was to publish `folder`.

    `dead_codes`: code -> [how many, an example's place]; `work` as books.Work has it, of this try alone;
    `taken_over`: how many splits earlier tries had finished; `precision`: what the rows were computed in.
    """

    status: str
    run_id: str
    folder: str = ""
    problems: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    dead_codes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    work: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Part, ...] = ()
    dead_letters: tuple[Part, ...] = ()
    taken_over: int = 0
    precision: str = ""

    @property
    def padding_factor(self) -> float:
        """Padded tokens computed for each real one."""
        return round(self.work["padded"] / self.work["tokens"], 4) if self.work.get("tokens") else 1.0


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
) -> Verdict:
    """Compares the books of every split and the error budget; see books.differences."""
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
    if not problems and (exceeded := run.budget.exceeded(rows["dead"], rows["read"])):
        status, problems = OVER_BUDGET, [exceeded]
    return Verdict(
        status=status,
        run_id=run.run_id,
        folder=run.folder,
        problems=tuple(problems),
        counts=rows,
        dead_codes=_codes(dead),
        work=total_work(work)._asdict(),
        files=_parts(run, run.folder, kept),
        dead_letters=_parts(run, run.dead_folder, dead),
        taken_over=taken_over,
        precision="+".join(sorted({name for file in kept for name in file.precision.split("+") if name})),
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


def _parts(run: Run, folder: str, files: Iterable[StagedFile]) -> tuple[Part, ...]:
    # Sorted by split, so that every call of publish gives a staged file the same final name.
    ordered = enumerate(sorted(files, key=_order))
    return tuple(
        Part(
            staged=file.path,
            path=join(folder, f"part-{run.run_id}-{number:05d}.parquet"),
            rows=file.rows,
            bytes=file.bytes,
            checksum=file.checksum,
        )
        for number, file in ordered
    )


def _order(file: StagedFile) -> tuple[list[int], str]:
    return sorted(count.split for count in file.counts), file.path


def write_verdict(run: Run, verdict: Verdict) -> None:
    """Writes verdict.json of the run unless it has one: all publishers of a run must publish the same files."""
    with step("write_verdict"):
        store_for(run.output).swap(run.verdict, None, to_bytes(asdict(verdict)))


def settle(path: str, status: str) -> Verdict | None:
    """Ends the verdict at `path`, if it is `passed`, as published or superseded; gives the verdict as it is then.

    An end stays: whoever comes later knows less. None if there is no verdict (any more).
    """
    store = store_for(path)
    while (raw := store.read(path)) is not None:
        verdict = _parse(raw)
        if verdict.status != PASSED:
            return verdict
        settled = replace(verdict, status=status)
        if store.swap(path, raw, to_bytes(asdict(settled))):
            return settled
    return None


def read_verdict(path: str) -> Verdict | None:
    """The verdict at `path`, or None if there is none yet."""
    raw = store_for(path).read(path)
    return None if raw is None else _parse(raw)


def _parse(raw: bytes) -> Verdict:
    found: dict[str, Any] = json.loads(raw)
    parts = {name: tuple(Part(**part) for part in found[name]) for name in ("files", "dead_letters")}
    return Verdict(**{**found, **parts, "problems": tuple(found["problems"])})
