"""What a run has staged: closed files, and the descriptions of them from which the run can be resumed."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from transforms.outputs.digest_files import DigestFile
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
    `summary` of a file of scores: that of its rows (outputs/summary); earlier versions made none.
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
    summary: dict[str, Any] | None = None


def record(path: str, content: object) -> None:
    """Writes down what a run has finished, for an attempt that resumes it; see transforms/runs/resume.py."""
    store_for(path).write(path, json.dumps(content).encode())


def record_read(staged: str, count: Count) -> None:
    """Records that a split was read to its end."""
    with step("record_read"):
        record(join(staged, f"read-{count.split:06d}-{uuid.uuid4().hex}.json"), count)
