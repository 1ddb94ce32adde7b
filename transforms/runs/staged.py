"""What a run has staged: closed files, and the descriptions of them from which the run can be resumed."""

import itertools
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from transforms.outputs.digest_files import DigestFile
from transforms.outputs.summary.record import Compressed, decompressed, merge
from transforms.runs.fail_points import step
from transforms.runs.row_counts import Count
from transforms.stores.choose import store_for
from transforms.stores.paths import join


@dataclass(frozen=True, kw_only=True)
class StagedFile:
    """One closed file: where, how large, `crc32c:…`, and the counts of its rows.

    `codes` of a file of dead letters: code -> how many, and the position (`<file>#<row>`) of one of them. `precision`
    of a file of scores: what its rows were computed in. `digests`: the file with those of its texts, row for row.
    `misfits` of a file of scores: kept column -> how many of its rows have a null there, because a value did not fit.
    `summary` of a file of scores: that of its rows (outputs/summary), compressed. Earlier versions made none, and those
    of files that were taken over are added up beside them (TakenOver).
    """

    path: str
    rows: int
    bytes: int
    checksum: str
    counts: tuple[Count, ...]
    codes: dict[str, tuple[int, str]] = field(default_factory=dict)
    precision: str = ""
    digests: DigestFile | None = None
    misfits: dict[str, int] = field(default_factory=dict)
    summary: Compressed | None = None

    @property
    def told(self) -> dict[str, Any]:
        """As records have it."""
        return {**asdict(self), "summary": None if self.summary is None else decompressed(self.summary)}


def summary_of(files: Sequence[StagedFile], taken: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The summary of all rows of the files, whatever their order; `taken`: of those among them that were taken over.

    Rows of files that an earlier version has staged are not summarised.
    """
    made = (decompressed(file.summary) for file in files if file.summary is not None)
    found = merge(made if taken is None else itertools.chain([taken], made))
    # Fewer rows written than counted is a loss, which the row counts tell of.
    return {**found, "not_summarised": max(0, sum(file.rows for file in files) - found["rows"])}


def record(path: str, content: object) -> None:
    """Writes down what a run has finished, for an attempt that resumes it; see transforms/runs/resume.py."""
    store_for(path).write(path, json.dumps(content).encode())


def record_read(staged: str, count: Count) -> None:
    """Records that a split was read to its end."""
    with step("record_read"):
        record(join(staged, f"read-{count.split:06d}-{uuid.uuid4().hex}.json"), count)
