"""Paired benchmarks against what people use instead: `make bench`, figures to benchmarks/RESULTS.md.

Reads the folder $SHARED (default ../shared) and fails when it is missing. `--short` proves in two minutes that every
contestant still runs, with small models, and writes no report; `--long` takes more rows and rounds.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict

import workloads
from contest import HERE, PEERS_PYTHON
from jobs import end_to_end, growth, start_up
from levels import Scale, host_path, model_step, tokenization
from report import Section, write

LEVELS = {
    "a": model_step,
    "b": tokenization,
    "c": host_path,
    "d": end_to_end,
    "e": growth,
    "f": start_up,
}
SHORT = Scale(
    model="host7",
    step_rounds=1,
    token_rounds=1,
    token_rows=500,
    host=(("banking77_200k", 3_000),),
    host_rounds=1,
    budget_rows=20,
    job_rows=40,
    job_rounds=1,
    part_rows=10,
    part_rounds=1,
    growth_rows=100,
    growth_rounds=1,
    start_rounds=1,
)
LONG = Scale(step_rounds=20, token_rows=25_000, host_rounds=9, job_rounds=5, part_rounds=4, growth_rows=50_000)
RESULTS = HERE / "RESULTS.md"


def main() -> None:
    """Runs the levels of the command line; exits 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("levels", nargs="*", metavar="LEVEL", help="a to f; all by default, and only then a report")
    parser.add_argument("--short", action="store_true", help="small models, one round, no report and no limits")
    parser.add_argument("--long", action="store_true", help="more rows and rounds, report to RESULTS-long.md")
    given = parser.parse_args()
    if unknown := [level for level in given.levels if level not in LEVELS]:
        parser.error(f"no level {unknown[0]!r}; there are {', '.join(LEVELS)}")
    scale = SHORT if given.short else LONG if given.long else Scale()
    start = time.monotonic()
    sections: list[Section] = []
    for level in given.levels or LEVELS:
        found = LEVELS[level](scale)
        sections += found
        for section in found:
            print(section.markdown, *(bar.line for bar in section.bars), sep="\n", flush=True)
    minutes = (time.monotonic() - start) / 60
    print(f"{minutes:.1f} minutes")
    if given.short:
        return
    if not given.levels:
        command = "make bench-long" if given.long else "make bench"
        write(RESULTS.with_stem("RESULTS-long") if given.long else RESULTS, command, sections, minutes)
        plots = workloads.CACHE / "plots.json"
        plots.write_text(json.dumps([asdict(section)["plot"] for section in sections]))
        subprocess.run([str(PEERS_PYTHON), str(HERE / "plots.py"), str(plots)], check=True)
    missed = [bar.what for section in sections for bar in section.bars if not bar.kept]
    sys.exit("limits not kept: " + "; ".join(missed) if missed else 0)


if __name__ == "__main__":
    main()
