"""From the figures of the levels to benchmarks/reports/RESULTS.md."""

import datetime as dt
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.harness.contest import Ratio
from benchmarks.paths import ROOT

OURS = ("tensorflow", "tensorflow-text", "apache-beam", "pyarrow")


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One limit: `value` must be at least (`at_least`) or at most `limit`; `said` is printed in its place.

    `value` None: this machine cannot measure it, `spread` says what it lacks. `limit` None: a figure without one.
    """

    what: str
    value: float | None
    limit: float | None
    at_least: bool = True
    spread: str = ""
    said: str = ""

    @classmethod
    def faster(cls, what: str, found: Ratio, limit: float | None = None) -> "Bar":
        return cls(what=what, value=found.median, limit=limit, spread=f"{found.low:.2f} to {found.high:.2f}")

    @classmethod
    def unmeasured(cls, what: str, limit: float, lacks: str, *, at_least: bool = True) -> "Bar":
        return cls(what=what, value=None, limit=limit, at_least=at_least, spread=lacks)

    @property
    def kept(self) -> bool:
        """True of what has no limit, or cannot be measured here: the report says so, and it fails nobody."""
        if self.value is None or self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def line(self) -> str:
        limit = "" if self.limit is None else f"{'≥' if self.at_least else '≤'} {_shown(self.limit, 'g')}"
        if self.value is None:
            return f"| {self.what} | not measured | {self.spread} | {limit} | |"
        said = self.said or _shown(self.value, ".3f")
        kept = "" if self.limit is None else _yes(self.kept)
        return f"| {self.what} | **{said}** | {self.spread} | {limit} | {kept} |"


@dataclass(frozen=True, kw_only=True)
class Section:
    """One level: its table, its limits, and what its plot shows (`plot` name -> figures)."""

    title: str
    text: str
    rows: Sequence[Sequence[Any]]
    bars: Sequence[Bar] = ()
    plot: dict[str, Any] = field(default_factory=dict)

    @property
    def markdown(self) -> str:
        header, *lines = [[_cell(cell) for cell in row] for row in self.rows]
        table = [header, ["---"] * len(header), *lines]
        content = "\n".join("| " + " | ".join(row) + " |" for row in table)
        return f"## {self.title}\n\n{self.text}\n\n{content}\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _shown(figure: float, small: str) -> str:
    return f"{figure:,.0f}" if figure >= 1_000 else format(figure, small)


def _yes(kept: bool) -> str:
    return "yes" if kept else "**no**"


@dataclass(frozen=True, kw_only=True)
class Level:
    """What one level measured, when, on which code, and how long it took."""

    name: str
    date: dt.date
    seconds: float
    sections: Sequence[Section]
    commit: str = "unknown"


def write(path: Path, command: str, levels: Sequence[Level], seconds: float | None) -> None:
    """Writes the report: the limits first, then every level. `seconds` is the whole wall time of one run of all."""
    sections = [section for level in levels for section in level.sections]
    bars = [bar.line for section in sections for bar in section.bars]
    limits = "\n".join(["| what | median | spread | limit | kept |", "|---|---|---|---|---|", *bars])
    versions = ", ".join(f"{name} {version(name)}" for name in OURS)
    plots = "\n".join(f"![{name}]({name}.png)" for section in sections for name in section.plot)
    dates = " and ".join(sorted({level.date.isoformat() for level in levels}))
    whole = "several runs" if seconds is None else f"one run, {seconds / 60:.0f} minutes in all"
    took = ", ".join(f"({level.name}) {level.seconds / 60:.1f}" for level in levels)
    content = f"""# Results

Printed by `{command}` on {dates}, {_commits(levels)}: {whole}; minutes of each level: {took}.
{os.cpu_count()} cores, {processor()}; {versions}; the others are pinned in `benchmarks/peers.txt` and `peers-full.txt`.

Contestants are live processes that take turns, or whole commands in (e) and (f); who begins changes with every round;
each has warmed up before a turn counts. A ratio is taken within each round, and the median of the rounds is quoted with
the lowest and highest. A contestant with other results than this project's ends the benchmark: logits in (a), tokens in
(b), every row's class and probability in (d). Machines that others use too are noisy: trust ratios.

{limits}

{plots}

"""
    path.write_text(content + "\n".join(section.markdown for section in sections), encoding="utf-8")


def _commits(levels: Sequence[Level]) -> str:
    commits = sorted({level.commit for level in levels})
    if len(commits) == 1:
        return f"commit {commits[0]}"
    of = ", ".join(f"({level.name}) {level.commit}" for level in levels)
    return f"**levels of different commits, not to be compared with each other**: {of}"


def commit() -> str:
    """The commit that is checked out, `-dirty` if files that figures depend on are changed; unknown without Git."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        # Reports and plots are what the benchmarks themselves change; nothing that is measured reads docs.
        changed = [*git, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!*.md", ":!*.png", ":!docs"]
        dirty = subprocess.run(changed, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("-dirty" if dirty else "")


def processor() -> str:
    """The name of the processor and the instructions that matter here."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = found.get("flags", "").split()
    special = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{found.get('model name', platform.machine())} ({', '.join(special)})"
