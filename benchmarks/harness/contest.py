"""Paired comparisons: contestants are live processes that take turns; what counts is the ratio within each round."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from benchmarks.harness.turns import CORES, Reply
from benchmarks.paths import CACHE, ROOT

LOGS = CACHE / "logs"
PAUSE = 0.2
"""Seconds before a step: the threads of some runtimes spin for a while behind their turn, at the next one's cost."""
Turn = TypeVar("Turn")
PEERS_PYTHON = Path(os.environ.get("PEERS", ROOT / ".venv-peers")) / "bin" / "python"


class Contestant:
    """One live process, a module of benchmarks/players. `peers` runs it in their environment, `cores` pins it."""

    def __init__(self, name: str, player: str, *, peers: bool = False, cores: str = "") -> None:
        self.name = name
        if peers and not PEERS_PYTHON.is_file():
            sys.exit(f"{PEERS_PYTHON} is not there; `make bench` installs the peers (benchmarks/peers-full.txt)")
        python = str(PEERS_PYTHON) if peers else sys.executable
        environment = {**os.environ, CORES: cores, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        LOGS.mkdir(parents=True, exist_ok=True)
        with (LOGS / f"{player}.log").open("a") as log:
            self._process = subprocess.Popen(
                [python, "-m", f"benchmarks.players.{player}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
            )
        self._read()

    def ask(self, do: str, **arguments: Any) -> Reply:
        """One request and its reply; exits with the contestant's own traceback if it failed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Reply:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with exit code {self._process.wait()}; see {LOGS}")
        reply: Reply = json.loads(line)
        if "error" in reply:
            sys.exit(f"{self.name} failed:\n{reply['error']}")
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@dataclass(frozen=True)
class Ratio:
    """How many times faster the first is than the second: median, lowest and highest of the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Rounds:
    """Seconds of every counted turn, by contestant, and the last reply of each."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    last: dict[str, Reply] = field(default_factory=dict)

    def add(self, name: str, reply: Reply) -> None:
        self.seconds.setdefault(name, []).append(reply["seconds"])
        self.last[name] = reply

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def faster(self, ours: str, than: str) -> Ratio:
        """Seconds of `than` ÷ seconds of `ours`, round by round."""
        return ratio(self.seconds[than], self.seconds[ours])


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Median and spread of above[i] ÷ below[i]."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def rotated(turns: Sequence[Turn], number: int) -> list[Turn]:
    """The turns of round `number`: who begins changes from round to round."""
    first = number % len(turns)
    return [*turns[first:], *turns[:first]]


def together(*contestants: Contestant) -> ExitStack:
    """All of them, ended at the end of the block."""
    stack = ExitStack()
    for contestant in contestants:
        stack.enter_context(contestant)
    return stack


def contest(contestants: Sequence[Contestant], *, rounds: int, warm_up: int, do: str, **arguments: Any) -> Rounds:
    """Lets each take its turn in every round; who begins changes from round to round."""
    results = Rounds()
    for number in range(warm_up + rounds):
        for contestant in rotated(contestants, number):
            time.sleep(PAUSE)
            reply = contestant.ask(do, **arguments)
            if number >= warm_up:
                results.add(contestant.name, reply)
    return results
