"""Levels e and f: growth and start-up of whole commands."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness.contest import ratio, rotated
from benchmarks.harness.report import Bar, Section
from benchmarks.levels.scale import Scale
from benchmarks.paths import CACHE, ROOT
from benchmarks.workloads import files, models

IMPORTS = "import tensorflow, tensorflow_text, tensorflow_transform.beam, apache_beam"
OUTPUT = CACHE / "scored"


def growth(scale: Scale) -> list[Section]:
    """Level e: time and peak memory for 1, 4 and 16 times the rows, and for two workers."""
    one = files.parquet("banking77_200k", 1)
    inputs = {times: files.repeated(scale.growth_rows, times) for times in (1, 4, 16)}
    turns: dict[str, tuple[Path, tuple[str, ...]]] = {"start": (one, ())}
    turns |= {str(times): (file, ()) for times, file in inputs.items()}
    turns["two"] = (inputs[16], ("--workers", "2"))
    if scale.command_warm_up:
        for file, flags in (turns["start"], turns["two"]):
            _command(file, *flags)
    seconds: dict[str, list[float]] = {turn: [] for turn in turns}
    peaks: dict[str, list[float]] = {turn: [] for turn in turns}
    for number in range(scale.growth_rounds):
        for turn in rotated(list(turns), number):
            file, flags = turns[turn]
            wall, peak = _command(file, *flags)
            seconds[turn].append(wall)
            peaks[turn].append(peak)
    medians = {turn: statistics.median(found) for turn, found in seconds.items()}
    rows: list[list[object]] = [["rows", "workers", "seconds", "start-up, s", "peak MiB"]]
    for times in inputs:
        peak = statistics.median(peaks[str(times)])
        rows.append([times * scale.growth_rows, 1, medians[str(times)], medians["start"], peak])
    rows.append([16 * scale.growth_rows, 2, medians["two"], medians["start"], "n/a: several processes"])
    beyond = {
        turn: [whole - start for whole, start in zip(found, seconds["start"], strict=True)]
        for turn, found in seconds.items()
    }
    grown = ratio(beyond["16"], beyond["4"])
    memory = ratio(peaks["16"], peaks["4"])
    spread = f"{grown.low:.2f} to {grown.high:.2f}"
    bars = [
        Bar(what="(e) time for 4 × the rows", value=grown.median, limit=4.2, at_least=False, spread=spread),
        Bar(
            what="(e) peak memory for 4 × the rows",
            value=memory.median,
            limit=1.10,
            at_least=False,
            spread=f"{memory.low:.2f} to {memory.high:.2f}",
        ),
    ]
    two = ratio(seconds["16"], seconds["two"])
    text = "Whole commands, one-layer model, Banking77 rows made distinct. The limits compare 16 with 4 times: beyond "
    text += f"start-up the single run takes {statistics.median(beyond['1']):.1f} s, too little against its noise. "
    text += f"The command with two workers is faster by {two}"
    if two.median < 1:
        text += ": with so small a model a second worker costs more than it brings, because one uses all cores already "
        text += "and each must load the libraries"
    text += "."
    return [Section(title="(e) Growth", text=text, rows=rows, bars=bars)]


def _command(input: Path, *flags: str) -> tuple[float, float]:
    """Seconds and peak MiB of one `bert-batch score`."""
    bundle = str(models.bundle("host7"))
    command = [sys.executable, "-m", "pipeline", "score", "--bundle", bundle, "--input", str(input), "--output"]
    command += [str(OUTPUT), "--date", "2026-11-21", "--log-format", "json", *flags]
    return run(command)


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a command; exits if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        subprocess.run(command, env=environment, check=False)
        sys.exit(f"{command[:4]} failed with exit code {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss / 1024


def start_up(scale: Scale) -> list[Section]:
    """Level f: a job of 100 rows against the imports it cannot do without."""
    file = files.parquet("banking77", 100)
    turns = {"job": lambda: _command(file)[0], "imports": lambda: run([sys.executable, "-c", IMPORTS])[0]}
    seconds: dict[str, list[float]] = {turn: [] for turn in turns}
    warm_up = int(scale.command_warm_up)
    for number in range(scale.start_rounds + warm_up):
        for turn in rotated(list(turns), number):
            found = turns[turn]()
            if number >= warm_up:
                seconds[turn].append(found)
    jobs, imports = seconds["job"], seconds["imports"]
    more = [job - bare for job, bare in zip(jobs, imports, strict=True)]
    rows: list[list[object]] = [["command", "seconds, median"]]
    rows += [["`bert-batch score`, 100 rows", statistics.median(jobs)]]
    rows += [[f"`python -c '{IMPORTS}'`", statistics.median(imports)]]
    spread = f"{min(more):.2f} to {max(more):.2f}"
    bar = Bar(
        what="(f) 100-row job less the imports, s",
        value=statistics.median(more),
        limit=3,
        at_least=False,
        spread=spread,
    )
    return [Section(title="(f) Start-up", text="Whole processes, files of the system cached.", rows=rows, bars=[bar])]
