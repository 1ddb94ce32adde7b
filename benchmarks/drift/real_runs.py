"""Nights through `bert-batch score --hold-if-drift`, and whether it says what the sum of their rows says."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.drift.nights import (
    AS_IT_IS,
    MONDAY,
    ROWS,
    UNSHIFTED,
    Drawn,
    Pool,
    Shift,
    Week,
    drawn_again,
    judged,
    night,
    split,
)
from benchmarks.drift.scored_rows import PRECISION, Integers
from benchmarks.paths import ROOT
from transforms.outputs.drift.bounds import MOST_DATES
from transforms.outputs.drift.compared import Dated

SHIFTS = (
    UNSHIFTED,
    Shift(share=0.2, mixed="bank customers (Banking77)"),
    UNSHIFTED,
    Shift(share=0.1, mixed="German"),
    UNSHIFTED,
    Shift(share=0.1, mixed="news (AG)"),
    Shift(share=0.5, form="cut"),
    UNSHIFTED,
    Shift(share=0.1, mixed="questions (TREC)"),
    Shift(share=0.2, label=True),
)
_PUBLISHED, _HELD = 0, 5


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts behind a pool, in the same order."""

    forms: dict[str, list[str]]
    others: dict[str, list[str]]

    def of(self, drawn: Drawn) -> list[str]:
        """The texts of a night."""
        places = [(self.forms[AS_IT_IS], drawn.own), (self.forms[drawn.form], drawn.changed)]
        places += [] if drawn.mixed is None else [(self.others[drawn.mixed], drawn.others)]
        return [texts[row] for texts, rows in places for row in rows.tolist()]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A night: what the command did, and what the sum of its rows says; each as `published` or why it was held."""

    date: dt.date
    shift: Shift
    command: str
    resampled: str

    @property
    def alike(self) -> bool:
        """Whether both say the same, to the last digit that the command prints."""
        return self.command == self.resampled


def runs(folder: Path, bundle: Path, pool: Pool, texts: Texts, seed: int) -> Iterator[Run]:
    """Scores MOST_DATES dates, then a night for each of SHIFTS on the dates after them: whole commands, gate on."""
    generator = np.random.default_rng([seed, 1 << 21])
    week = Week(generator, pool)
    calibration, test = split(generator, pool)
    dates: list[Dated] = []
    for number in range(MOST_DATES + len(SHIFTS)):
        date = MONDAY + dt.timedelta(number)
        shift = SHIFTS[number - MOST_DATES] if number >= MOST_DATES else UNSHIFTED
        drawn = night(generator, pool, week.of(date), test, shift)
        if number < MOST_DATES:
            drawn = _of_calibration(generator, pool, week, date, calibration)
        tonight = Dated(date, drawn.summary(pool))
        held = judged(tonight, dates[-MOST_DATES:], pool.baseline).held
        gate = ["--hold-if-drift"] if number >= MOST_DATES else []
        said = _scored(folder, bundle, date, texts.of(drawn), gate)
        # A date that was published beyond its bounds is not compared with.
        if said == "published" and not held:
            dates.append(tonight)
        if gate:
            yield Run(date=date, shift=shift, command=said, resampled="; ".join(held) or "published")


def _of_calibration(
    generator: np.random.Generator, pool: Pool, week: Week, date: dt.date, calibration: Integers
) -> Drawn:
    rows = drawn_again(generator, week.of(date), calibration, ROWS)
    return Drawn(own=rows, changed=rows[:0], form=AS_IT_IS, others=rows[:0], mixed=None)


def _scored(folder: Path, bundle: Path, date: dt.date, texts: Sequence[str], gate: Sequence[str]) -> str:
    """`published`, or why the command held the night; exits if it did neither."""
    source = folder / f"{date}.parquet"
    pq.write_table(pa.table({"id": [str(row) for row in range(len(texts))], "text": list(texts)}), source)
    command = ["score", "--bundle", str(bundle), "--input", str(source), "--output", str(folder / "scored")]
    command += ["--date", date.isoformat(), "--precision", PRECISION, *gate, "--log-format", "json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run(
        [sys.executable, "-m", "pipeline", *command], env=environment, capture_output=True, text=True, check=False
    )
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    last: dict[str, Any] = events[-1] if events else {}
    if ran.returncode == _PUBLISHED and last.get("event") == "published":
        return "published"
    if ran.returncode == _HELD and last.get("event") == "held":
        return "; ".join(last["problems"])
    sys.exit(f"scoring {date} ended with exit code {ran.returncode}:\n{ran.stdout[-2_000:]}{ran.stderr[-2_000:]}")
