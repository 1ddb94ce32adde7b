"""Takes over what an attempt that died has finished: splits whose staged rows and dead letters agree with Read's count.

A dead process cannot be told from a slow one. So the new attempt continues under the old run id: the first of the two
writes the verdict, both publish the same files, and every row of the date has one `run_id` and one `scored_at`.
"""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transforms.batches.dead_letters import OF_THE_MODEL
from transforms.errors import RecordError, file_gone
from transforms.outputs.deletion import listed
from transforms.outputs.digest_files import DigestFile
from transforms.outputs.names import is_staged_of
from transforms.outputs.records import broken, parse, read
from transforms.outputs.summary.record import checked, compressed, merge
from transforms.runs.error_budget import ErrorBudget
from transforms.runs.fail_points import step
from transforms.runs.history import list_runs
from transforms.runs.plan import can_go_on, read_about
from transforms.runs.row_counts import Count, total
from transforms.runs.run import Run, run_file, to_bytes
from transforms.runs.staged import StagedFile, summary_of
from transforms.runs.verdict_record import HELD, OVER_BUDGET, PASSED, Verdict, check_parts
from transforms.runs.verdicts import read_verdict
from transforms.stores.choose import each, store_for
from transforms.stores.paths import below
from transforms.stores.store import Store

UNREADABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)
WITH_SCORES = ("scores", "unchanged")
KINDS = (*WITH_SCORES, "dead")


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """Splits that earlier attempts of a run finished: what Read counted and the files with their rows, by kind.

    `summary` is that of the files together, which have none of their own.
    """

    read: tuple[Count, ...] = ()
    files: Mapping[str, tuple[StagedFile, ...]] = field(default_factory=lambda: dict.fromkeys(KINDS, ()))
    summary: Mapping[str, Any] = field(default_factory=lambda: merge(()))

    @property
    def splits(self) -> frozenset[int]:
        return frozenset(count.split for count in self.read)


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """An earlier attempt at the same work: its run, what it finished, and whether it has its verdict (`passed`).

    With a verdict only publishing is left, for which a held run is judged anew, or with `over_budget` nothing: the same
    input exceeds the same budget again.
    """

    run: Run
    taken: TakenOver
    passed: bool
    over_budget: bool = False


def find_resumable(run: Run, digest: str) -> Resumed | None:
    """The unpublished attempt with the same date, plan, bundle and settings (`digest`) that got furthest, if any.

    It must have been planned from the same version of the date as `run`, or its swap could only fail.
    """
    found = [_resumable(earlier) for earlier in _unpublished(run, digest)]
    attempts = [resumed for resumed in found if resumed and (resumed.passed or resumed.taken.splits)]
    return max(attempts, key=_progress, default=None)


def _progress(resumed: Resumed) -> tuple[bool, bool, int]:
    return resumed.passed and not resumed.over_budget, resumed.passed, len(resumed.taken.splits)


def _unpublished(run: Run, digest: str) -> Iterable[Run]:
    store = store_for(run.output)
    for run_id, paths in list_runs(run.output).items():
        plan, verdict, staged = (
            run_file(run.output, run_id, name) for name in ("plan.parquet", "verdict.json", "staged/")
        )
        # A published run has no staged files left; of other runs the plan says which job they were of.
        if plan in paths and (verdict not in paths or any(path.startswith(staged) for path in paths)):
            about = _about(store, plan)
            earlier = _planned(about) if about.get("digest") == digest else None
            same = earlier and (earlier.output, earlier.date, earlier.sequence) == (run.output, run.date, run.sequence)
            if earlier and same and earlier.run_id == run_id:
                yield earlier


def _planned(about: Mapping[str, Any]) -> Run | None:
    try:
        return Run.from_json(about["run"])
    except UNREADABLE:
        return None


def _about(store: Store, path: str) -> dict[str, Any]:
    try:
        about = read_about(store, path)
        return about if isinstance(about, dict) else {}
    except (*UNREADABLE, OSError):
        return {}  # Cleaned away meanwhile, or incomplete: it cannot be resumed.


def _resumable(run: Run) -> Resumed | None:
    store = store_for(run.output)
    try:
        verdict = read_verdict(run.verdict)
        if verdict is not None:
            check_parts(run, verdict)
    except UNREADABLE:
        return None
    if verdict is None:
        going = can_go_on(run.plan, dt.datetime.now(dt.UTC))
        return Resumed(run=run, taken=finished_splits(run), passed=False) if going else None
    if verdict.status == OVER_BUDGET and _input_decides(verdict, run.budget):
        return Resumed(run=run, taken=TakenOver(), passed=True, over_budget=True)
    if verdict.status not in (PASSED, HELD):
        return None
    parts = verdict.all_files
    whole = each(lambda part: part.checksum in (store.checksum(part.staged), store.checksum(part.path)), parts)
    return Resumed(run=run, taken=TakenOver(), passed=True) if all(whole) else None


def _input_decides(verdict: Verdict, budget: ErrorBudget) -> bool:
    """Whether the budget is exceeded without the rows that failed in the model, where another attempt may help."""
    dead = sum(count for code, (count, _) in verdict.dead_codes.items() if code not in OF_THE_MODEL)
    return verdict.at_least or budget.exceeded(dead, verdict.counts.get("read", 0)) is not None


def finished_splits(run: Run) -> TakenOver:
    """The splits of which every row that was read is in a complete staged file.

    A split that was finished twice, by one attempt or by two, is counted twice, does not agree, and is not taken over.
    """
    store = store_for(run.output)
    paths = listed(run.output, f"_runs/{run.run_id}/staged")
    there = set(paths)
    records = [path for path in paths if path.endswith(".json")]
    read: dict[int, set[Count]] = defaultdict(set)
    files: dict[int, list[tuple[str, StagedFile]]] = defaultdict(list)
    for kind, parsed in each(_read_record, records):
        if isinstance(parsed, Count):
            read[parsed.split].add(parsed)
        elif parsed is not None and {file.path for file in _pieces(parsed)} <= there:
            files[parsed.counts[0].split].append((kind, parsed))
    balanced = {split: files[split] for split, counts in read.items() if _balance(counts, files[split])}
    held = [file for some in balanced.values() for _, file in some]
    sums = each(lambda file: all(store.checksum(f.path) == f.checksum for f in _pieces(file)), held)
    whole = {file.path for file, same in zip(held, sums, strict=True) if same}
    taken = {split: some for split, some in balanced.items() if all(file.path in whole for _, file in some)}
    kept = [file for some in taken.values() for kind, file in some if kind in WITH_SCORES]
    return TakenOver(
        read=tuple(count for split in sorted(taken) for count in read[split]),
        files={kind: tuple(file for split in sorted(taken) for file in _bare(taken[split], kind)) for kind in KINDS},
        summary=summary_of(kept),
    )


def _bare(files: Iterable[tuple[str, StagedFile]], kind: str) -> Iterator[StagedFile]:
    """Those of a kind, without their summaries: of very many files these would not fit into one record."""
    return (replace(file, summary=None) for k, file in files if k == kind)


def _pieces(file: StagedFile) -> tuple[StagedFile | DigestFile, ...]:
    """A staged file, and the file with the digests of its texts if it has one: they are complete only together."""
    return (file,) if file.digests is None else (file, file.digests)


def _read_record(path: str) -> tuple[str, Count | StagedFile | None]:
    """The kind of a record and what it says; None if it is gone, damaged, or of another version of the program."""
    kind = path.rsplit("/", 1)[1].split("-")[0]
    try:
        content = json.loads(read(path) or b"null")
        return kind, parse_count(content) if kind == "read" else parse_staged(content)
    except UNREADABLE:
        return kind, None


def _balance(read: set[Count], files: Iterable[tuple[str, StagedFile]]) -> bool:
    if len(read) != 1:
        return False
    (before,) = read
    after = total(count for _, file in files for count in file.counts)
    return before.balances(after.get(before.split, Count(before.split, 0, 0)))


def write_taken(run: Run, taken: TakenOver, name: str) -> str:
    """Writes what an attempt takes over into the folder of the run; gives the path for `read_taken`."""
    path = run.file(f"taken-{name}.json")
    files = {kind: [file.told for file in taken.files[kind]] for kind in KINDS}
    content = {"read": taken.read, **files, "summary": taken.summary}
    with step("write_taken"):
        store_for(path).write(path, to_bytes(content))
    return path


def read_taken(path: str | None) -> TakenOver:
    """What `write_taken` wrote; nothing for None."""
    if path is None:
        return TakenOver()
    data = read(path)
    if data is None:
        raise file_gone(path, "what the run took over")
    content = parse(data, path)
    try:
        counts = tuple(parse_count(count) for count in content["read"])
        files = {kind: tuple(parse_staged(file) for file in content[kind]) for kind in KINDS}
        summary = checked(content["summary"])
        if summary["rows"] > sum(file.rows for kind in WITH_SCORES for file in files[kind]):
            raise ValueError("no summary of its rows")
    except UNREADABLE as error:
        raise RecordError(f"{path}: is damaged; run the job again") from error
    output, run_id = path.rsplit("/_runs/", 1)[0], path.rsplit("/", 2)[-2]
    for file in (file for some in files.values() for file in some):
        if not is_staged_of(below(file.path, output) or "", run_id):
            broken(path, "a path in it is of no file that this run has staged")
    return TakenOver(read=counts, files=files, summary=summary)


def parse_count(content: Sequence[Any]) -> Count:
    """A Count from its JSON; raises ValueError."""
    count = Count(*content)
    if not all(type(number) is int and number >= 0 for number in count):
        raise ValueError("no counts")
    return count


def parse_staged(content: Mapping[str, Any]) -> StagedFile:
    """A StagedFile from its JSON."""
    codes = {code: (count, example) for code, (count, example) in content["codes"].items()}
    digests = None if content.get("digests") is None else DigestFile(**content["digests"])
    summary = content.get("summary")
    known = {"counts": (), "codes": codes, "digests": digests, "summary": summary and compressed(checked(summary))}
    file = StagedFile(**{**content, **known})
    pieces, counted = _pieces(file), [count for count, _ in codes.values()]
    numbers = [file.rows, *(piece.bytes for piece in pieces), *counted, *file.misfits.values()]
    paths = all(type(piece.path) is str for piece in pieces)
    if not paths or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("no description of a staged file")
    if summary is not None and summary["rows"] != file.rows:
        raise ValueError("no summary of its rows")
    return replace(file, counts=tuple(parse_count(count) for count in content["counts"]))
