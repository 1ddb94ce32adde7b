"""The published date that scores can be taken from: same bundle, precision, engine, settings; digests of its texts."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from model.bundle import TENSORFLOW
from transforms.batches.schemas import OF_WINDOWS, plain
from transforms.batches.score_columns import EMBEDDING, scores_schema
from transforms.batches.text_digests import DIGEST, DIGEST_TYPE, WIDTH
from transforms.outputs.digest_files import published_beside
from transforms.runs.history import read_manifests
from transforms.stores.choose import each, store_for
from transforms.stores.paths import join


class EarlierPart(NamedTuple):
    """A file of scores, and the file with the digests of their texts."""

    path: str
    digests: str


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A published date: what its rows were computed in, and the files that hold them.

    `task` as the bundle has it, `embedding` the type of that column, None if there is none. `windows`: its rows have
    the columns of bundles that make windows.
    """

    date: str
    run_id: str
    precision: str
    task: str
    parts: tuple[EarlierPart, ...]
    embedding: pa.DataType | None = None
    windows: bool = False

    @property
    def columns(self) -> list[str]:
        """The columns of a row that stay as they are when its text has not changed."""
        own = {"label", "probability", "labels", "probabilities", "value", EMBEDDING}
        own |= {"token_count", "truncated", "text_hash", "scored_at", *(field.name for field in OF_WINDOWS)}
        return [name for name in self._scores.names if name in own]

    @property
    def type(self) -> pa.StructType:
        """Type of the column `earlier` of Rows: those columns, and the digest of the text they were computed from."""
        fields = [self._scores.field(name) for name in self.columns]
        digest = pa.field(DIGEST, DIGEST_TYPE, nullable=False)
        return pa.struct([*(field.with_type(plain(field.type)) for field in fields), digest])

    @property
    def _scores(self) -> pa.Schema:
        return scores_schema(pa.schema([]), self.task, embedding=self.embedding, windows=self.windows)


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """The newest date whose scores could be taken if it had digests; `why`: what it has, and in how many files."""

    date: str
    run_id: str
    why: str


class Found(NamedTuple):
    """`earlier`: what to compare with, if there is something; `passed_over`: what cannot be, or not all of it."""

    earlier: Earlier | None = None
    passed_over: PassedOver | None = None


def find_earlier(
    output: str,
    date: dt.date,
    *,
    fingerprint: str,
    task: str,
    precision: str,
    top_k: int | None,
    engine: str = TENSORFLOW,
    threshold: float | None = None,
    embeddings: str | None = None,
    embedding: pa.DataType | None = None,
    windows: bool = False,
) -> Found:
    """The newest date up to `date` below `output` whose rows this job would score the same way, if there is one.

    In float32 all engines give the same, within rounding. Files without digests are left out, and so are dates that
    have no others: `text_hash` can be aimed at. `embeddings` is the setting of the job, `embedding` the column's type;
    a job without them takes the scores of a date that has them.
    """
    published = read_manifests(output).published
    passed_over = None
    for day in sorted((day for day in published if day <= date.isoformat()), reverse=True):
        manifest = published[day]
        if not _fits(manifest, fingerprint, precision, top_k, engine):
            continue
        if manifest["settings"].get("threshold") != threshold:
            continue
        if embeddings is not None and manifest["settings"].get("embeddings") != embeddings:
            continue
        run_id, files = manifest["run_id"], manifest["files"]
        whole = each(lambda part: _beside(output, part), files)
        parts = [EarlierPart(join(output, part["path"]), at) for part, at in zip(files, whole, strict=True) if at]
        if len(parts) < len(files):
            passed_over = passed_over or PassedOver(date=day, run_id=run_id, why=_why(files, len(parts)))
        if parts or not files:
            given = {"date": day, "run_id": run_id, "precision": precision, "task": task}
            return Found(Earlier(**given, parts=tuple(parts), embedding=embedding, windows=windows), passed_over)
    return Found(None, passed_over)


def _beside(output: str, part: Mapping[str, Any]) -> str | None:
    """The whole file of digests beside a part of a manifest, if there is one."""
    path, said = published_beside(part["path"]), part.get("digests")
    if not isinstance(said, Mapping) or said.get("path") != path:
        return None
    path = join(output, path)
    if said.get("bytes") != WIDTH * (part["rows"] + 1):
        return None
    return path if store_for(output).checksum(path) == said.get("checksum") else None


def _why(files: list[Mapping[str, Any]], whole: int) -> str:
    missing = len(files) - whole
    named = sum(1 for part in files if part.get("digests"))
    what = "no digests of its texts" if named == 0 else "digests of its texts that are gone or damaged"
    return f"{what} ({missing:,} of {len(files):,} files)"


def _fits(manifest: Mapping[str, Any], fingerprint: str, precision: str, top_k: int | None, engine: str) -> bool:
    return (
        manifest["bundle"].rsplit("@", 1)[-1] == fingerprint
        and manifest.get("precision") == precision
        and (precision == "float32" or manifest.get("engine", TENSORFLOW) == engine)
        and manifest["settings"].get("top_k") == top_k
    )
