"""User CPU seconds of whole jobs that count their summary beside jobs that do not, in pairs: `make bench-summary`."""

import argparse
import statistics
import sys
from typing import Any

from benchmarks.harness.contest import Contestant, ratio, rotated
from benchmarks.paths import CACHE
from benchmarks.workloads import files, models

HOST_LIMIT = 1.03
"""Of the median ratio on the host path: jobs in which the model costs nothing, less one of a single row."""
WHOLE_LIMIT = 1.01
"""Of whole jobs of BERT-base, less one of a single row."""
HOST_ROWS, WHOLE_ROWS = 200_000, 400
CORPUS = "banking77_200k"
STARTS = 3
"""Jobs of one row before the pairs."""


def pairs(model: str, rows: int, count: int, *, whole: bool) -> list[tuple[float, float]]:
    """User seconds without and with the summary, `count` times by turns, in one live process on one core.

    Unless `whole`, the model costs nothing.
    """
    given = {"bundle": str(models.bundle(model)), "output": str(CACHE / "scored"), "model": whole}
    all_rows, one = ({**given, "input": str(files.parquet(CORPUS, number))} for number in (rows, 1))
    found: dict[bool, list[float]] = {False: [], True: []}
    with Contestant("this project", "ours", cores="0") as player:

        def seconds(summary: bool, described: dict[str, Any]) -> float:
            spent: float = player.ask("summary_job", summary=summary, **described)["user_seconds"]
            return spent

        # The first jobs of a process load the model, and take memory that later ones have.
        for described in (one, all_rows):
            seconds(True, described)
        start = statistics.median(seconds(False, one) for _ in range(STARTS))
        for number in range(count):
            for summary in rotated([False, True], number):
                found[summary].append(seconds(summary, all_rows) - start)
            without, with_it = (found[summary][-1] for summary in (False, True))
            print(f"{model}, pair {number + 1}: {without:.3f} s without, {with_it:.3f} s with", flush=True)
    return list(zip(found[False], found[True], strict=True))


def main() -> None:
    """Prints every pair and the median ratio of each bundle, and exits 1 if one is above the limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.levels.summary", description=main.__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--models", nargs="+", choices=models.MODELS, default=["host7", "host77", "base"])
    given = parser.parse_args()
    over = False
    for model in given.models:
        whole = model == "base"
        rows, limit = (WHOLE_ROWS, WHOLE_LIMIT) if whole else (HOST_ROWS, HOST_LIMIT)
        without, with_it = zip(*pairs(model, rows, given.pairs, whole=whole), strict=True)
        times = ratio(with_it, without)
        medians = f"median {statistics.median(without):.3f} s without and {statistics.median(with_it):.3f} s with"
        spread = f"ratio {times.median:.4f} ({times.low:.4f} to {times.high:.4f}), at most {limit}"
        of = "the whole job" if whole else "the host path"
        print(f"{model}, {rows:,} rows, {given.pairs} pairs, user CPU of {of}: {medians}; {spread}")
        over |= times.median > limit
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
