"""The content of verdict.json; every value and every path is checked when it is read."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from transforms.outputs import records
from transforms.outputs.drift.record import Drift
from transforms.outputs.names import RUN_ID, is_part_of, is_staged_of
from transforms.outputs.summary.record import Summary
from transforms.runs.run import Run
from transforms.stores.paths import below

PASSED, PUBLISHED, SUPERSEDED = "passed", "published", "superseded"
UNBALANCED, OVER_BUDGET = "unbalanced", "over_budget"
ABANDONED, HELD = "abandoned", "held"
STATUSES = (PASSED, PUBLISHED, SUPERSEDED, UNBALANCED, OVER_BUDGET, ABANDONED, HELD)
ALREADY_PUBLISHED = "already_published"
"""What a command reports that leaves published dates alone (--if-published skip); no run has this verdict."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file to publish: where it is staged, its final path, rows, bytes and `crc32c:…`.

    `digests`: the file with the digests of its texts, which is published beside it.
    """

    staged: str
    path: str
    rows: records.Count
    bytes: records.Count
    checksum: str
    digests: "Part | None" = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a run that was to publish `folder`.

    `dead_codes`: code -> [how many, position of an example]; `work`: a Work, of this attempt alone;
    `taken_over`: how many splits earlier attempts had finished; `precision`: what the rows were computed in;
    `claimed`: when a publisher was last about to swap the manifest; `cleaned`: when the files of the run were deleted;
    `notes`: how often something ambiguous was read in one of its meanings, by what it is (MARKED);
    `kept_misfits`: kept column -> how many published rows have a null there because their value did not fit;
    `summary`: of the published rows (outputs/summary), empty in verdicts of earlier versions;
    `drift`: how far that summary is from earlier ones (outputs/drift), empty in verdicts of earlier versions;
    `gate`: what could hold the run when it was judged last, by the names of the settings;
    `accepted`: when somebody let a run pass that the gate had held;
    `at_least`: reading was ended early, so there may be more rows and dead letters than were counted.
    """

    status: str
    run_id: str
    folder: str = ""
    problems: tuple[str, ...] = ()
    counts: Mapping[str, records.Count] = field(default_factory=dict)
    dead_codes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    work: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Part, ...] = ()
    dead_letters: tuple[Part, ...] = ()
    taken_over: int = 0
    precision: str = ""
    claimed: str = ""
    cleaned: str = ""
    notes: Mapping[str, records.Count] = field(default_factory=dict)
    kept_misfits: Mapping[str, records.Count] = field(default_factory=dict)
    at_least: bool = False
    summary: Summary = field(default_factory=dict)
    drift: Drift = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    accepted: str = ""

    @property
    def told(self) -> dict[str, Any]:
        """As records have it."""
        parts = {name: [asdict(part) for part in getattr(self, name)] for name in ("files", "dead_letters")}
        # Not asdict of it all: that copies every number of the summary, which takes longer than to write it.
        return {one.name: getattr(self, one.name) for one in fields(self)} | parts

    @property
    def all_files(self) -> tuple[Part, ...]:
        """Everything that is copied to be published: parts, their digests, dead letters."""
        parts = (*self.files, *self.dead_letters)
        return (*parts, *(part.digests for part in parts if part.digests))

    @property
    def padding_factor(self) -> float:
        """Padded tokens computed for each real one."""
        return round(self.work["padded"] / self.work["tokens"], 4) if self.work.get("tokens") else 1.0

    def is_claimed_since(self, time: dt.datetime) -> bool:
        """Whether a publisher may still be about to swap the manifest, if none pauses for longer than since `time`."""
        return self.status == PASSED and self.claimed != "" and dt.datetime.fromisoformat(self.claimed) >= time


def parse(raw: bytes, path: str) -> Verdict:
    """The verdict in the file at `path`; raises RecordError, a ValueError, for anything else."""
    verdict: Verdict = records.checked(Verdict, raw, path)
    if not RUN_ID.fullmatch(verdict.run_id) or verdict.run_id != path.rsplit("/", 2)[-2]:
        records.broken(path, "run_id is not that of its folder")
    if verdict.status not in STATUSES:
        records.broken(path, "status is none that this version knows")
    for name, time in (("claimed", verdict.claimed), ("cleaned", verdict.cleaned), ("accepted", verdict.accepted)):
        if time and not records.is_time(time):
            records.broken(path, f"{name} is no time")
    if not all([type(value) for value in told] == [int, str] for told in verdict.dead_codes.values()):
        records.broken(path, "dead_codes are not counts and examples")
    if not all(type(number) is str or (type(number) is int and number >= 0) for number in verdict.work.values()):
        records.broken(path, "work is not made of counts")
    if verdict.counts and not {"read", "scored", "dead"} <= verdict.counts.keys():
        records.broken(path, "counts are not complete")
    return verdict


def check_parts(run: Run, verdict: Verdict) -> None:
    """Raises RecordError if a path in the verdict is not one that this run gives: nothing is copied from or to it."""
    for part in verdict.all_files:
        staged, path = below(part.staged, run.output), below(part.path, run.output)
        if not is_staged_of(staged or "", run.run_id) or not is_part_of(path or "", run.run_id):
            records.broken(run.verdict, "a path in it is none of this run's in this output")
        if f"dt={run.date.isoformat()}" != (path or "").split("/")[-2]:
            records.broken(run.verdict, "a path in it is of another date")
