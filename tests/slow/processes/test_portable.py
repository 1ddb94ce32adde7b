"""The job on a job server with worker processes of their own: the same rows, and an end when a worker dies."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from support.commands import ROOT, run_forked
from support.jobs import write_parquet
from support.runs.portable_engine import Engine, engine, free_port
from support.runs.same_rows import assert_same_rows

from pipeline.errors import ConfigError
from pipeline.runners.presets import beam_options

PRISM = ROOT / ".cache" / f"prism-{beam.__version__}" / "prism"
EXAMPLES = ROOT / "examples" / "snips"
DATE = "2026-11-21"
SPLITS = 8
IMPATIENT = (
    "import pipeline.runners.watchdog as w; w.SILENT_SECONDS = 12; from pipeline.commands.app import main; main()"
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("engine") / "log") as running:
        yield running


@pytest.fixture
def score(tmp_path: Path) -> list[str]:
    """Arguments that score the demo, its rows in eight files."""
    rows = pq.read_table(EXAMPLES / "validation.parquet")
    size = -(-rows.num_rows // SPLITS)
    for number in range(SPLITS):
        write_parquet(tmp_path / "in" / f"{number}.parquet", rows.slice(number * size, size))
    paths = [f"--bundle={EXAMPLES / 'bundle'}", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    return ["score", *paths, "--rename=label=gold_label", f"--date={DATE}"]


def run(arguments: list[str], *options: str, impatient: bool = False, code: int = 0, workers: int = 2) -> str:
    """What the command says; `impatient`: it soon gives up a silent worker process."""
    on = ["--runner=portable", f"--workers={workers}", "--log-format=json", "--", *options] if options else []
    start = ["-c", IMPATIENT] if impatient else ["-m", "pipeline"]
    return run_forked([sys.executable, *start, *arguments, *on], code=code, seconds=150)


class Attack(threading.Thread):
    """Sees which worker processes have a heartbeat, and may send a signal to the first that has staged files open."""

    def __init__(self, engine: Engine, output: Path, number: int | None = None) -> None:
        super().__init__(daemon=True)
        self._engine, self._output, self._number = engine, output, number
        self.beating: set[int] = set()
        self.pids: set[int] = set()
        self.at = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.005):
            for pid in self._engine.workers:
                if self._heartbeats(pid):
                    self.beating.add(pid)
                if not self._stages(pid):
                    continue
                self.pids.add(pid)
                if self._number is not None:
                    os.kill(pid, self._number)
                    self.at = time.monotonic()
                    return

    def _heartbeats(self, pid: int) -> bool:
        with suppress(OSError):
            return any(self._output.glob(f"_runs/*/beats-*/*-{pid}.*"))
        return False

    def _stages(self, pid: int) -> bool:
        with suppress(OSError):
            return any(self._is_scores(file) for file in Path(f"/proc/{pid}/fd").iterdir())
        return False

    def _is_scores(self, file: Path) -> bool:
        with suppress(OSError):
            target = os.readlink(file)
            return target.startswith(f"{self._output}/_runs/") and "/staged/.scores-" in target
        return False

    def __enter__(self) -> "Attack":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def attacked(engine: Engine, score: list[str], output: Path, number: int, *, workers: int = 2) -> tuple[Attack, str]:
    """A run that was attacked and failed, and what it said; where machine and test are slow a run may end before."""
    for _ in range(5):
        with Attack(engine, output, number) as attack:
            try:
                said = run(score, *engine.options, impatient=number == signal.SIGSTOP, code=1, workers=workers)
            except AssertionError:
                if attack.pids:
                    raise
                continue
        return attack, said
    raise AssertionError("five runs ended before a worker process was seen to stage rows")


def rows(output: Path) -> list[dict[str, Any]]:
    """What is published, without what tells runs apart."""
    table = pq.read_table(output / f"dt={DATE}", partitioning=None).drop_columns(["run_id", "scored_at"])
    return sorted(table.to_pylist(), key=lambda row: str(row["id"]))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_worker_processes_give_the_same_rows_and_the_command_ends_when_one_is_killed_or_frozen(
    score: list[str], here: Engine, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run(score)
    expected = rows(output)
    assert len(expected) == 700
    # The job server may notice that a process died; of one that stands still it hears nothing.
    for number in (signal.SIGKILL, signal.SIGSTOP):
        before = files(output / f"dt={DATE}")
        attack, said = attacked(here, score, output, number)
        (victim,) = attack.pids
        assert time.monotonic() - attack.at < 60
        assert f"-{victim} (host-pid)" in said
        assert files(output / f"dt={DATE}") == before
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)

    for died in [folder for folder in (output / "_runs").iterdir() if not (folder / "verdict.json").exists()]:
        assert not list(died.glob("beats-*/*"))
        # Heartbeats that a killed command left belong to no process, also where its run is resumed.
        (died / "beats-20261121T000000Z-aaaaaa").mkdir()
        (died / "beats-20261121T000000Z-aaaaaa" / "host-1").write_bytes(b"alive\n")
    with Attack(here, output) as watched:
        said = run(score, *here.options)
    assert '"event": "published"' in said
    # All rows that are left may be of one process, as the other has staged its own before it was ended.
    assert len(watched.beating) == 2
    assert_same_rows(rows(output), expected)
    assert files(output / f"dt={DATE}") != before


def test_prism_publishes_the_same_rows_also_after_a_worker_was_killed(score: list[str], tmp_path: Path) -> None:
    assert PRISM.exists(), "`make prism` builds it, which takes Go"
    output = tmp_path / "out"
    run(score)
    expected, before = rows(output), files(output / f"dt={DATE}")
    with engine(tmp_path / "log", PRISM) as prism:
        attack, said = attacked(prism, score, output, signal.SIGKILL, workers=1)
        (victim,) = attack.pids
        assert time.monotonic() - attack.at < 60
        # Prism may say that a process died, or nothing.
        assert re.search(rf"-{victim} \(host-pid\) (died|was not heard of)", said)
        assert files(output / f"dt={DATE}") == before
        assert '"event": "published"' in run(score, *prism.options, workers=1)
    assert_same_rows(rows(output), expected)
    assert files(output / f"dt={DATE}") != before


def test_a_worker_pool_that_nobody_reaches_ends_the_command(score: list[str], here: Engine) -> None:
    said = run(score, *here.options, f"--environment_config=localhost:{free_port()}", code=1)
    assert "no worker process has begun" in said
    assert "--environment_config" in said


def test_a_job_server_that_nobody_reaches_is_one_line_within_seconds(score: list[str], tmp_path: Path) -> None:
    endpoint, start = f"localhost:{free_port()}", time.monotonic()
    said = run(score, f"--job_endpoint={endpoint}", code=1)
    assert time.monotonic() - start < 40
    assert f"no job server answers at {endpoint} (--job_endpoint)" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_portable_job_without_a_job_server_is_refused() -> None:
    with pytest.raises(ConfigError, match="--job_endpoint=HOST:PORT"):
        beam_options("portable", 2, ["--environment_type=EXTERNAL"])
