"""Levels d to f: whole jobs against hand-written ones, growth, and start-up."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import workloads
from contest import ROOT, Contestant, ratio, together
from corpora import COPIES, texts
from levels import ENGINES, Scale
from report import Bar, Section

IMPORTS = "import tensorflow, tensorflow_text, tensorflow_transform.beam, apache_beam"
OUTPUT = workloads.CACHE / "scored"


class Scripts:
    """The live processes of level d, and their turns: seconds without start-up."""

    def __init__(self, scale: Scale) -> None:
        self.folder, self.bundle = str(workloads.model_folder(scale.model)), str(workloads.bundle(scale.model))
        self.ours = Contestant("this project", "ours.py")
        self.engines = {engine: Contestant(name, "runtimes.py", peers=True) for engine, name in ENGINES.items()}
        self.beam = Contestant("Beam's pattern", "beam_pattern.py", peers=True)
        for engine, player in self.engines.items():
            player.ask("load", folder=self.folder, engine=engine)
        self.beam.ask("load", folder=self.folder, max_tokens=workloads.MAX_TOKENS)
        self.one = str(workloads.parquet("mixture", 1))
        self.model_share: list[float] = []

    def job(self, file: Path) -> float:
        start = self.ours.ask("job", bundle=self.bundle, input=self.one, output=str(OUTPUT))
        found = self.ours.ask("job", bundle=self.bundle, input=str(file), output=str(OUTPUT))
        seconds = found["seconds"] - start["seconds"]
        self.model_share.append((found["model_seconds"] - start["model_seconds"]) / seconds)
        return float(seconds)

    def script(self, engine: str, file: Path) -> float:
        arguments = {"folder": self.folder, "input": str(file), "max_tokens": workloads.MAX_TOKENS}
        return float(self.engines[engine].ask("script", output=str(OUTPUT) + ".parquet", **arguments)["seconds"])

    def pattern(self, policy: str, file: Path) -> float:
        start, found = (
            self.beam.ask("job", input=str(input), output=str(OUTPUT) + ".txt", policy=policy)["seconds"]
            for input in (self.one, file)
        )
        return float(found - start)


def end_to_end(scale: Scale) -> list[Section]:
    """Level d: texts per second from Parquet to Parquet."""
    mixture = workloads.parquet("mixture", scale.job_rows)
    duplicates, part = workloads.parquet("duplicates", scale.job_rows), workloads.parquet("mixture", scale.part_rows)
    play = Scripts(scale)
    with together(play.ours, play.beam, *play.engines.values()):
        for warm_up in (play.job, lambda file: play.script("onnx_runtime", file)):
            warm_up(part)
        play.model_share.clear()
        whole: dict[str, list[float]] = {name: [] for name in ("ours", "script", "ours, copies", "script, copies")}
        for number in range(scale.job_rounds):
            turns = [
                ("ours", lambda: play.job(mixture)),
                ("script", lambda: play.script("onnx_runtime", mixture)),
                ("ours, copies", lambda: play.job(duplicates)),
                ("script, copies", lambda: play.script("onnx_runtime", duplicates)),
            ]
            for name, turn in turns if number % 2 == 0 else reversed(turns):
                whole[name].append(turn())
        shares = play.model_share[:]
        parts: dict[str, list[float]] = {}
        for _ in range(scale.part_rounds):
            parts.setdefault("this project", []).append(play.job(part))
            for engine, name in ENGINES.items():
                parts.setdefault(f"{name}, sorted script", []).append(play.script(engine, part))
            parts.setdefault("Beam's pattern, sorted", []).append(play.pattern("sorted", part))
            parts.setdefault("Beam's pattern, as published", []).append(play.pattern("fixed", part))
    count = pq.read_metadata(mixture).num_rows
    rows: list[list[object]] = [["rows", "contestant", "seconds", "texts/s", "this project is faster by"]]
    for name, seconds in whole.items():
        ours = whole["ours, copies" if "copies" in name else "ours"]
        what = name.replace("ours", "this project").replace("script", "ONNX Runtime, sorted script")
        middle = statistics.median(seconds)
        rows.append([f"{count:,} of the mixture", what, middle, count / middle, str(ratio(seconds, ours))])
    for name, seconds in parts.items():
        middle = statistics.median(seconds)
        faster = ratio(seconds, parts["this project"])
        rows.append([f"{scale.part_rows:,} of the mixture", name, middle, scale.part_rows / middle, str(faster)])
    rest = [1 - share for share in shares]
    published = ratio(parts["Beam's pattern, as published"], parts["this project"])
    bars = [
        Bar.faster("(d) texts/s ÷ sorted ONNX Runtime script", ratio(whole["script"], whole["ours"]), 1.03),
        Bar.faster("(d) the same with 30 % copies", ratio(whole["script, copies"], whole["ours, copies"]), 1.35),
        Bar.faster("(d) texts/s ÷ Beam's pattern as published", published, 3),
        Bar(
            what="(d) everything but the model ÷ wall time",
            value=statistics.median(rest),
            limit=0.05,
            at_least=False,
            spread=f"{min(rest):.3f} to {max(rest):.3f}",
        ),
    ]
    text = (
        "Mixture of SST-2, AG News, IMDB and 20 Newsgroups, at most 512 tokens, all cores, start-up excluded on both "
    )
    text += f"sides (ours: less a job of one row). Copies: {COPIES} of 800 rows are copies of others."
    return [Section(title="(d) From Parquet to Parquet", text=text, rows=rows, bars=bars)]


def growth(scale: Scale) -> list[Section]:
    """Level e: time and peak memory for 1, 4 and 16 times the rows, and for two workers."""
    one = workloads.parquet("banking77_200k", 1)
    files = {times: _repeated(scale.growth_rows, times) for times in (1, 4, 16)}
    starts, seconds, peaks = [], {times: [] for times in files}, {times: [] for times in files}  # type: ignore[var-annotated]
    for _ in range(scale.growth_rounds):
        starts.append(_command(one)[0])
        for times, file in files.items():
            wall, peak = _command(file)
            seconds[times].append(wall)
            peaks[times].append(peak)
    two = [_command(files[16], "--workers", "2")[0] for _ in range(scale.growth_rounds)]
    rows: list[list[object]] = [["rows", "workers", "seconds", "start-up, s", "peak MiB"]]
    start = statistics.median(starts)
    for times in files:
        middle, peak = statistics.median(seconds[times]), statistics.median(peaks[times])
        rows.append([times * scale.growth_rows, 1, middle, start, peak])
    rows.append([16 * scale.growth_rows, 2, statistics.median(two), start, "n/a: several processes"])
    beyond = {times: [s - begin for s, begin in zip(seconds[times], starts, strict=True)] for times in files}
    grown = ratio(beyond[16], beyond[4])
    memory = ratio(peaks[16], peaks[4])
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
    text = "Whole commands, one-layer model, Banking77 rows made distinct. The limits compare 16 with 4 times: beyond "
    text += f"start-up the single run takes {statistics.median(beyond[1]):.1f} s, too little against its noise."
    return [Section(title="(e) Growth", text=text, rows=rows, bars=bars)]


def _repeated(rows: int, times: int) -> Path:
    """`times` files of distinct rows in one folder."""
    folder = workloads.CACHE / "texts" / f"growth-{rows}x{times}"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        found = texts("banking77_200k")[:rows]
        for copy in range(times):
            ids = [f"{copy}-{i}" for i in range(rows)]
            distinct = [f"{text} {copy}" for text in found]
            pq.write_table(pa.table({"id": ids, "text": distinct}), folder / f"{copy:02}.parquet")
    return folder


def _command(input: Path, *flags: str) -> tuple[float, float]:
    """Seconds and peak MiB of one `bert-batch score`."""
    bundle = str(workloads.bundle("host7"))
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
    file = workloads.parquet("banking77", 100)
    jobs, imports = [], []
    for number in range(scale.start_rounds + 1):
        job, bare = _command(file)[0], run([sys.executable, "-c", IMPORTS])[0]
        if number:
            jobs.append(job)
            imports.append(bare)
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
