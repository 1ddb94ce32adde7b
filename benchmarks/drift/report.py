"""benchmarks/reports/DRIFT.md: what was counted, and which limits are kept."""

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.drift.measure import FOUND, MOST_ALARMS, SEED, UNSHIFTED_NIGHTS, Counted
from benchmarks.drift.nights import CALIBRATION, LONGER, ROWS, SWING, UNSHIFTED, Shift
from benchmarks.drift.pools import CUT_CHARACTERS
from benchmarks.drift.real_runs import Run
from benchmarks.harness.report import commit, processor
from transforms.outputs.drift.bounds import MOST_DATES


@dataclass(frozen=True, kw_only=True)
class Of:
    """One corpus: how many rows there are, how good the model is, what was counted."""

    title: str
    train: int
    baseline: int
    pool: int
    others: Sequence[tuple[str, int]]
    accuracy: float
    counted: Sequence[Counted]


def missed(found: Sequence[Of], runs: Sequence[Run]) -> list[str]:
    """The limits that are not kept, in words."""
    lost = [f"{of.title}: {said(one.shift)}" for of in found for one in of.counted if not one.kept]
    return lost + [f"{run.date}: the command said another thing than its rows" for run in runs if not run.alike]


def text(found: Sequence[Of], runs: Sequence[Run], took: str) -> str:
    """The whole report; `took` says how long that was, and of what."""
    return "\n".join(_lines(found, runs, took)) + "\n"


def said(shift: Shift) -> str:
    """What is wrong with a night, in words."""
    share = f"{shift.share:.0%}"
    if shift == UNSHIFTED:
        return "nothing"
    if shift.mixed is not None:
        return f"{share} {shift.mixed}"
    return f"{share} of one label" if shift.label else f"{share} {shift.form}"


def _lines(found: Sequence[Of], runs: Sequence[Run], took: str) -> Iterator[str]:
    kept = not missed(found, runs)
    yield "# Drift\n"
    yield (
        f"Printed by `make bench-drift` on {dt.date.today().isoformat()}, commit {commit()}: {os.cpu_count()} cores, "
        f"{processor()}; {took}; seed {SEED}. "
        f"**Limits: {'all kept' if kept else 'NOT all kept'}.**\n"
    )
    yield (
        f"Every row is scored once in every form, in float32, through the steps of the product. A night is {ROWS:,} of "
        "these rows, and its summary the sum of what each adds; it is judged by the product's own functions against "
        f"{MOST_DATES} dates of {ROWS:,} rows and the baseline of the bundle. For each night the rows are split anew: "
        f"the dates are drawn from {CALIBRATION:.0%} of them (the calibration pool), the night from the others (the "
        f"test pool). Labels differ at weekends (deviation of the logarithm of their shares {SWING:g}; on working days "
        f"a fifth of it), and longer texts come more often there (e^{LONGER:g} for a deviation of length). "
        "The swing is drawn anew for every tenth of the nights. Bounds were chosen on drawn histograms "
        "(`tests/transforms/outputs/test_drift_nights.py`), none on these texts.\n"
    )
    yield (
        "*told*: a statistic is beyond its bound, which is a warning. *held*: `--hold-if-drift` would not publish the "
        "night. Limits: "
        f"at most {MOST_ALARMS} of {UNSHIFTED_NIGHTS:,} nights in which nothing is wrong are told, over all statistics "
        "together; of nights with another corpus or language, "
        + ", ".join(f"{least:.0%} are held where {share:.0%} of the rows are of it" for share, least in FOUND.items())
        + f". All else is reported as it is: rows cut to {CUT_CHARACTERS} characters, rows in lower case, rows of one "
        "label (drawn anew for each night) in place of any, and questions outside the scope of the labels, which are "
        "of the same corpus.\n"
    )
    for of in found:
        yield from _of(of)
    yield from _real(runs)


def _of(of: Of) -> Iterator[str]:
    others = ", ".join(f"{name} {rows:,}" for name, rows in of.others)
    yield f"## {of.title}\n"
    yield (
        f"{of.train:,} rows for the training, {of.baseline:,} of them held out for the baseline (accuracy "
        f"{of.accuracy:.3f}), {of.pool:,} for the nights, {int(of.pool * CALIBRATION):,} of them the calibration pool. "
        f"Mixed in: {others}.\n"
    )
    yield "| wrong with the night | nights | told | held | limit | kept | beyond their bounds |"
    yield "|---|---:|---:|---:|---|---|---|"
    for one in of.counted:
        least, limit, kept = one.limit, "", ""
        if least is not None:
            limit = f"told ≤ {least:g}" if one.shift == UNSHIFTED else f"held ≥ {least * one.nights:g}"
            kept = "yes" if one.kept else "**no**"
        listed = ", ".join(f"{name} {count}" for name, count in one.statistics[:3])
        yield f"| {said(one.shift)} | {one.nights:,} | {one.alarms} | {one.held} | {limit} | {kept} | {listed} |"
    yield ""


def _real(runs: Sequence[Run]) -> Iterator[str]:
    alike = sum(run.alike for run in runs)
    yield "## Through the command\n"
    yield (
        f"{MOST_DATES} dates of the first corpus, and then {len(runs)} nights, {ROWS:,} rows each, by `bert-batch "
        f"score --hold-if-drift` (the dates without it). In {alike} of {len(runs)} the command and the sum of the rows "
        "say the same, which is what stands here, to the last digit.\n"
    )
    yield "| date | wrong with the night | the command | the sum of its rows |"
    yield "|---|---|---|---|"
    for run in runs:
        yield f"| {run.date} | {said(run.shift)} | {run.command} | {'the same' if run.alike else run.resampled} |"
