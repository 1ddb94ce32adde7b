"""Kills scoring runs at every fail point and at seeded moments, then runs the same command again.

    python -m benchmarks.nightly.torture            every point, 50 moments, to benchmarks/reports/TORTURE.md
    python -m benchmarks.nightly.torture --short    every point, few moments, prints only

Every attempt is a process group of its own, forked from one that has loaded the libraries. After each kill a reader of
the manifest must see exactly the old or exactly the new rows of the date; after the second run exactly the new ones.
"""

import argparse
import datetime as dt
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.nightly.kills import Attempt, Torture
from benchmarks.paths import REPORTS
from transforms.publish.commit import STEPS
from transforms.runs import fail_points

TABLE = REPORTS / "TORTURE.md"
ELSEWHERE = {"write_session"}
"""Steps that only an input from BigQuery has: tests/slow/nights/test_nights.py kills at them."""
POINTS = [f"{when} {name}" for name in fail_points.STEPS if name not in ELSEWHERE for when in ("before", "after")]
POINTS += [f"before {name}" for name in STEPS]


def torture(moments: int, tell: Callable[[Attempt], None] = lambda _: None) -> Iterator[Attempt]:
    """Every fail point, then so many seeded moments, two at a time."""
    # Loaded once, here: what is forked from this process starts in no time, and no operation has run, so no thread.
    import pipeline.scoring

    assert pipeline.scoring
    with tempfile.TemporaryDirectory() as folder:
        scene = Torture(Path(folder))
        pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
        points = pool.map(scene.at_point, range(len(POINTS)), POINTS)
        seeds = range(moments)
        at_moments = pool.map(scene.at_moment, (len(POINTS) + seed for seed in seeds), seeds)
        for attempt in itertools.chain(points, at_moments):
            tell(attempt)
            yield attempt
        pool.shutdown()


def report(attempts: list[Attempt], seconds: float) -> str:
    """The table of TORTURE.md."""
    failed = [attempt for attempt in attempts if attempt.problems]
    lines = [
        "# Kills",
        "",
        f"`make torture` on {dt.date.today().isoformat()}: {len(attempts)} runs killed with SIGKILL, the whole process "
        f"group, then the same command again; {seconds:,.0f} s. {len(failed)} went wrong.",
        "",
        "The second night of an output is scored again with `--only-new` from a changed input of eight splits with "
        "dead letters. Right after the kill a reader of the manifest saw the old or the new rows, never anything else; "
        "after the last run exactly the new ones, once, with no file left over. A seed draws two moments, one for the "
        "run and one for the run that goes on with it: after so many files were written, or after so many seconds.",
        "",
        "| killed | after | a reader then saw | splits taken over | |",
        "|---|---|---|---|---|",
    ]
    for attempt in attempts:
        when = attempt.after.removesuffix(", ")
        verdict = "; ".join(attempt.problems) or "right"
        lines.append(f"| {attempt.point} | {when} | {attempt.seen} | {attempt.taken_over} | {verdict} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="every point, three moments; writes no table")
    short = parser.parse_args().short
    start = time.monotonic()
    attempts = list(torture(3 if short else 50, lambda attempt: print(attempt, flush=True)))
    if not short:
        TABLE.write_text(report(attempts, time.monotonic() - start), encoding="utf-8")
    return 1 if any(attempt.problems for attempt in attempts) else 0


if __name__ == "__main__":
    sys.exit(main())
