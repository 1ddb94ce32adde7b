"""The published date that scores can be taken from: same bundle, same precision, same top_k."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from transforms.history import read_manifests
from transforms.schemas import plain, scores_schema
from transforms.stores import join


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A published date: what its rows were computed in, and the files that hold them. `task` as the bundle has it."""

    date: str
    run_id: str
    precision: str
    task: str
    parts: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The columns of a row that stay as they are when its text has not changed."""
        own = {"label", "probability", "probabilities", "value", "token_count", "truncated", "text_hash", "scored_at"}
        return [name for name in scores_schema(pa.schema([]), self.task).names if name in own]

    @property
    def type(self) -> pa.StructType:
        """Type of the column `earlier` of Rows."""
        fields = [scores_schema(pa.schema([]), self.task).field(name) for name in self.columns]
        return pa.struct([field.with_type(plain(field.type)) for field in fields])


def find_earlier(
    output: str, date: dt.date, *, fingerprint: str, task: str, precision: str, top_k: int | None
) -> Earlier | None:
    """The newest date up to `date` below `output` whose rows this job would score the same way, if there is one."""
    published = read_manifests(output).published
    for day in sorted((day for day in published if day <= date.isoformat()), reverse=True):
        manifest = published[day]
        if _fits(manifest, fingerprint, precision, top_k):
            return Earlier(
                date=day,
                run_id=manifest["run_id"],
                precision=precision,
                task=task,
                parts=tuple(join(output, part["path"]) for part in manifest["files"]),
            )
    return None


def _fits(manifest: Mapping[str, Any], fingerprint: str, precision: str, top_k: int | None) -> bool:
    return (
        manifest["bundle"].rsplit("@", 1)[-1] == fingerprint
        and manifest.get("precision") == precision
        and manifest["settings"].get("top_k") == top_k
    )
