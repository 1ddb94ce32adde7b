"""Level d: whole jobs against hand-written ones, from Parquet to Parquet."""

import math
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.harness.agreement import Scores, check_scores, published_scores, written_scores
from benchmarks.harness.contest import Contestant, ratio, rotated, together
from benchmarks.harness.report import Bar, Section
from benchmarks.levels.scale import ENGINES, Scale
from benchmarks.paths import CACHE
from benchmarks.workloads import files, models
from benchmarks.workloads.corpora import COPIES, MIXTURE

SCRIPTS = {**ENGINES, "openvino_throughput": "OpenVINO float32, requests at once"}
OURS, ONNX = "this project", f"{ENGINES['onnx_runtime']}, sorted script"
PUBLISHED = f"Beam's pattern, as published: padded to {models.MAX_TOKENS}"
OUTPUT = CACHE / "scored"
WARM_UP_ROWS = 8


class Jobs:
    """The live processes, and their turns: seconds without start-up. What each has written last is kept."""

    def __init__(self, scale: Scale) -> None:
        self.folder, self.bundle = str(models.model_folder(scale.model)), str(models.bundle(scale.model))
        self.one = str(files.parquet("mixture", 1))
        self.scores: dict[tuple[Path, str], Scores] = {}
        self.tokens: dict[Path, int] = {}
        self.model_share: list[float] = []
        self._ours = Contestant(OURS, "ours")
        self._scripts = SCRIPTS if scale.with_torch else {}
        self._engines = {engine: Contestant(name, "runtimes", peers=True) for engine, name in self._scripts.items()}
        self._patterns = [Contestant("Beam's pattern", "beam_pattern", peers=True)] if scale.with_torch else []
        self.players = (self._ours, *self._engines.values(), *self._patterns)

    @property
    def turns(self) -> dict[str, Callable[[Path], float]]:
        """A whole job of each contestant."""
        scripts = {f"{name}, sorted script": self._script(engine) for engine, name in self._scripts.items()}
        policies = {"Beam's pattern, sorted": "sorted", PUBLISHED: "fixed"}
        patterns = {name: self._pattern(beam, way) for beam in self._patterns for name, way in policies.items()}
        named: dict[str, Callable[[Path], tuple[float, Scores]]] = {OURS: self._job, **scripts, **patterns}
        return {name: self._kept(name, turn) for name, turn in named.items()}

    def load(self) -> None:
        for engine, player in self._engines.items():
            player.ask("load", folder=self.folder, engine=engine)
        for beam in self._patterns:
            beam.ask("load", folder=self.folder, max_tokens=models.MAX_TOKENS)

    def check(self) -> None:
        """Raises WrongResultError unless all have scored every row of what they were given as this project does."""
        for (file, name), found in self.scores.items():
            check_scores(name, found, self.scores[file, OURS], pq.read_metadata(file).num_rows)

    def _kept(self, name: str, turn: Callable[[Path], tuple[float, Scores]]) -> Callable[[Path], float]:
        def take(file: Path) -> float:
            seconds, self.scores[file, name] = turn(file)
            return seconds

        return take

    def _job(self, file: Path) -> tuple[float, Scores]:
        arguments = {"bundle": self.bundle, "output": str(OUTPUT)}
        start = self._ours.ask("job", input=self.one, **arguments)
        found = self._ours.ask("job", input=str(file), **arguments)
        seconds = found["seconds"] - start["seconds"]
        self.model_share.append((found["model_seconds"] - start["model_seconds"]) / seconds)
        self.tokens[file] = found["tokens"]
        return seconds, published_scores(OUTPUT)

    def _script(self, engine: str) -> Callable[[Path], tuple[float, Scores]]:
        def turn(file: Path) -> tuple[float, Scores]:
            output = OUTPUT.with_suffix(".parquet")
            arguments: dict[str, Any] = {"folder": self.folder, "max_tokens": models.MAX_TOKENS}
            reply = self._engines[engine].ask("script", input=str(file), output=str(output), **arguments)
            return reply["seconds"], written_scores(output)

        return turn

    def _pattern(self, beam: Contestant, policy: str) -> Callable[[Path], tuple[float, Scores]]:
        def turn(file: Path) -> tuple[float, Scores]:
            output = f"{OUTPUT}.txt"
            start, found = (
                beam.ask("job", input=str(input), output=output, policy=policy)["seconds"] for input in (self.one, file)
            )
            return found - start, written_scores(Path(f"{output}-00000-of-00001"))

        return turn


def end_to_end(scale: Scale) -> list[Section]:
    """Level d: texts per second from Parquet to Parquet."""
    mixture, copies = (files.parquet(name, scale.job_rows) for name in ("mixture", "duplicates"))
    part, first = (files.parquet("mixture", scale.job_rows, sampled=n) for n in (scale.part_rows, WARM_UP_ROWS))
    jobs = Jobs(scale)
    with together(*jobs.players):
        jobs.load()
        for turn in jobs.turns.values():
            turn(first)
        jobs.model_share.clear()
        pair = [name for name in (OURS, ONNX) if name in jobs.turns]
        whole = _rounds(jobs, [(name, file) for file in (mixture, copies) for name in pair], scale.job_rounds)
        shares = jobs.model_share[:]
        parts = _rounds(jobs, [(name, part) for name in jobs.turns], scale.part_rounds)
    jobs.check()
    rows: list[list[object]] = [["rows", "contestant", "seconds", "texts/s", "this project is faster by"]]
    for file, what in ((mixture, "the mixture"), (copies, "the mixture with copies"), (part, "the mixture, a sample")):
        count = pq.read_metadata(file).num_rows
        for (name, of), seconds in {**whole, **parts}.items():
            if of == file:
                middle, faster = statistics.median(seconds), ratio(seconds, {**whole, **parts}[OURS, file])
                rows.append([f"{count:,} of {what}", name, middle, count / middle, str(faster)])
    rest = max(abs(1 - share) for share in shares)
    against = [
        (f"(d) texts/s ÷ {ONNX}", whole, ONNX, mixture, 1.03),
        ("(d) the same with 30 % copies", whole, ONNX, copies, 1.35),
        (f"(d) texts/s ÷ {PUBLISHED}", parts, PUBLISHED, part, 3),
    ]
    bars = [
        *(
            Bar.faster(what, ratio(found[name, file], found[OURS, file]), limit)
            for what, found, name, file, limit in against
            if (name, file) in found
        ),
        Bar(
            what="(d) everything but the model ÷ wall time, in every round",
            value=rest,
            limit=0.05,
            at_least=False,
            spread=f"noise, {1 - max(shares):.1%} to {1 - min(shares):.1%}",
            said=f"below {math.floor(rest * 100) + 1}%",
        ),
    ]
    lengths = [jobs.tokens[file] / pq.read_metadata(file).num_rows for file in (mixture, part)]
    text = (
        f"Mixture of SST-2, AG News, IMDB and 20 Newsgroups, at most {models.MAX_TOKENS} tokens, all cores, "
        "start-up excluded on both sides (of this project and of Beam's pattern: less a job of one row). Copies: "
        f"{COPIES} of {sum(MIXTURE.values())} rows are copies of others. The sample for the slow contestants is taken "
        f"evenly from the shortest to the longest text: {lengths[1]:.0f} tokens a row; the mixture has "
        f"{lengths[0]:.0f}. The scripts sort by length and cut micro-batches of 1,024 tokens: ONNX Runtime is as fast "
        "there as at 4,096, and pads less. OpenVINO's script runs one request at a time, and again as its "
        "documentation advises for offline work (THROUGHPUT, asynchronous requests)."
    )
    return [Section(title="(d) From Parquet to Parquet", text=text, rows=rows, bars=bars)]


def _rounds(jobs: Jobs, turns: Iterable[tuple[str, Path]], rounds: int) -> dict[tuple[str, Path], list[float]]:
    """Seconds of every turn (contestant, file)."""
    turns = list(turns)
    seconds: dict[tuple[str, Path], list[float]] = {turn: [] for turn in turns}
    for number in range(rounds):
        for name, file in rotated(turns, number):
            seconds[name, file].append(jobs.turns[name](file))
    return seconds
