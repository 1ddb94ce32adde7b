"""The same job on every Beam runner that can be had on one machine: `make cluster`, to benchmarks/reports/CLUSTER.md.

Prism, the runner of Beam's Go SDK, is built by `make cluster` from the Go module proxy; Flink and Spark need job
servers that this command does not fetch. Fails unless all publish the same rows.
"""

import argparse
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.cluster.engines import served
from benchmarks.harness.report import commit, processor
from benchmarks.paths import REPORTS, ROOT
from benchmarks.workloads import files, models

REPORT = REPORTS / "CLUSTER.md"
DATE = "2026-11-21"
SPLITS = 16
CLOSE = 1e-5
DIRECT, DIRECT_2 = "direct, one worker", "direct, two workers"
JOB_SERVER, PRISM = "portable, the job server of this project, two workers", "portable, Prism, one worker"


def write_input(folder: Path, rows: int) -> None:
    """Distinct short texts in as many files as there are to be splits."""
    table = pq.read_table(files.parquet("banking77_200k", rows))
    size = -(-table.num_rows // SPLITS)
    for number in range(SPLITS):
        pq.write_table(table.slice(number * size, size), folder / f"{number:02}.parquet")


def score(input: Path, bundle: Path, output: Path, flags: list[str]) -> tuple[float, float]:
    """Seconds of the command and of the model; exits if the command fails."""
    command = [sys.executable, "-m", "pipeline", "score", "--bundle", str(bundle), "--input", str(input)]
    command += ["--output", str(output), "--date", DATE, "--precision", "float32", "--log-format", "json", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(flags)}: exit code {done.returncode}\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}")
    manifest = json.loads((output / f"dt={DATE}" / "_manifest.json").read_bytes())
    return seconds, manifest["work"]["model_nanos"] / 1e9


def published(output: Path) -> pa.Table:
    """Id, label and probability of every row, by id."""
    parts = sorted(output.glob(f"dt={DATE}/part-*.parquet"))
    found = pa.concat_tables([pq.ParquetFile(part).read(["id", "label", "probability"]) for part in parts])
    return found.sort_by("id")


def same(first: pa.Table, second: pa.Table) -> bool:
    """The same ids and labels, and probabilities as near as other micro-batches round them."""
    off = pc.max(pc.abs(pc.subtract(first["probability"], second["probability"]))).as_py()
    exact = all(first[name].equals(second[name]) for name in ("id", "label"))
    return exact and off <= CLOSE


def main() -> None:
    """Prints every turn, writes the report, and exits 1 if a runner published other rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument(
        "--prism", type=lambda name: Path(name).resolve(), help="the binary; left out without it, which the report says"
    )
    parser.add_argument("--rows", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", choices=models.MODELS, default="minilm")
    given = parser.parse_args()
    bundle = models.bundle(given.model)
    turns: dict[str, list[str]] = {DIRECT: [], DIRECT_2: ["--workers", "2"]}
    seconds: dict[str, list[float]] = {}
    models_took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "in").mkdir()
        write_input(folder / "in", given.rows)
        server = [sys.executable, "-m", "pipeline.runners.job_server", "--port", "{port}"]
        own = stack.enter_context(served(server, folder / "server.log"))
        turns[JOB_SERVER] = ["--runner", "portable", "--workers", "2", "--", *own]
        if given.prism is not None:
            prism = [str(given.prism), "--job_port={port}", "--serve_http=false"]
            options = stack.enter_context(served(prism, folder / "prism.log"))
            turns[PRISM] = ["--runner", "portable", "--workers", "1", "--", *options]
        rows: dict[str, pa.Table] = {}
        for number in range(given.rounds):
            for turn, flags in turns.items():
                output = folder / f"out-{number}-{list(turns).index(turn)}"
                took, model = score(folder / "in", bundle, output, flags)
                seconds.setdefault(turn, []).append(took)
                models_took.setdefault(turn, []).append(model)
                rows[turn] = published(output)
                print(f"{turn}: {took:.1f} s, model {model:.1f} s", flush=True)
    other = [turn for turn in turns if not same(rows[turn], rows[DIRECT])]
    lines = ["| runner | seconds, median | all rounds | seconds of the model, all workers | rows as direct |"]
    lines += ["|---|---|---|---|---|"]
    for turn, found in seconds.items():
        each = ", ".join(f"{took:.1f}" for took in found)
        model = statistics.median(models_took[turn])
        lines.append(f"| {turn} | {statistics.median(found):.1f} | {each} | {model:.1f} | {turn not in other} |")
    if PRISM not in turns:
        lines.append(f"| {PRISM} | not measured | | | |")
    text = f"""# Runners

Printed by `make cluster` on {dt.date.today().isoformat()}, commit {commit()}, {os.cpu_count()} cores,
{processor()}: {rows[DIRECT].num_rows:,} short texts in {SPLITS} files, model {given.model}, float32; whole commands,
{given.rounds} rounds by turns. Job servers and pools of workers run before a command begins; workers load the model
in each.

{chr(10).join(lines)}

Starting processes and importing is most of a command with so few rows: the table compares rows, not speed. Prism has
one worker process for a job: it proves that the job runs on another portable runner, no more. Flink and Spark were not
run: the job servers of Beam for them could not be had ([machines](../../deploy/README.md)).
"""
    REPORT.write_text(text, encoding="utf-8")
    sys.exit(f"other rows: {'; '.join(other)}" if other else 0)


if __name__ == "__main__":
    main()
