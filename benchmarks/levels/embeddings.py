"""User CPU seconds of whole jobs with `--embeddings` beside those without, in pairs: `make bench-embeddings`."""

import argparse
import statistics
import sys

from benchmarks.harness.contest import Contestant, ratio, rotated
from benchmarks.paths import CACHE
from benchmarks.workloads import files, models

LIMIT = 1.02
"""Of the median ratio, base sizes in float32."""


def pairs(model: str, rows: int, count: int, numbers: str) -> list[tuple[float, float]]:
    """User seconds without and with embeddings, `count` times by turns, in one live process, without its start-up."""
    file = str(files.parquet("banking77_200k", rows))
    given = {"bundle": str(models.bundle(model)), "input": file, "output": str(CACHE / "scored")}
    settings: dict[str, dict[str, str]] = {"without": {}, "with": {"embeddings": numbers}}
    found: dict[str, list[float]] = {"without": [], "with": []}
    with Contestant("this project", "ours") as player:
        for setting in settings.values():
            player.ask("job", **{**given, "input": str(files.parquet("banking77_200k", 1))}, **setting)
        for number in range(count):
            for name in rotated(list(settings), number):
                found[name].append(player.ask("job", **given, **settings[name])["user_seconds"])
            print(
                f"pair {number + 1}: {found['without'][-1]:.2f} s without, {found['with'][-1]:.2f} s with", flush=True
            )
    return list(zip(found["without"], found["with"], strict=True))


def main() -> None:
    """Prints every pair and the median ratio, and exits 1 if that is above the limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.levels.embeddings", description=main.__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--model", choices=models.MODELS, default="base")
    parser.add_argument("--numbers", choices=["float32", "float16"], default="float32")
    given = parser.parse_args()
    plain, wide = zip(*pairs(given.model, given.rows, given.pairs, given.numbers), strict=True)
    times = ratio(wide, plain)
    medians = f"median {statistics.median(plain):.2f} s without and {statistics.median(wide):.2f} s with"
    spread = f"ratio {times.median:.4f} ({times.low:.4f} to {times.high:.4f}), at most {LIMIT}"
    print(f"{given.numbers}, {given.model}, {given.rows:,} rows, {given.pairs} pairs: {medians}; {spread}")
    sys.exit(1 if times.median > LIMIT else 0)


if __name__ == "__main__":
    main()
