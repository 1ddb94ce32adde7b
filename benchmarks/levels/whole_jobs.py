"""The contestants of level d, and what each does in its turn: a whole job from Parquet to Parquet."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.harness.agreement import Scores, check_scores, published_scores, written_scores
from benchmarks.harness.contest import Contestant, rotated
from benchmarks.levels.scale import EIGHT, ENGINES, Scale, lacks_amx
from benchmarks.paths import CACHE
from benchmarks.workloads import files, models

OURS, OURS_HALF = "this project", "this project, --precision bfloat16"
ONNX = f"{ENGINES['onnx_runtime']}, sorted script"
ONNX_INT8 = f"{EIGHT['onnx_runtime_int8']}, sorted script"
REQUESTS = "OpenVINO as it comes, requests at once, sorted script"
BEAM = "Beam 2.77, sorted and batched by weight, OpenVINO as it comes"
STOCK = "Beam 2.77, its ONNX handler"
PYTORCH_SORTED = "Beam's pattern, sorted"
PUBLISHED = f"Beam's pattern, as published: padded to {models.MAX_TOKENS}"
SCRIPTS = {
    ONNX: "onnx_runtime",
    "OpenVINO float32, sorted script": "openvino",
    "PyTorch + transformers, sorted script": "pytorch",
    "OpenVINO float32, requests at once, sorted script": "openvino_throughput",
    ONNX_INT8: "onnx_runtime_int8",
}
HALF_SCRIPTS = {REQUESTS: "openvino_throughput_default"}
BUDGETS = (1_024, 2_048, 4_096, 8_192)
WEIGHTS = ((1_024, 64), (2_048, 64), (4_096, 64), (2_048, 256), (4_096, 256), (8_192, 256))
"""Of Beam 2.77: tokens of a batch without padding, and rows."""
OUTPUT = CACHE / "scored"
Turn = Callable[[Path], tuple[float, Scores]]


class Jobs:
    """The live processes, and their turns: seconds without start-up. What each has written last is kept."""

    def __init__(self, scale: Scale) -> None:
        self.folder, self.bundle = str(models.model_folder(scale.model)), str(models.bundle(scale.model))
        self.one = str(files.parquet("mixture", 1))
        self.scores: dict[tuple[Path, str], Scores] = {}
        self.tokens: dict[Path, int] = {}
        self.model_share: list[float] = []
        self.precisions = {OURS: "float32", PYTORCH_SORTED: "float32", PUBLISHED: "float32", STOCK: "float32"}
        self.best: dict[str, Any] = {REQUESTS: BUDGETS[0], BEAM: WEIGHTS[0]}
        self.half = scale.with_torch and lacks_amx() is None
        self.players: list[Contestant] = []
        self.turns: dict[str, Turn] = {}
        self._load(scale)

    def _load(self, scale: Scale) -> None:
        ours = self._player(OURS, "ours", peers=False)
        self.turns[OURS] = lambda file: self._job(ours, file)
        if self.half:
            half = self._player(OURS_HALF, "ours", peers=False)
            self.turns[OURS_HALF] = lambda file: self._job(half, file, precision="bfloat16")
            self.precisions[OURS_HALF] = "bfloat16"
        if not scale.with_torch:
            return
        for name, engine in {**SCRIPTS, **(HALF_SCRIPTS if self.half else {})}.items():
            self._script(name, engine)
        pattern = self._player("Beam's pattern", "beam_pattern")
        pattern.ask("load", folder=self.folder, max_tokens=models.MAX_TOKENS)
        self.turns[PYTORCH_SORTED] = lambda file: self._beam(pattern, file, "job", policy="sorted")
        self.turns[PUBLISHED] = lambda file: self._beam(pattern, file, "job", policy="fixed")
        newest = self._player("Beam 2.77", "beam_sorted")
        found = newest.ask("load", folder=self.folder, engine="openvino_default", max_tokens=models.MAX_TOKENS)
        self.precisions[BEAM] = found["precision"]
        self.turns[BEAM] = lambda file: self._beam(
            newest, file, "job", weight=self.best[BEAM][0], rows=self.best[BEAM][1]
        )
        self.turns[STOCK] = lambda file: self._beam(newest, file, "stock")

    def _player(self, name: str, module: str, *, peers: bool = True) -> Contestant:
        player = Contestant(name, module, peers=peers)
        self.players.append(player)
        return player

    def _script(self, name: str, engine: str) -> None:
        player = self._player(name, "runtimes")
        self.precisions[name] = player.ask("load", folder=self.folder, engine=engine)["precision"]

        def turn(file: Path) -> tuple[float, Scores]:
            output = OUTPUT.with_suffix(".parquet")
            arguments: dict[str, Any] = {"folder": self.folder, "max_tokens": models.MAX_TOKENS}
            arguments["budget"] = self.best.get(name, BUDGETS[0])
            reply = player.ask("script", input=str(file), output=str(output), **arguments)
            return reply["seconds"], written_scores(output)

        self.turns[name] = turn

    def _job(self, player: Contestant, file: Path, **settings: Any) -> tuple[float, Scores]:
        arguments = {"bundle": self.bundle, "output": str(OUTPUT), **settings}
        start = player.ask("job", input=self.one, **arguments)
        found = player.ask("job", input=str(file), **arguments)
        seconds = found["seconds"] - start["seconds"]
        if not settings:
            self.model_share.append((found["model_seconds"] - start["model_seconds"]) / seconds)
        self.tokens[file] = found["tokens"]
        return seconds, published_scores(OUTPUT)

    def _beam(self, player: Contestant, file: Path, do: str, **arguments: Any) -> tuple[float, Scores]:
        output = f"{OUTPUT}.txt"
        start, found = (
            player.ask(do, input=str(input), output=output, **arguments)["seconds"] for input in (self.one, file)
        )
        return found - start, written_scores(Path(f"{output}-00000-of-00001"))

    def take(self, name: str, file: Path) -> float:
        """Seconds of one turn, whose scores are kept."""
        seconds, self.scores[file, name] = self.turns[name](file)
        return seconds

    def rounds(self, turns: Iterable[tuple[str, Path]], rounds: int) -> dict[tuple[str, Path], list[float]]:
        """Seconds of every turn (contestant, file)."""
        turns = list(turns)
        seconds: dict[tuple[str, Path], list[float]] = {turn: [] for turn in turns}
        for number in range(rounds):
            for name, file in rotated(turns, number):
                seconds[name, file].append(self.take(name, file))
        return seconds

    def tune(self, file: Path) -> str:
        """Takes the best settings for the rivals in bfloat16 on these rows, and says what was tried."""
        tried = []
        for name, settings, what in ((REQUESTS, BUDGETS, "tokens"), (BEAM, WEIGHTS, "(tokens, rows)")):
            seconds = {}
            for setting in settings:
                self.best[name] = setting
                seconds[setting] = min(self.turns[name](file)[0] for _ in range(2))
            self.best[name] = min(seconds, key=lambda setting: seconds[setting])
            listed = ", ".join(f"{setting}: {took:.2f} s" for setting, took in seconds.items())
            tried.append(f"{name}: {what} {listed}; taken {self.best[name]}")
        return "; ".join(tried)

    def check(self) -> dict[str, float]:
        """The share of rows with another class than this project's in float32, by contestant.

        Raises WrongResultError unless all have scored every row of what they were given as their precision explains.
        """
        changed: dict[str, float] = {}
        for (file, name), found in self.scores.items():
            ours, rows = self.scores[file, OURS], pq.read_metadata(file).num_rows
            share = check_scores(name, found, ours, rows, self.precisions[name])
            changed[name] = max(share, changed.get(name, 0.0))
        return changed
