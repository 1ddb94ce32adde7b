"""Paired benchmarks against what people use instead: `make bench`, figures to benchmarks/reports/RESULTS.md.

Reads the folder $SHARED (default ../shared) and fails when it is missing. `--short` proves in two minutes that every
contestant that needs no PyTorch still runs, with small models, and writes no report; `--long` takes more rows and
rounds.
"""

import argparse
import datetime as dt
import json
import os
import pickle
import subprocess
import sys
import time

from benchmarks.harness.contest import PEERS_PYTHON
from benchmarks.harness.report import Level, commit, write
from benchmarks.levels.end_to_end import end_to_end
from benchmarks.levels.growth import growth, start_up
from benchmarks.levels.host_path import host_path
from benchmarks.levels.model_step import model_step
from benchmarks.levels.scale import Scale
from benchmarks.levels.texts_an_hour import texts_an_hour
from benchmarks.levels.tokenizing import tokenization
from benchmarks.paths import CACHE, REPORTS, ROOT
from benchmarks.workloads import models

LEVELS = {
    "a": model_step,
    "b": tokenization,
    "c": host_path,
    "d": end_to_end,
    "e": growth,
    "f": start_up,
    "g": texts_an_hour,
}
SHORT = Scale(
    model="host7",
    shapes=((8, 128), (64, 16)),
    step_rounds=1,
    token_rounds=1,
    token_rows=500,
    host=(("banking77_200k", 3_000),),
    host_rounds=1,
    budgets=(512, 1_024),
    budget_rounds=1,
    job_rows=40,
    job_rounds=1,
    half_rounds=1,
    part_rows=10,
    part_rounds=1,
    growth_rows=100,
    growth_rounds=1,
    start_rounds=1,
    memory_rows=10,
    hour_rounds=1,
    hour_share=50,
    command_warm_up=False,
    with_torch=False,
)
LONG = Scale(step_rounds=20, token_rows=25_000, host_rounds=9, job_rounds=5, part_rounds=4, growth_rows=50_000)
RESULTS = REPORTS / "RESULTS.md"
FIGURES = CACHE / "figures"


def main() -> None:
    """Runs the levels of the command line; exits 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "levels",
        nargs="*",
        metavar="LEVEL",
        help="a to g; all by default. The report is made of the newest figures of each",
    )
    parser.add_argument("--short", action="store_true", help="small models, one round, no report and no limits")
    parser.add_argument("--long", action="store_true", help="more rows and rounds, report to RESULTS-long.md")
    given = parser.parse_args()
    if unknown := [level for level in given.levels if level not in LEVELS]:
        parser.error(f"no level {unknown[0]!r}; there are {', '.join(LEVELS)}")
    scale = SHORT if given.short else LONG if given.long else Scale()
    kind = "short" if given.short else "long" if given.long else "normal"
    missed = []
    begin = time.monotonic()
    models.prepare(scale.model, "host7", "host77", "tiny", *(("minilm", *scale.kin) if scale.with_torch else ()))
    if not scale.with_torch:
        print("left out, as they need PyTorch: ONNX Runtime, OpenVINO, PyTorch, Beam's pattern", flush=True)
    for level in given.levels or LEVELS:
        start = time.monotonic()
        sections = LEVELS[level](scale)
        for section in sections:
            print(section.markdown, *(bar.line for bar in section.bars), sep="\n", flush=True)
        missed += [bar.what for section in sections for bar in section.bars if not bar.kept]
        seconds = time.monotonic() - start
        keep(kind, Level(name=level, date=dt.date.today(), seconds=seconds, sections=sections, commit=commit()))
        print(f"level {level} took {seconds:.0f} s\n", flush=True)
    whole = time.monotonic() - begin
    print(f"{whole / 60:.1f} minutes in all")
    if given.short:
        return
    report(kind, None if given.levels else whole)
    sys.exit("limits not kept: " + "; ".join(missed) if missed else 0)


def keep(kind: str, level: Level) -> None:
    """Keeps the figures of a level, so that another run can do the rest."""
    folder = FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind}-{level.name}.pickle").write_bytes(pickle.dumps(level))


def report(kind: str, seconds: float | None) -> None:
    """Writes the report and its plots, if there are figures of every level; `seconds` of a run of all of them."""
    files = [FIGURES / f"{kind}-{level}.pickle" for level in LEVELS]
    if missing := [file.stem for file in files if not file.is_file()]:
        print(f"no report yet, not measured: {', '.join(missing)}")
        return
    levels = [pickle.loads(file.read_bytes()) for file in files]
    command = "make bench" if kind == "normal" else "make bench-long"
    write(RESULTS if kind == "normal" else RESULTS.with_stem("RESULTS-long"), command, levels, seconds)
    plots = CACHE / "plots.json"
    plots.write_text(json.dumps([section.plot for level in levels for section in level.sections]))
    command = [str(PEERS_PYTHON), "-m", "benchmarks.harness.plots", str(plots)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)


if __name__ == "__main__":
    main()
