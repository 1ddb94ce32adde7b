"""One kill of a scoring run in a process forked from this one, and what must be true afterwards."""

import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.paths import DEMO_BUNDLE, ROOT
from transforms.runs import fail_points
from transforms.runs.run import read_manifest

TEXTS = ROOT / "examples/snips/validation.parquet"
NIGHT1, NIGHT2 = "2026-11-20", "2026-11-21"
SPLIT_ROWS = 50
Rows = dict[str, tuple[Any, ...]]


@dataclass
class Attempt:
    """One kill and what followed."""

    point: str
    after: str = ""
    killed: bool = False
    seen: str = ""
    taken_over: int = 0
    problems: list[str] = field(default_factory=list)


class Torture:
    """An output with two nights, the second of which is scored again from a changed input."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.template = folder, folder / "template"
        texts = pq.read_table(TEXTS).select(["id", "text"]).slice(0, 8 * SPLIT_ROWS)
        changed = pc.if_else(
            pa.array([i % 3 == 0 for i in range(len(texts))]),
            pc.binary_join_element_wise(texts.column("text"), "again", " "),
            texts.column("text"),
        )
        missing = pc.if_else(pa.array([i % 40 == 7 for i in range(len(texts))]), pa.scalar(None, pa.string()), changed)
        self.before = self._write("before", texts)
        self.input = self._write("in", texts.set_column(1, "text", missing))
        for date in (NIGHT1, NIGHT2):
            assert self._finish(self._start(self.before, self.template, date, only_new=False)) == 0
        self.old = self.rows(self.template)
        full = folder / "full"
        start = time.monotonic()
        assert self._finish(self._start(self.input, full, NIGHT2, only_new=False)) == 0
        self.new, self.duration = self.rows(full), time.monotonic() - start
        # Staged files are gone by then: two for each part, one for its digests, and one for each split that was read.
        self.files = 3 * len(list(full.glob("**/part-*"))) + 2 * len(list(full.glob("**/_digests-*"))) + 8
        assert self.new != self.old

    def _write(self, name: str, rows: pa.Table) -> Path:
        folder = self.folder / name
        folder.mkdir()
        for i in range(0, len(rows), SPLIT_ROWS):
            pq.write_table(rows.slice(i, SPLIT_ROWS), folder / f"{i:05d}.parquet")
        return folder

    def _start(self, source: Path, output: Path, date: str, *, only_new: bool, kill_at: str = "") -> int:
        """Starts the job in a process group of its own; gives its process id."""
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            code = 1
            try:
                code = _score(source, output, date, only_new, kill_at)
            finally:
                os._exit(code)
        return pid

    @staticmethod
    def _wait(output: Path, pid: int, there: set[Path], files: int) -> None:
        """Waits until a run has written so many files or has ended."""
        seen: set[Path] = set()
        while len(seen) < files and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            seen |= _files(output) - there
            time.sleep(0.001)

    @staticmethod
    def _finish(pid: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def rows(self, output: Path) -> Rows:
        """What a reader of the manifest sees of the second night; numbers to six places."""
        folder = output / f"dt={NIGHT2}"
        manifest, _ = read_manifest(str(folder / "_manifest.json"))
        found: Rows = {}
        for part in [] if manifest is None else manifest["files"]:
            for row in pq.ParquetFile(output / part["path"]).read().to_pylist():
                if row["id"] in found:
                    raise ValueError(f"row {row['id']} stands there twice")
                found[row["id"]] = (row["label"], row["text_hash"], round(row["probability"], 5))
        return found

    def at_point(self, number: int, point: str) -> Attempt:
        """Kills a run at a fail point and runs again."""
        attempt = Attempt(point)
        with self._output(number) as output:
            if "write_taken" in point:
                self._finish(self._start(self.input, output, NIGHT2, only_new=True, kill_at="before write_verdict"))
            code = self._finish(self._start(self.input, output, NIGHT2, only_new=True, kill_at=point))
            attempt.killed = code == -signal.SIGKILL
            if not attempt.killed:
                attempt.problems.append(f"was not killed there, but ended with {code}")
            self._look(attempt, output)
            self._again(attempt, output)
        return attempt

    def at_moment(self, number: int, seed: int) -> Attempt:
        """Kills a run, and the one that goes on with it, at moments drawn with `seed`, and runs again."""
        draw = random.Random(seed)
        attempt = Attempt(f"seed {seed}")
        with self._output(number) as output:
            for _ in range(2):
                # Most of a short run is loading: so three in four are killed when they have written so many files.
                files, seconds = draw.randint(1, self.files), draw.uniform(0, self.duration)
                by_files = draw.random() < 0.75
                attempt.after += f"{files} files, " if by_files else f"{seconds:.2f} s, "
                there = _files(output)
                pid = self._start(self.input, output, NIGHT2, only_new=True)
                self._wait(output, pid, there, files if by_files else 0)
                time.sleep(0 if by_files else seconds)
                os.killpg(pid, signal.SIGKILL)
                attempt.killed |= self._finish(pid) == -signal.SIGKILL
                self._look(attempt, output)
            self._again(attempt, output)
        return attempt

    def _output(self, number: int) -> "_Copy":
        return _Copy(self.template, self.folder / f"out-{number}")

    def _look(self, attempt: Attempt, output: Path) -> None:
        try:
            rows = self.rows(output)
        except (ValueError, OSError) as error:
            attempt.problems.append(f"a reader fails: {error}")
            return
        attempt.seen = "old" if rows == self.old else "new" if rows == self.new else "neither"
        if attempt.seen == "neither":
            attempt.problems.append("a reader sees neither the old nor the new rows")

    def _again(self, attempt: Attempt, output: Path) -> None:
        code = self._finish(self._start(self.input, output, NIGHT2, only_new=True))
        if code != 0:
            attempt.problems.append(f"the second run ends with {code}")
            return
        manifest, _ = read_manifest(str(output / f"dt={NIGHT2}" / "_manifest.json"))
        assert manifest
        attempt.taken_over = manifest["splits_taken_over"]
        if attempt.point == "before write_verdict" and not attempt.taken_over:
            attempt.problems.append("nothing was taken over, though all was staged")
        if self.rows(output) != self.new:
            attempt.problems.append("the second run publishes other rows")
        listed = {part["path"] for part in (*manifest["files"], *manifest["dead_letters"])}
        listed |= {part["digests"]["path"] for part in manifest["files"]}
        found = (path for name in ("part-*", "_digests-*") for path in output.glob(f"**/dt={NIGHT2}/{name}"))
        there = {str(path.relative_to(output)) for path in found}
        if there != listed:
            attempt.problems.append(f"{len(there - listed)} files are left over, {len(listed - there)} missing")
        if not manifest["finished"] or (left := list((output / "_runs" / manifest["run_id"]).glob("staged/*"))):
            attempt.problems.append("the date is not tidied" + (f", {len(left)} staged files" if left else ""))


def _files(output: Path) -> set[Path]:
    return set(output.glob("**/*"))


class _Copy:
    def __init__(self, template: Path, output: Path) -> None:
        self._template, self._output = template, output

    def __enter__(self) -> Path:
        shutil.copytree(self._template, self._output)
        _move_verdicts(self._output, self._template)
        return self._output

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._output)


def _move_verdicts(output: Path, template: Path) -> None:
    """Manifests name files below the output; only verdicts have whole paths."""
    for path in output.glob("_runs/*/verdict.json"):
        path.write_text(path.read_text().replace(str(template), str(output)))


def _score(source: Path, output: Path, date: str, only_new: bool, kill_at: str) -> int:
    import transforms.read.plan_files
    from pipeline.errors import EXIT_CODES
    from pipeline.jobs.config import JobConfig
    from pipeline.runners.silence import quiet_stderr
    from pipeline.scoring import score
    from pipeline.terminal.console import quiet_libraries

    os.environ[fail_points.VARIABLE] = kill_at
    transforms.read.plan_files.SPLIT_ROWS = SPLIT_ROWS
    settings: dict[str, Any] = {"max_dead_fraction": 0.2, "only_new": only_new, "keep_text_digests": True}
    job = JobConfig(bundle=str(DEMO_BUNDLE), input=(str(source),), output=str(output), date=date, **settings)
    quiet_libraries()
    with quiet_stderr():
        return EXIT_CODES.get(score(job).status, 1)
