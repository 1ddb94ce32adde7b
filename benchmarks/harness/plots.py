"""Plots of `make bench` as PNG files beside the report, drawn with the peers' Python.

.venv-peers/bin/python -m benchmarks.harness.plots FIGURES.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.paths import REPORTS


def model_step(shapes: dict[str, dict[str, float]]) -> None:
    """Rows/s of each contestant, relative to this project's."""
    figure, axes = plt.subplots(1, len(shapes), figsize=(4.5 * len(shapes), 2.6), sharey=True, squeeze=False)
    for axis, (shape, speeds) in zip(axes[0], shapes.items(), strict=True):
        names = list(speeds)[::-1]
        colors = ["#1f5f99" if name.startswith("this project") else "#9db4c8" for name in names]
        bars = axis.barh(names, [speeds[name] for name in names], color=colors)
        axis.bar_label(bars, fmt="%.1f", padding=2)
        axis.set_title(f"BERT-base, {shape} tokens")
        axis.set_xlabel("rows/s")
        axis.margins(x=0.15)
    _save(figure, "model_step")


def token_budget(lines: dict[str, dict[str, float]]) -> None:
    """Tokens/s over the tokens of a micro-batch."""
    figure, axis = plt.subplots(figsize=(4.5, 2.6))
    for (name, speeds), color in zip(lines.items(), ("#9db4c8", "#1f5f99"), strict=True):
        axis.plot([int(size) for size in speeds], list(speeds.values()), marker="o", color=color, label=name)
    axis.legend(frameon=False)
    axis.set_xscale("log", base=2)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("tokens of a micro-batch")
    axis.set_ylabel("tokens/s")
    _save(figure, "token_budget")


def _save(figure: Any, name: str) -> None:
    figure.tight_layout()
    figure.savefig(REPORTS / f"{name}.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    DRAW = {"model_step": model_step, "token_budget": token_budget}
    for plot in json.loads(Path(sys.argv[1]).read_text()):
        for name, figures in plot.items():
            DRAW[name](figures)
