"""Level g: texts an hour on one machine, by size of the model, length of the texts and precision."""

import os
import statistics
from collections.abc import Sequence

from benchmarks.harness.contest import Contestant, rotated
from benchmarks.harness.report import Bar, Section
from benchmarks.levels.scale import Scale, lacks_amx
from benchmarks.paths import CACHE
from benchmarks.workloads import files, models

CORES = 2
PRECISIONS = ("float32", "bfloat16")
ROWS = {
    ("tiny", "short_numbered"): 30_000,
    ("tiny", "mixture_numbered"): 8_000,
    ("minilm", "short_numbered"): 4_000,
    ("minilm", "mixture_numbered"): 1_000,
    ("base", "short_numbered"): 600,
    ("base", "mixture_numbered"): 160,
}
"""(model, texts) -> rows: some seconds each."""
TEXTS = {"short_numbered": "short", "mixture_numbered": "mixed"}
LIMITS = {
    ("tiny", "short_numbered"): (17_000_000, 43_000_000),
    ("tiny", "mixture_numbered"): (5_000_000, 13_000_000),
    ("minilm", "short_numbered"): (1_100_000, 3_600_000),
    ("minilm", "mixture_numbered"): (290_000, 970_000),
    ("base", "short_numbered"): (140_000, 540_000),
    ("base", "mixture_numbered"): (51_000, 186_000),
}
"""(model, texts) -> texts an hour in float32 and bfloat16, on two cores with AMX: four fifths of the first figures."""
OUTPUT = str(CACHE / "scored")


def texts_an_hour(scale: Scale) -> list[Section]:
    """Level g: whole jobs, Parquet to Parquet, less a job of one row."""
    cases = [(model, texts) for model, texts in ROWS if scale.model == "base" or model == "tiny"]
    header = ["model", "texts", "rows", "tokens a row", "computes in", "engine", "seconds", "texts an hour"]
    rows: list[Sequence[object]] = [header]
    bars = []
    for model, texts in cases:
        found = _case(scale, model, texts)
        for precision, (engine, tokens, seconds) in found.items():
            count = _rows(scale, model, texts)
            hourly = [count / each * 3_600 for each in seconds]
            middle = statistics.median(hourly)
            row = [model, TEXTS[texts], count, tokens / count, precision, engine, statistics.median(seconds)]
            rows.append([*row, middle])
            bars.append(_bar(model, texts, precision, hourly))
    text = (
        "Whole jobs on all cores of one machine, random weights: tiny has 2 layers of 128, MiniLM 6 of 384, base 12 of "
        "768. Short: titles and sentences of SST-2 and AG News; mixed: as in (d). Every text has a number in front, so "
        "that none is a copy. Start-up is excluded. The limits are for two cores with AMX: four fifths of what was "
        "measured there when they were set."
    )
    return [Section(title="(g) Texts an hour", text=text, rows=rows, bars=bars)]


def _rows(scale: Scale, model: str, texts: str) -> int:
    return ROWS[model, texts] // scale.hour_share


def _case(scale: Scale, model: str, texts: str) -> dict[str, tuple[str, int, list[float]]]:
    """Precision -> engine, tokens and seconds of every round; both precisions by turns in one live process."""
    file = str(files.parquet(texts, _rows(scale, model, texts)))
    one = str(files.parquet(texts, 1))
    given = {"bundle": str(models.bundle(model)), "output": OUTPUT}
    found: dict[str, tuple[str, int, list[float]]] = {}
    with Contestant("this project", "ours") as ours:
        for number in range(scale.hour_rounds + 1):
            for precision in rotated(PRECISIONS, number):
                start, job = (ours.ask("job", input=each, precision=precision, **given) for each in (one, file))
                if number == 0:
                    found[precision] = (job["engine"], job["tokens"], [])
                else:
                    found[precision][2].append(job["seconds"] - start["seconds"])
    return found


def _bar(model: str, texts: str, precision: str, hourly: Sequence[float]) -> Bar:
    what = f"(g) texts an hour, {model}, {TEXTS[texts]}, {precision}"
    limit = LIMITS[model, texts][PRECISIONS.index(precision)]
    lacks = lacks_amx() or (f"needs {CORES} cores" if os.cpu_count() != CORES else None)
    if lacks is not None:
        return Bar.unmeasured(what, limit, lacks)
    spread = f"{min(hourly):,.0f} to {max(hourly):,.0f}"
    return Bar(what=what, value=statistics.median(hourly), limit=limit, spread=spread)
