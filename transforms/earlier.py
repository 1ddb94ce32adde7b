"""The published date that scores can be taken from: same bundle, same precision, same top_k."""

import datetime as dt
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from transforms.runs import MANIFEST, read_manifest
from transforms.schemas import plain, scores_schema
from transforms.stores import join, store_for

_FOLDER = re.compile(r"dt=(\d{4}-\d{2}-\d{2})")


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
    dates = sorted(_published(output), reverse=True)
    # In batches: the first one nearly always fits.
    for start in range(0, len(dates), 8):
        paths = [path for day, path in dates[start : start + 8] if day <= date.isoformat()]
        with ThreadPoolExecutor(8) as pool:
            manifests = list(pool.map(_readable, paths))
        for manifest in manifests:
            if manifest is not None and _fits(manifest, fingerprint, precision, top_k):
                return Earlier(
                    date=manifest["logical_date"],
                    run_id=manifest["run_id"],
                    precision=precision,
                    task=task,
                    parts=tuple(join(output, part["path"]) for part in manifest["files"]),
                )
    return None


def _published(output: str) -> list[tuple[str, str]]:
    exactly = re.sub(r"([*?[])", r"[\1]", output)
    found = [info.path for info in store_for(output).match(join(exactly, "dt=*", MANIFEST))]
    named = [(_FOLDER.fullmatch(path.rsplit("/", 2)[1]), path) for path in found]
    return [(match[1], path) for match, path in named if match]


def _readable(path: str) -> Mapping[str, Any] | None:
    try:
        return read_manifest(path)[0]
    except ValueError:
        return None


def _fits(manifest: Mapping[str, Any], fingerprint: str, precision: str, top_k: int | None) -> bool:
    return (
        manifest["bundle"].rsplit("@", 1)[-1] == fingerprint
        and manifest.get("precision") == precision
        and manifest["settings"].get("top_k") == top_k
    )
