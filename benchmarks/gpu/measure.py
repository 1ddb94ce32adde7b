"""Measures the programs of a workload through one runtime, and keeps the figures as JSON, program by program."""

import datetime as dt
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from benchmarks.gpu.workload import Array, Program, Rows, Workload, difference, flop, references

Score = Callable[[Rows], Array]

TOLERANCE = {"float32": 0.01, "float16": 0.02, "bfloat16": 0.1}
"""Largest `difference` from TensorFlow's float32 that rounding explains (a GPU's float32 products may be TF32).

Without the mask it is 0.2 to 0.4, with one wrong token a row 0.1 to 0.4 (BERT-base sizes).
"""

PRODUCTS = 20
_WARM_UP, _AT_LEAST, _AT_MOST = 2, 5, 200
_SECONDS = {"gpu": 1.0, "cpu": 0.05}


@dataclass(frozen=True, kw_only=True)
class About:
    """What was measured on: `runtime` in words, the device's name, its kind (gpu or cpu), versions by package."""

    runtime: str
    device: str
    kind: str
    versions: dict[str, str]


class Runtime(Protocol):
    """A way to run the programs. `whole_last_layer`: it computes all rows of the last layer, not only [CLS]."""

    about: About
    whole_last_layer: bool

    def multiply(self, precision: str, side: int) -> Callable[[], object]:
        """A function that makes PRODUCTS square products of random numbers and returns when they are done."""

    def compile(self, program: Program) -> Score:
        """Rows in numpy -> logits in numpy; compiled by the time this returns, or by the first call."""

    def forget_peak(self) -> None:
        """The next `peak_bytes` counts from here."""

    def peak_bytes(self) -> int | None:
        """Device memory that the program compiled last needs, weights included; None if the runtime does not tell."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One program: median and best seconds of a run, rows in and logits out included; or why it `failed`.

    `error` is the `difference` from TensorFlow, `peak` the flop/s of the square product in the same call.
    """

    precision: str
    rows: int
    width: int
    flop: float
    peak: float
    seconds: float = 0
    best: float = 0
    runs: int = 0
    compile_seconds: float = 0
    peak_bytes: int | None = None
    error: float = 0
    failed: str = ""

    @property
    def tokens(self) -> int:
        return self.rows * self.width

    @property
    def name(self) -> str:
        return f"{self.precision}-{self.rows}x{self.width}"


@dataclass(kw_only=True)
class Results:
    """Everything measured through one runtime on one device for one workload."""

    about: About
    workload: str
    sizes: str
    token_budget: int
    curve_width: int
    product: int
    exported: str
    date: str = ""
    measured: list[Figures] = field(default_factory=list)

    @classmethod
    def load(cls, file: Path) -> Self:
        fields = json.loads(file.read_bytes())
        measured = [Figures(**figures) for figures in fields.pop("measured")]
        return cls(**{**fields, "about": About(**fields["about"]), "measured": measured})

    def save(self, file: Path) -> None:
        self.date = dt.date.today().isoformat()
        file.write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def measure(
    runtime: Runtime,
    workload: Workload,
    folder: Path,
    file: Path,
    *,
    precisions: Sequence[str],
    limit: float = math.inf,
) -> Iterator[Figures]:
    """Measures what `file` does not hold yet, and adds it there; starts nothing more after `limit` seconds.

    Raises ValueError if `file` holds figures of another device, runtime or workload.
    """
    started = time.monotonic()
    results = _continue(file, runtime.about, workload)
    expected = references(folder)
    peaks: dict[str, float] = {}
    for program in left(workload, file, precisions):
        if time.monotonic() - started > limit:
            break
        if program.precision not in peaks:
            peaks[program.precision] = _peak(runtime, program.precision, workload.product)
        figures = _figures(runtime, workload, program, expected[program.width], peaks[program.precision])
        results.measured = [old for old in results.measured if old.name != program.name] + [figures]
        results.save(file)
        yield figures


def left(workload: Workload, file: Path, precisions: Sequence[str]) -> list[Program]:
    """The programs whose figures `file` does not hold; those that failed may be tried again."""
    measured = Results.load(file).measured if file.is_file() else []
    done = {figures.name for figures in measured if not figures.failed}
    return [one for one in workload.programs if one.precision in precisions and one.name not in done]


def wrong(figures: Figures) -> bool:
    """Whether the program failed or computed something else than TensorFlow."""
    return bool(figures.failed) or figures.error > TOLERANCE[figures.precision]


def _continue(file: Path, about: About, workload: Workload) -> Results:
    new = Results(
        about=about,
        workload=workload.fingerprint,
        sizes=workload.sizes,
        token_budget=workload.token_budget,
        curve_width=workload.curve_width,
        product=workload.product,
        exported=f"TensorFlow {workload.tensorflow}, seed {workload.seed}",
    )
    if not file.is_file():
        return new
    old = Results.load(file)
    if (old.about, old.workload) != (new.about, new.workload):
        raise ValueError(
            f"{file} holds figures of {old.about.runtime} on {old.about.device} for workload {old.workload}, now it is "
            f"{about.runtime} on {about.device} for {new.workload}, or other versions; name another file (--results)"
        )
    return old


def _figures(runtime: Runtime, workload: Workload, program: Program, expected: Array, peak: float) -> Figures:
    work = flop(workload, program.rows, program.width, whole_last_layer=runtime.whole_last_layer)
    figures = Figures(precision=program.precision, rows=program.rows, width=program.width, flop=work, peak=peak)
    rows = workload.draw_rows(program.width, program.shortest, program.rows)
    try:
        start = time.monotonic()
        score = runtime.compile(program)
        error = difference(score(rows), expected)
        compiled = time.monotonic() - start
        if not math.isfinite(error):
            raise ValueError("logits that are not finite")
        runtime.forget_peak()
        seconds = _time(lambda: score(rows), _SECONDS[runtime.about.kind])
        return replace(
            figures,
            seconds=statistics.median(seconds),
            best=min(seconds),
            runs=len(seconds),
            compile_seconds=compiled,
            peak_bytes=runtime.peak_bytes(),
            error=error,
        )
    except Exception as error:
        # One shape that does not fit the memory must not cost the others: every runtime has its own class for it.
        first_line = (str(error).splitlines() or [""])[0]
        return replace(figures, failed=f"{type(error).__name__}: {first_line}"[:300])


def _peak(runtime: Runtime, precision: str, side: int) -> float:
    seconds = _time(runtime.multiply(precision, side), _SECONDS[runtime.about.kind])
    return float(PRODUCTS * 2 * side**3 / min(seconds))


def _time(run: Callable[[], object], enough: float) -> list[float]:
    """Seconds of each run, after a warm-up."""
    seconds: list[float] = []
    for _ in range(_WARM_UP):
        run()
    while len(seconds) < _AT_LEAST or (sum(seconds) < enough and len(seconds) < _AT_MOST):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def random_square(side: int) -> Array:
    """Never zeros: a device can be faster on those."""
    return np.random.default_rng(side).standard_normal((side, side), np.float32)
