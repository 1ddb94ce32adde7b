"""A job of a test, and what it left behind."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.jobs.config import JobConfig
from pipeline.jobs.dates import logical_date
from pipeline.preparing import Prepared, prepare
from transforms.runs.verdict_record import Verdict

DATE = "2026-11-21"

NOW = dt.datetime(2026, 11, 22, 2, 0, tzinfo=dt.UTC)

WORDS = [
    "the",
    "a",
    "to",
    "of",
    "in",
    "for",
    "add",
    "play",
    "book",
    "rate",
    "weather",
    "song",
    "restaurant",
    "album",
    "playlist",
    "movie",
    "what",
    "is",
    "me",
    "my",
    "on",
    "at",
]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job left behind."""

    verdict: Verdict
    output: Path
    date: str = DATE

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.output / f"dt={self.date}" / "_manifest.json").read_bytes())

    def rows(self) -> list[dict[str, Any]]:
        """The published rows, as a reader of the manifest sees them."""
        return self._read("files")

    def dead(self) -> list[dict[str, Any]]:
        """The published dead letters."""
        return self._read("dead_letters")

    def codes(self) -> dict[str | None, str]:
        """id -> code of the dead letters."""
        return {row["id"]: row["code"] for row in self.dead()}

    def _read(self, key: str) -> list[dict[str, Any]]:
        return [
            row for part in self.manifest[key] for row in pq.ParquetFile(self.output / part["path"]).read().to_pylist()
        ]


Score = Callable[..., Outcome]


def write_parquet(path: Path, rows: dict[str, Any] | pa.Table, **options: Any) -> Path:
    """Writes columns as a Parquet file."""
    table = rows if isinstance(rows, pa.Table) else pa.table(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def many_texts(count: int, seed: int = 0) -> list[str]:
    """Distinct texts of 1 to 12 words."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 12))) + f" {i}" for i in range(count)]


def prepared(job: JobConfig, now: dt.datetime = NOW, **more: Any) -> Prepared:
    """A job that is ready for the date it names."""
    return prepare(job, logical_date(job.date, job.timezone, now), now, **more)
