"""Levels e and f: growth and start-up of whole commands."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.harness.contest import ratio, rotated
from benchmarks.harness.report import Bar, Section
from benchmarks.levels.scale import Scale, lacks_amx
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


def _command(input: Path, *flags: str, bundle: Path | None = None) -> tuple[float, float]:
    """Seconds and peak MiB of one `bert-batch score`, with the smallest bundle by default."""
    by = str(bundle or models.bundle("host7"))
    command = [sys.executable, "-m", "pipeline", "score", "--bundle", by, "--input", str(input), "--output"]
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
    """Level f: a job of 100 rows against the imports it cannot do without, and what bfloat16 adds to small jobs."""
    file = files.parquet("banking77", 100)
    turns = {"job": lambda: _command(file)[0], "imports": lambda: run([sys.executable, "-c", IMPORTS])[0]}
    seconds = _turns(scale, turns)
    jobs, imports = seconds["job"], seconds["imports"]
    more = [job - bare for job, bare in zip(jobs, imports, strict=True)]
    rows: list[list[object]] = [["command", "seconds, median"]]
    rows += [["`bert-batch score`, 100 rows", statistics.median(jobs)]]
    rows += [[f"`python -c '{IMPORTS}'`", statistics.median(imports)]]
    bars = [_at_most("(f) 100-row job less the imports, s", more, 3)]
    text = "Whole processes, files of the system cached. "
    text += f"Peak memory is that of a job of {scale.memory_rows} rows of the mixture."
    half = _half(scale, rows)
    return [Section(title="(f) Start-up", text=text, rows=rows, bars=[*bars, *half])]


def _half(scale: Scale, rows: list[list[object]]) -> list[Bar]:
    """What `--precision bfloat16` adds to a job of one row, and to the memory of a job; adds lines to the table."""
    limits = {
        # The bundle of the demo is of an earlier version, which OpenVINO does not read.
        ("small", models.bundle("tiny")): ("(f) one row in bfloat16 less in float32, the demo's sizes, s", 1.5),
        ("base", models.bundle(scale.model)): ("(f) the same, BERT-base, s", 2.5),
    }
    memory = "(f) peak memory in bfloat16 ÷ in float32, BERT-base"
    if (lacks := lacks_amx()) is not None:
        unmeasured = [*limits.values(), (memory, 1.2)]
        return [Bar.unmeasured(what, limit, lacks, at_least=False) for what, limit in unmeasured]
    bars = []
    for (name, bundle), (what, limit) in limits.items():
        seconds = _turns(scale, _by_precision(files.parquet("mixture", 1), bundle, 0))
        for precision, found in seconds.items():
            line = f"`bert-batch score --precision {precision}`, one row, {name} bundle"
            rows.append([line, statistics.median(found)])
        more = [half - full for half, full in zip(seconds["bfloat16"], seconds["float32"], strict=True)]
        bars.append(_at_most(what, more, limit))
    file = files.parquet("mixture", None, sampled=scale.memory_rows)
    peaks = _turns(scale, _by_precision(file, models.bundle(scale.model), 1))
    for precision, found in peaks.items():
        rows.append([f"the same, {scale.memory_rows} rows, {precision}: peak MiB", statistics.median(found)])
    grown = ratio(peaks["bfloat16"], peaks["float32"])
    spread = f"{grown.low:.2f} to {grown.high:.2f}"
    return [*bars, Bar(what=memory, value=grown.median, limit=1.2, at_least=False, spread=spread)]


def _by_precision(file: Path, bundle: Path, measure: int) -> dict[str, Callable[[], float]]:
    """A command each; `measure` 0: its seconds, 1: its peak memory."""

    def turn(precision: str) -> Callable[[], float]:
        return lambda: _command(file, "--precision", precision, bundle=bundle)[measure]

    return {precision: turn(precision) for precision in ("float32", "bfloat16")}


def _turns(scale: Scale, turns: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {turn: [] for turn in turns}
    warm_up = int(scale.command_warm_up)
    for number in range(scale.start_rounds + warm_up):
        for turn in rotated(list(turns), number):
            figure = turns[turn]()
            if number >= warm_up:
                found[turn].append(figure)
    return found


def _at_most(what: str, seconds: Sequence[float], limit: float) -> Bar:
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    return Bar(what=what, value=statistics.median(seconds), limit=limit, at_least=False, spread=spread)
