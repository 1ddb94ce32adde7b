"""benchmarks/reports/GPU.md, from what was measured and nothing else."""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.measure import TOLERANCE, Figures, Results, wrong
from benchmarks.gpu.workload import CHECKED_ROWS
from benchmarks.paths import REPORTS

GPU_REPORT = REPORTS / "GPU.md"
CLOSE = 0.95
"""The smallest token budget that reaches this share of the best speed is named."""

_HEAD = "tokens | ms | tokens/s | TFLOP/s | share of peak | MiB | differs |"
_EXPLAINED = """`make gpu-bench` made these figures. A run takes rows from host memory and ends with logits there; ms
is the median of its runs. Tokens count padding. TFLOP/s are those of the products that the network needs (of the
last layer only [CLS]; with PyTorch all); the peak is that of a square product of random numbers, {side:,} a side, in
the same precision and the same call (float32 may be TF32 in both). MiB is device memory, weights included: what the
compiled program needs (JAX), or the allocator's peak (TensorFlow, PyTorch). "Differs" compares the logits of up to
{rows} rows with TensorFlow's float32 on a CPU: their distance, divided by that of the rows from their mean. Exported by
{exported}.
"""


def write_report(files: Sequence[Path], output: Path | None) -> None:
    """Writes to `output`; without one, BERT-base on a GPU goes to GPU_REPORT and anything else to the terminal.

    Raises ValueError for figures that do not belong together, and for others than those to go to GPU_REPORT.
    """
    if missing := [str(file) for file in files if not file.is_file()]:
        raise ValueError(
            f"no results in {', '.join(missing)}; `python -m benchmarks.gpu measure` and `competitor` write them"
        )
    results = [Results.load(file) for file in files]
    if len({result.workload for result in results}) > 1:
        raise ValueError(f"{', '.join(map(str, files))} are of different workloads; report on one at a time")
    text = markdown(results)
    unfit = [_unfit(result) for result in results if _unfit(result)]
    if output is None and unfit:
        sys.stdout.write(text)
        return
    output = output or GPU_REPORT
    if unfit and output.resolve() == GPU_REPORT:
        raise ValueError(f"{GPU_REPORT.name} is for BERT-base on a GPU, not for {', '.join(unfit)}; name another file")
    output.write_text(text, encoding="utf-8")


def _unfit(result: Results) -> str:
    fits = (result.sizes, result.about.kind) == ("base", "gpu")
    return "" if fits else f"BERT-{result.sizes} on a {result.about.kind.upper()}"


def markdown(results: Sequence[Results]) -> str:
    """The whole report."""
    sizes = results[0].sizes
    kinds = "a GPU" if all(result.about.kind == "gpu" for result in results) else "a CPU: NOT figures of a GPU"
    explained = {"side": results[0].product, "rows": CHECKED_ROWS, "exported": results[0].exported}
    parts = [f"# BERT-{sizes} sizes with random weights on {kinds}\n", _EXPLAINED.format(**explained)]
    parts += [_section(result) for result in results]
    ours = [result for result in results if not _competes(result)]
    parts += [_comparison(one, other) for one in ours for other in results if _competes(other)]
    return "\n".join(part for part in parts if part)


def line(figures: Figures) -> str:
    """One program, for the terminal."""
    if figures.failed:
        return f"{figures.name:<24} FAILED {figures.failed}"
    return (
        f"{figures.name:<24} {figures.seconds * 1e3:10.3f} ms {_rate(figures):12,.0f} tokens/s "
        f"{figures.flop / figures.seconds / figures.peak:7.1%} of {figures.peak / 1e12:.2f} TFLOP/s "
        f"{_mebibytes(figures):>8} MiB  differs {_difference(figures)}  compiled in {figures.compile_seconds:.1f} s"
    )


def _section(result: Results) -> str:
    about = result.about
    versions = ", ".join(f"{name} {version}" for name, version in about.versions.items())
    parts = [f"## {about.runtime} on {about.device}\n\n{result.date}; {versions}.\n"]
    shapes = [figures for figures in result.measured if figures.tokens == result.token_budget]
    rows = [f"| {figures.precision} | {figures.rows} x {figures.width} {_columns(figures)}" for figures in shapes]
    parts.append(_table(f"| precision | shape | {_HEAD}", rows))
    wanted = (result.curve_width, "float16")
    curve = [figures for figures in result.measured if (figures.width, figures.precision) == wanted]
    parts.append(_curve(sorted(curve, key=lambda figures: figures.tokens), result))
    return "\n".join(part for part in parts if part)


def _curve(curve: list[Figures], result: Results) -> str:
    good = [figures for figures in curve if not wrong(figures)]
    if len(good) < 2:
        return ""
    rows = [f"| {figures.rows} {_columns(figures)}" for figures in curve]
    text = f"Token budgets, float16, width {result.curve_width}:\n\n" + _table(f"| rows | {_HEAD}", rows)
    return text if _competes(result) else f"{text}\n{_choice(good, result.token_budget)}\n"


def _choice(curve: list[Figures], budget: int) -> str:
    best = max(map(_rate, curve))
    enough = next(figures for figures in curve if _rate(figures) >= CLOSE * best)
    now = "".join(
        f" Production's, {budget:,}, reaches {_rate(figures) / best:.1%}."
        for figures in curve
        if figures.tokens == budget
    )
    return f"The smallest budget with {CLOSE:.0%} of the best speed is {enough.tokens:,}.{now}"


def _comparison(ours: Results, other: Results) -> str:
    if ours.about.device != other.about.device:
        return ""
    theirs = {figures.name: figures for figures in other.measured if not wrong(figures)}
    rows = [
        f"| {mine.precision} | {mine.rows} x {mine.width} | {_rate(mine):,.0f} | {_rate(theirs[mine.name]):,.0f} "
        f"| {_rate(mine) / _rate(theirs[mine.name]):.2f} |"
        for mine in ours.measured
        if mine.name in theirs and not wrong(mine)
    ]
    title = f"## {ours.about.runtime} against {other.about.runtime}\n\n"
    title += f"Measured one after the other on {ours.about.device}.\n\n"
    return title + _table("| precision | shape | tokens/s | theirs | ours ÷ theirs |", rows)


def _competes(result: Results) -> bool:
    return "torch" in result.about.versions


def _table(head: str, rows: list[str]) -> str:
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *rows]) + "\n"


def _columns(figures: Figures) -> str:
    if figures.failed:
        return f"| {figures.tokens:,} | failed: {figures.failed.replace('|', '/')} | | | | | |"
    speed = figures.flop / figures.seconds
    return (
        f"| {figures.tokens:,} | {figures.seconds * 1e3:.3f} | {_rate(figures):,.0f} | {speed / 1e12:.2f} "
        f"| {speed / figures.peak:.1%} of {figures.peak / 1e12:.2f} | {_mebibytes(figures)} | {_difference(figures)} |"
    )


def _rate(figures: Figures) -> float:
    return figures.tokens / figures.seconds


def _mebibytes(figures: Figures) -> str:
    return "n/a" if figures.peak_bytes is None else f"{figures.peak_bytes / 2**20:,.0f}"


def _difference(figures: Figures) -> str:
    limit = TOLERANCE[figures.precision]
    return f"**{figures.error:.1e}, above {limit}**" if wrong(figures) else f"{figures.error:.1e}"
