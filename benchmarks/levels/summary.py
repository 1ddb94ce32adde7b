"""User CPU seconds of whole jobs that count their summary beside jobs that do not, in pairs: `make bench-summary`."""

import argparse
import statistics
import sys

from benchmarks.harness.contest import Contestant, ratio, rotated
from benchmarks.paths import CACHE
from benchmarks.workloads import files, models

LIMIT = 1.03
"""Of the median ratio on the host path: jobs in which the model costs nothing, less one of a single row."""
CORPUS = "banking77_200k"
STARTS = 3
"""Jobs of one row before the pairs."""


def pairs(model: str, rows: int, count: int) -> list[tuple[float, float]]:
    """User seconds without and with the summary, `count` times by turns, in one live process on one core."""
    given = {"bundle": str(models.bundle(model)), "output": str(CACHE / "scored")}
    whole, one = ({**given, "input": str(files.parquet(CORPUS, number))} for number in (rows, 1))
    found: dict[bool, list[float]] = {False: [], True: []}
    with Contestant("this project", "ours", cores="0") as player:

        def seconds(summary: bool, described: dict[str, str]) -> float:
            spent: float = player.ask("host_job", summary=summary, **described)["user_seconds"]
            return spent

        # The first jobs of a process load the model, and take memory that later ones have.
        for described in (one, whole):
            seconds(True, described)
        start = statistics.median(seconds(False, one) for _ in range(STARTS))
        for number in range(count):
            for summary in rotated([False, True], number):
                found[summary].append(seconds(summary, whole) - start)
            without, with_it = (found[summary][-1] for summary in (False, True))
            print(f"{model}, pair {number + 1}: {without:.3f} s without, {with_it:.3f} s with", flush=True)
    return list(zip(found[False], found[True], strict=True))


def main() -> None:
    """Prints every pair and the median ratio of each bundle, and exits 1 if one is above the limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.levels.summary", description=main.__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--models", nargs="+", choices=models.MODELS, default=["host7", "host77"])
    given = parser.parse_args()
    over = False
    for model in given.models:
        without, with_it = zip(*pairs(model, given.rows, given.pairs), strict=True)
        times = ratio(with_it, without)
        medians = f"median {statistics.median(without):.3f} s without and {statistics.median(with_it):.3f} s with"
        spread = f"ratio {times.median:.4f} ({times.low:.4f} to {times.high:.4f}), at most {LIMIT}"
        print(f"{model}, {given.rows:,} rows, {given.pairs} pairs, user CPU of the host path: {medians}; {spread}")
        over |= times.median > LIMIT
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
