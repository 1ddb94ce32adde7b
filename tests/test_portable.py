"""The job on a job server with worker processes of their own: the same rows, and an end when a worker dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import ROOT, run_command
from conftest import write_parquet
from portable_engine import Engine, engine, free_port

from pipeline.config import ConfigError
from pipeline.runners import beam_options

EXAMPLES = ROOT / "examples" / "snips"
DATE = "2026-11-21"
SPLITS = 8


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    """The demo, its rows in eight files."""
    rows = pq.read_table(EXAMPLES / "validation.parquet")
    size = -(-rows.num_rows // SPLITS)
    for number in range(SPLITS):
        write_parquet(tmp_path / "in" / f"{number}.parquet", rows.slice(number * size, size))
    files = [f"--bundle={EXAMPLES / 'bundle'}", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    return [sys.executable, "-m", "pipeline", "score", *files, "--rename=label=gold_label", f"--date={DATE}"]


def portable(job: list[str], *options: str, workers: int = 2) -> list[str]:
    return [*job, "--runner=portable", f"--workers={workers}", "--", *options]


class Scoring(threading.Thread):
    """Sees which worker processes have staged files open; kills the first one if it is told to."""

    def __init__(self, engine: Engine, output: Path, kill: bool = False) -> None:
        super().__init__(daemon=True)
        self._engine, self._staged, self._kill = engine, f"{output}/_runs/", kill
        self.pids: set[int] = set()
        self.killed_at = 0.0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.005):
            for pid in self._engine.workers:
                if self._stages(pid):
                    self.pids.add(pid)
                    if self._kill:
                        os.kill(pid, signal.SIGKILL)
                        self.killed_at = time.monotonic()
                        return

    def _stages(self, pid: int) -> bool:
        with suppress(OSError):
            return any(self._is_scores(file) for file in Path(f"/proc/{pid}/fd").iterdir())
        return False

    def _is_scores(self, file: Path) -> bool:
        with suppress(OSError):
            target = os.readlink(file)
            return target.startswith(self._staged) and "/staged/.scores-" in target
        return False

    def __enter__(self) -> "Scoring":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def rows(output: Path) -> list[dict[str, Any]]:
    """What is published, without what tells runs apart."""
    table = pq.read_table(output / f"dt={DATE}", partitioning=None).drop_columns(["run_id", "scored_at"])
    return sorted(table.to_pylist(), key=lambda row: str(row["id"]))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_worker_processes_score_what_one_does_and_when_one_is_killed_the_command_ends(
    job: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run_command(job)
    expected, before = rows(output), files(output / f"dt={DATE}")
    assert len(expected) == 700
    with engine(tmp_path / "engine.log") as here:
        with Scoring(here, output, kill=True) as killer:
            process = subprocess.Popen(
                portable(job, *here.options),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                process_group=0,
            )
            try:
                _, error = process.communicate(timeout=150)
            finally:
                process.kill()
        took = time.monotonic() - killer.killed_at
        (killed,) = killer.pids
        assert (process.returncode, took < 60) == (1, True), (took, error)
        assert f"-{killed} (host-pid)" in error
        assert files(output / f"dt={DATE}") == before

        (died,) = [folder for folder in (output / "_runs").iterdir() if not (folder / "verdict.json").exists()]
        assert not list(died.glob("beats-*"))
        # Beats of a command that was killed itself are nobody's.
        (died / "beats-20261121T000000Z-aaaaaa").mkdir()
        (died / "beats-20261121T000000Z-aaaaaa" / "host-1").write_bytes(b"alive\n")
        with Scoring(here, output) as scoring:
            run_command(portable(job, *here.options), seconds=150)
        assert len(scoring.pids) == 2
        assert rows(output) == expected
        assert files(output / f"dt={DATE}") != before
