"""An output folder that whole commands score into, and whether two of its dates hold the same rows."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.paths import ROOT

TEXTS = ROOT / "examples" / "snips" / "train.parquet"
ROW_GROUP_ROWS = 4_096
CLOSE = 1e-5


def write_input(file: Path, rows: int) -> None:
    """So many rows, all different: the texts of the demo with a running number."""
    texts = pq.read_table(TEXTS, columns=["text"]).column("text").to_pylist()
    found = [f"{texts[i % len(texts)]} {i}" for i in range(rows)]
    pq.write_table(pa.table({"id": [f"r{i}" for i in range(rows)], "text": found}), file, row_group_size=ROW_GROUP_ROWS)


class Output:
    """One output folder that is scored into, night after night."""

    def __init__(self, folder: Path, bundle: Path, input: Path) -> None:
        self._folder = folder
        self._command = [sys.executable, "-m", "pipeline", "score", "--bundle", str(bundle), "--input", str(input)]
        self._command += ["--output", str(folder), "--log-format", "json"]

    def score(self, date: str, *flags: str) -> float:
        """Seconds of the command; exits if it fails."""
        start = time.perf_counter()
        process, log = self._start(date, *flags)
        code = process.wait()
        seconds = time.perf_counter() - start
        if code != 0:
            sys.exit(f"scoring {date} ended with exit code {code}:\n{log.read_text(encoding='utf-8')[-4_000:]}")
        return seconds

    def kill(self, date: str, rows: int) -> tuple[float, int]:
        """Starts the command and kills its process group once `rows` rows are staged; seconds, and rows staged."""
        start = time.perf_counter()
        process, log = self._start(date)
        records: dict[Path, int] = {}
        while process.poll() is None:
            for path in self._folder.glob("_runs/*/staged/*.json"):
                if path not in records and (described := _described(path)) is not None:
                    records[path] = described
            if sum(records.values()) >= rows:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return time.perf_counter() - start, sum(records.values())
            time.sleep(0.01)
        said = log.read_text(encoding="utf-8")[-4_000:]
        sys.exit(f"scoring {date} ended before {rows:,} rows were staged, with exit code {process.returncode}:\n{said}")

    def _start(self, date: str, *flags: str) -> tuple["subprocess.Popen[bytes]", Path]:
        log = self._folder.with_name(f"log-{date}.txt")
        with log.open("wb") as opened:
            process = subprocess.Popen(
                [*self._command, "--date", date, *flags],
                stdout=opened,
                stderr=opened,
                env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
                start_new_session=True,
            )
        return process, log

    def manifest(self, date: str) -> dict[str, Any]:
        """The truth about a date."""
        content: dict[str, Any] = json.loads((self._folder / f"dt={date}" / "_manifest.json").read_bytes())
        return content

    def rows(self, date: str) -> pa.Table:
        """The published rows of a date, by id."""
        parts = [self._folder / part["path"] for part in self.manifest(date)["files"]]
        columns = ["id", "label", "text_hash", "probability"]
        tables = [pq.ParquetFile(part).read(columns=columns) for part in parts]
        return pa.concat_tables(tables).select(columns).sort_by("id")


def _described(record: Path) -> int | None:
    """Rows of the staged file that a record describes; None for another kind of record, or half of one."""
    try:
        content = json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return int(content["rows"]) if isinstance(content, dict) and "rows" in content else None


def differences(first: pa.Table, other: pa.Table) -> list[str]:
    """What is not the same in two dates: ids, labels and hashes exactly, probabilities to rounding."""
    if first.num_rows != other.num_rows:
        return [f"{other.num_rows:,} rows, not {first.num_rows:,}"]
    unlike = []
    for name in ("id", "label", "text_hash"):
        equal = pc.equal(first.column(name).cast(_plain(first, name)), other.column(name).cast(_plain(first, name)))
        count = first.num_rows - (pc.sum(equal).as_py() or 0)
        unlike += [f"{count:,} rows with another {name}"] if count else []
    off = float(np.abs(first.column("probability").to_numpy() - other.column("probability").to_numpy()).max(initial=0))
    return unlike if off <= CLOSE else [*unlike, f"probabilities off by {off:.2g}"]


def _plain(table: pa.Table, name: str) -> pa.DataType:
    kind = table.schema.field(name).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind
