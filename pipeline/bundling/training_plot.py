"""A training as a drawing: its epochs, and how its validation rows came out. Plain SVG, without a library for it."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

SIDE, MARGIN, TOP = 240, 60, 50
INK, FAINT, LOSS, TRAINED, METRIC = "#1f2328", "#c8ccd1", "#b35900", "#e0b080", "#1f5f99"
_NAMES = 12
"""More classes have no room for their names."""

Points = Sequence[tuple[float, float]]


def drawing(history: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The SVG of a training/history.json: loss and metric by epoch, then confusion and reliability, or values.

    Of several labels there is no confusion of one with another: the F1 of each is drawn.
    """
    panels = [_epochs(history)]
    if "labels" in history:
        panels += [_each_label(history["labels"]), _reliability(history["reliability"], _GIVEN)]
    elif labels:
        panels += [_confusion(history["confusion"], labels), _reliability(history["reliability"])]
    else:
        panels += [_values(history["values"])]
    width, height = len(panels) * (SIDE + 2 * MARGIN), SIDE + TOP + MARGIN
    moved = (
        f"<g transform='translate({i * (SIDE + 2 * MARGIN) + MARGIN} {TOP})'>{p}</g>" for i, p in enumerate(panels)
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
        f"font-family='sans-serif' font-size='11' fill='{INK}'>\n<rect width='100%' height='100%' fill='#ffffff'/>\n"
        + "\n".join(moved)
        + "\n</svg>\n"
    )


def _epochs(history: Mapping[str, Any]) -> str:
    epochs, best = history["epochs"], history["best_epoch"]
    metric = next(name for name in ("average_precision", "macro_f1", "pearson") if name in epochs[0]["validation"])
    last = max(2, epochs[-1]["epoch"])
    losses = {
        TRAINED: [(at["epoch"], at["loss"]) for at in epochs],
        LOSS: [(at["epoch"], at["validation"]["loss"]) for at in epochs],
    }
    highest = max(loss for line in losses.values() for _, loss in line) or 1.0
    lines = [
        _line([((x - 1) / (last - 1), y / highest) for x, y in points], colour) for colour, points in losses.items()
    ]
    measured = [((at["epoch"] - 1) / (last - 1), max(0.0, at["validation"][metric])) for at in epochs]
    there = (best - 1) / (last - 1) * SIDE
    return "\n".join(
        [
            _frame(f"epochs 1 to {epochs[-1]['epoch']}, best {best}", ("1", str(last)), ("0", f"{highest:.3g} loss")),
            f"<path d='M{there:.1f} 0V{SIDE}' stroke='{FAINT}' stroke-dasharray='4 3'/>",
            *lines,
            _line(measured, METRIC),
            _text(SIDE + 4, 10, "1", METRIC),
            _text(4, -6, "training loss", TRAINED),
            _text(84, -6, "validation loss", LOSS),
            _text(174, -6, f"{metric}, 0 to 1", METRIC),
        ]
    )


def _confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    cell = SIDE / len(counts)
    parts = [_frame("rows: right class; columns: predicted", ("", ""), ("", ""))]
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            if count:
                share = count / sum(row)
                place = f"x='{x * cell:.1f}' y='{y * cell:.1f}' width='{cell:.1f}' height='{cell:.1f}'"
                colour = METRIC if x == y else LOSS
                parts.append(f"<rect {place} fill='{colour}' fill-opacity='{max(0.08, share):.2f}'/>")
                if len(labels) <= _NAMES:
                    parts.append(_text((x + 0.5) * cell, (y + 0.5) * cell + 4, str(count), anchor="middle"))
    if len(labels) <= _NAMES:
        parts += [_text(-4, (y + 0.5) * cell + 4, _short(name), anchor="end") for y, name in enumerate(labels)]
    return "\n".join(parts)


def _each_label(labels: Mapping[str, Mapping[str, float]]) -> str:
    """A bar for each label, the best first."""
    ranked = sorted(labels.items(), key=lambda entry: -entry[1]["f1"])
    height = SIDE / len(ranked)
    parts = [_frame("F1 of each label on the validation rows", ("0", "1"), ("", ""))]
    for y, (name, found) in enumerate(ranked):
        place = f"x='0' y='{y * height:.1f}' width='{found['f1'] * SIDE:.1f}' height='{height * 0.8:.1f}'"
        parts.append(f"<rect {place} fill='{METRIC}' fill-opacity='0.6'/>")
        if len(ranked) <= _NAMES:
            parts.append(_text(-4, (y + 0.5) * height + 4, _short(name), anchor="end"))
    return "\n".join(parts)


_PREDICTED = "probability of the predicted class, and how often it is right"
_GIVEN = "probability of a label, and how often a text has it"


def _reliability(steps: Sequence[Mapping[str, float]], title: str = _PREDICTED) -> str:
    points = [(step["probability"], step["accuracy"]) for step in steps]
    most = max(step["rows"] for step in steps)
    dots = [_dot(x, y, 2 + 5 * step["rows"] / most) for (x, y), step in zip(points, steps, strict=True)]
    frame = _frame(title, ("0", "1"), ("0", "1"))
    return "\n".join([frame, _line([(0, 0), (1, 1)], FAINT), _line(points, METRIC), *dots])


def _values(pairs: Sequence[Sequence[float]]) -> str:
    every = [value for pair in pairs for value in pair]
    low, high = min(every), max(every)
    spread = (high - low) or 1.0
    dots = [_dot((right - low) / spread, (predicted - low) / spread, 2) for right, predicted in pairs]
    ends = (f"{low:.3g}", f"{high:.3g}")
    return "\n".join([_frame("right value, and predicted", ends, ends), _line([(0, 0), (1, 1)], FAINT), *dots])


def _frame(title: str, across: tuple[str, str], up: tuple[str, str]) -> str:
    def parts() -> Iterator[str]:
        yield f"<rect width='{SIDE}' height='{SIDE}' fill='none' stroke='{FAINT}'/>"
        yield _text(SIDE / 2, -26, title, anchor="middle")
        yield _text(0, SIDE + 16, across[0])
        yield _text(SIDE, SIDE + 16, across[1], anchor="end")
        yield _text(-4, SIDE, up[0], anchor="end")
        yield _text(-4, 10, up[1], anchor="end")

    return "\n".join(parts())


def _line(points: Points, colour: str) -> str:
    path = " ".join(f"{x * SIDE:.1f},{(1 - y) * SIDE:.1f}" for x, y in points)
    return f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='1.5'/>"


def _dot(x: float, y: float, radius: float) -> str:
    return (
        f"<circle cx='{x * SIDE:.1f}' cy='{(1 - y) * SIDE:.1f}' r='{radius:.1f}' fill='{METRIC}' fill-opacity='0.6'/>"
    )


def _text(x: float, y: float, words: str, colour: str = INK, anchor: str = "start") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' fill='{colour}' text-anchor='{anchor}'>{escape(words)}</text>"


def _short(name: str) -> str:
    # What is no character of XML, or of a line, has no place in a drawing.
    shown = "".join(c if c.isprintable() else " " for c in name)
    return shown if len(shown) <= 9 else f"{shown[:8]}…"
