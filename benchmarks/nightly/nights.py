"""What a night costs when little has changed, and when it was killed: `make bench-nightly`, to NIGHTLY.md.

Four commands on one input: a full run that keeps digests of its texts; the next date with --only-new; a third date,
killed with SIGKILL when 90 % of its rows are staged; the third date again. Wall time, start-up included. All must
publish the same rows. Then, with a model of one layer, pairs of full runs with and without digests: user CPU seconds.
`--short` takes few rows and the demo bundle, checks only the rows, and writes no report.
"""

import argparse
import datetime as dt
import os
import resource
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.harness.report import Bar, commit, processor
from benchmarks.nightly.scored_output import ROW_GROUP_ROWS, Output, differences, write_input
from benchmarks.paths import DEMO_BUNDLE, REPORTS
from benchmarks.workloads import models

REPORT = REPORTS / "NIGHTLY.md"
FULL, UNCHANGED, KILLED = "2026-11-20", "2026-11-21", "2026-11-22"
UNCHANGED_LIMIT, RESUMED_LIMIT = 0.10, 0.25


@dataclass(frozen=True, kw_only=True)
class Scale:
    """`killed_at` is the share of rows that are staged when the run is killed; `pairs` of runs are for digest_cost."""

    rows: int = 200_000
    killed_at: float = 0.9
    pairs: int = 5


# Killed sooner: the demo model leaves no time between 90 % and the end.
SHORT = Scale(rows=65_536, killed_at=0.25, pairs=0)


@dataclass(frozen=True, kw_only=True)
class Nights:
    """Seconds of each command, and what the manifests say."""

    full: float
    unchanged: float
    until_killed: float
    resumed: float
    staged_share: float
    carried: int
    taken_over: int
    splits: int
    digests: "DigestCost | None" = None


@dataclass(frozen=True, kw_only=True)
class DigestCost:
    """User CPU seconds of full runs without digests of the texts, and of the same with them, pair by pair."""

    without: tuple[float, ...]
    kept: tuple[float, ...]

    @property
    def line(self) -> str:
        """What digests cost, in the words of the report."""
        more = [kept - bare for kept, bare in zip(self.kept, self.without, strict=True)]
        spread = f"{min(more):+.2f} to {max(more):+.2f}, {len(more)} pairs"
        return f"{statistics.median(more):+.2f} s ({spread}) of {statistics.median(self.without):.2f} s"


def digest_cost(folder: Path, input: Path, pairs: int) -> DigestCost | None:
    """Runs the pairs, every other one the other way round; None for no pairs."""
    if not pairs:
        return None
    output = Output(folder / "cost", models.bundle("host7"), input)
    spent: dict[tuple[str, ...], list[float]] = {(): [], ("--keep-text-digests",): []}
    for number in range(pairs):
        for flags in sorted(spent, reverse=bool(number % 2)):
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            output.score(FULL, *flags)
            spent[flags].append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    without, kept = spent.values()
    return DigestCost(without=tuple(without), kept=tuple(kept))


def measure(folder: Path, bundle: Path, scale: Scale) -> tuple[Nights, list[str]]:
    """Runs the four commands; gives their figures, and in what the dates differ."""
    input = folder / "input.parquet"
    write_input(input, scale.rows)
    output = Output(folder / "scored", bundle, input)
    full = output.score(FULL, "--keep-text-digests")
    unchanged = output.score(UNCHANGED, "--only-new")
    until_killed, staged = output.kill(KILLED, int(scale.killed_at * scale.rows))
    resumed = output.score(KILLED)
    first = output.rows(FULL)
    wrong = [] if first.num_rows == scale.rows else [f"{FULL}: {first.num_rows:,} of {scale.rows:,} rows published"]
    wrong += [f"{date}: {what}" for date in (UNCHANGED, KILLED) for what in differences(first, output.rows(date))]
    nights = Nights(
        full=full,
        unchanged=unchanged,
        until_killed=until_killed,
        resumed=resumed,
        staged_share=staged / scale.rows,
        carried=output.manifest(UNCHANGED)["counts"]["skipped"],
        taken_over=output.manifest(KILLED)["splits_taken_over"],
        splits=len(_splits(folder / "scored", output.manifest(KILLED)["run_id"])),
        digests=digest_cost(folder, input, scale.pairs),
    )
    if nights.carried != scale.rows:
        wrong.append(f"{UNCHANGED}: {nights.carried:,} of {scale.rows:,} rows taken from {FULL}")
    if not nights.taken_over:
        wrong.append(f"{KILLED}: no split taken over")
    return nights, wrong


def _splits(output: Path, run_id: str) -> set[int]:
    plan = pq.read_table(output / "_runs" / run_id / "plan.parquet", columns=["split"])
    return set(plan.column("split").to_pylist())


def limits(nights: Nights) -> list[Bar]:
    """The two limits."""
    measured = [
        ("`--only-new`, nothing changed ÷ full run", nights.unchanged, UNCHANGED_LIMIT),
        ("the same command after the kill ÷ full run", nights.resumed, RESUMED_LIMIT),
    ]
    return [Bar(what=what, value=took / nights.full, limit=limit, at_least=False) for what, took, limit in measured]


def report(nights: Nights, scale: Scale) -> str:
    """The content of NIGHTLY.md."""
    lines = "\n".join(bar.line for bar in limits(nights))
    return f"""# Nights

Printed by `make bench-nightly` on {dt.date.today().isoformat()}, commit {commit()}: {os.cpu_count()} cores,
{processor()}. {scale.rows:,} distinct short texts in row groups of {ROW_GROUP_ROWS:,}, {nights.splits} splits; random
weights in the sizes "small" (4 layers, hidden size 512). Whole commands, start-up included, one after the other. The
rows of all dates are the same by id, label and text_hash.

| command | seconds |
|---|---|
| full run | {nights.full:.1f} |
| the next date, `--only-new`, nothing changed: {nights.carried:,} rows taken from the first | {nights.unchanged:.1f} |
| a third date, killed (SIGKILL) with {nights.staged_share:.0%} of its rows staged | {nights.until_killed:.1f} |
| the same command again: {nights.taken_over} of {nights.splits} splits taken over | {nights.resumed:.1f} |

| what | measured | spread | limit | kept |
|---|---|---|---|---|
{lines}
{_digests(nights.digests)}"""


def _digests(cost: DigestCost | None) -> str:
    if cost is None:
        return ""
    return f"""
What `--keep-text-digests` costs in a full run with a model of one layer: {cost.line} of user CPU.
"""


def main() -> None:
    """Exits 1 if dates differ or a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="few rows, the demo bundle, no report and no limits")
    short = parser.parse_args().short
    scale = SHORT if short else Scale()
    with tempfile.TemporaryDirectory() as folder:
        nights, wrong = measure(Path(folder), DEMO_BUNDLE if short else models.bundle("small"), scale)
    print(nights)
    print(f"splits taken over: {nights.taken_over} of {nights.splits}")
    if not wrong and not short:
        content = report(nights, scale)
        REPORT.write_text(content, encoding="utf-8")
        print(content)
        wrong = [f"limit not kept: {bar.what}" for bar in limits(nights) if not bar.kept]
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
