"""Small plots as SVG in a page: bars and lines by date, histograms, bounds.

They are drawn here and not by matplotlib, which would be a new dependency of every installation: its SVG has fixed
colours (no dark mode), letters that grow and shrink with the page, and no value below the pointer. These stretch to any
width, because everything with letters (titles, ticks) is HTML beside the plot; colours are the classes of the page;
each mark has a `<title>`, which browsers show below the pointer. Coordinates: STEP for each place from left to right, 0
(top) to HEIGHT (bottom).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from pipeline.terminal.escaping import escaped

STEP, HEIGHT = 10, 100
_DOTS = 70
"""With more dates a line has no dots."""
_GAP = 1.2
"""Between two bars."""
_TICKS = 5
_CLOCK = (2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
_NOTHING = 1e-200
"""A smaller number is drawn as 0."""
BARS, LINE, BOUND, BASE = "bars", "line", "bound", "base"
"""Kinds of series, which are classes of the page: what is measured as bars or as a line, its bound, what is usual."""

Values = Sequence[float | None]


class Series(NamedTuple):
    """A value for each place, or None."""

    kind: str
    values: Values
    name: str = ""


class Tick(NamedTuple):
    """A text beside an axis, and where: per cent from the left or from the bottom."""

    text: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot with what stands around it. `description` says in words what it shows."""

    svg: Markup
    up: Sequence[Tick]
    along: Sequence[Tick]
    description: str
    keys: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Places:
    """What is along a plot: a text for the pointer at each place, the ticks, the places that are lifted out.

    `changes`: places before which something begins anew, each with what. `steps`: lines go along each place, as those
    of a histogram do.
    """

    told: Sequence[str]
    ticks: Sequence[Tick]
    chosen: int | None = None
    changes: Sequence[tuple[int, str]] = ()
    over: frozenset[int] = field(default_factory=frozenset)
    steps: bool = False


class Scale(NamedTuple):
    """From `low` (the bottom) to `high`, with so many equal steps between ticks."""

    low: float
    high: float
    steps: int

    @property
    def ticks(self) -> list[float]:
        return [self.low + number * (self.high - self.low) / self.steps for number in range(self.steps + 1)]

    def up(self, value: float) -> float:
        """How far above the bottom a value is, as a share of the height; cut at both ends."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def scale_of(values: Values, *, from_zero: bool, seconds: bool = False) -> Scale:
    """A scale with round numbers that has all values; `from_zero`: as bars need it; `seconds`: round as clocks are."""
    there = [value for value in values if value is not None and math.isfinite(value)]
    low, high = (min(there), max(there)) if there else (0.0, 1.0)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= max(abs(high), abs(low)) * 1e-9 + _NOTHING:
        # All the same: it stands in the middle, or on the ground.
        reach = abs(high) * 0.1 if abs(high) > _NOTHING else 1.0
        low, high = (0.0, 1.0) if from_zero else (low - reach, high + reach)
    step = (_clock_step if seconds else _round_step)((high - low) / 3)
    bottom, top = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Scale(bottom, top, max(1, round((top - bottom) / step)))


def _round_step(least: float) -> float:
    """The next larger one of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= least * (1 - 1e-9))


def _clock_step(least: float) -> float:
    """The next larger one of what a clock is divided in, in seconds; below a second and beyond a day a round number."""
    return next((step for step in _CLOCK if 1 <= least <= step), _round_step(least))


def plot(places: Places, series: Sequence[Series], scale: Scale, ticks: Sequence[str], description: str) -> Plot:
    """Series above each other; `ticks` are the texts of those of the scale."""
    width = STEP * len(places.told)
    parts = [_grid(scale, width)]
    for one in series:
        parts += [*(_bars(one, places, scale) if one.kind == BARS else _line(one, places, scale))]
    parts += [
        Markup('<path class="change" d="M{} 0V{}"><title>{}</title></path>').format(STEP * at, HEIGHT, _text(what))
        for at, what in places.changes
    ]
    parts += [
        Markup('<rect class="hit" x="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            STEP * at, STEP, HEIGHT, _text(told)
        )
        for at, told in enumerate(places.told)
    ]
    svg = Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>').format(
        width, HEIGHT, _text(description), Markup("").join(parts)
    )
    up = [Tick(text, 100 * scale.up(value)) for text, value in zip(ticks, scale.ticks, strict=True)]
    keys = [(one.kind, one.name) for one in series if one.name]
    return Plot(svg=svg, up=up, along=places.ticks, description=description, keys=keys)


def _text(text: str) -> str:
    # Line ends are ours; Markup.format escapes the rest.
    return "\n".join(escaped(line) for line in text.split("\n"))


def _grid(scale: Scale, width: int) -> Markup:
    lines = "".join(f"M0 {_y(scale, value)}H{width}" for value in scale.ticks)
    return Markup('<path class="grid" d="{}"/>').format(lines)


def _y(scale: Scale, value: float) -> str:
    return _short(HEIGHT * (1 - scale.up(value)))


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _bars(series: Series, places: Places, scale: Scale) -> Iterator[Markup]:
    """All bars that look alike are one path: a page of 400 dates has few marks."""
    shapes: dict[str, list[str]] = {}
    ground = HEIGHT * (1 - scale.up(0.0))
    for at, value in enumerate(series.values):
        if value is None:
            continue
        kind = "over" if at in places.over else "now" if at == places.chosen else ""
        top = HEIGHT * (1 - scale.up(value))
        left, right = STEP * at + _GAP / 2, STEP * (at + 1) - _GAP / 2
        shapes.setdefault(kind, []).append(
            f"M{_short(left)} {_short(ground)}V{_short(top)}H{_short(right)}V{_short(ground)}z"
        )
    for kind, paths in shapes.items():
        yield Markup('<path class="{}" d="{}"/>').format(f"{series.kind} {kind}".strip(), "".join(paths))


def _line(series: Series, places: Places, scale: Scale) -> Iterator[Markup]:
    if places.steps:
        drawn = [f"V{_y(scale, value or 0)}H{STEP * (at + 1)}" for at, value in enumerate(series.values)]
        path = f"M0 {_y(scale, 0)}{''.join(drawn)}V{_y(scale, 0)}"
        yield Markup('<path class="{}" d="{}"/>').format(series.kind, path)
        return
    points = [
        None if value is None else (_short(STEP * (at + 0.5)), _y(scale, value))
        for at, value in enumerate(series.values)
    ]
    drawn = []
    for before, point in pairwise([None, *points]):
        if point is not None:
            drawn.append(f"{'M' if before is None else 'L'}{point[0]} {point[1]}")
    # A date without neighbours is a dot.
    alone = [
        point
        for before, point, after in zip([None, *points], points, [*points[1:], None], strict=False)
        if point is not None and before is None and after is None
    ]
    yield Markup('<path class="{}" d="{}"/>').format(series.kind, "".join(drawn))
    if series.kind != LINE:
        yield from _dots("alone " + series.kind, alone)
        return
    there = [point for point in points if point is not None]
    if len(there) <= _DOTS:
        yield from _dots("dot", there)
    else:
        yield from _dots("dot", alone)
    over = [point for at, point in enumerate(points) if point is not None and at in places.over]
    yield from _dots("dot over", over)
    if places.chosen is not None and (now := points[places.chosen]) is not None:
        yield from _dots("dot now" + (" over" if places.chosen in places.over else ""), [now])


def _dots(kind: str, points: Sequence[tuple[str, str]]) -> Iterator[Markup]:
    """Lines of no length with round ends: a circle would be stretched with the plot."""
    if points:
        yield Markup('<path class="{}" d="{}"/>').format(kind, "".join(f"M{x} {y}h0" for x, y in points))


def ticks_along(names: Sequence[str], most: int = _TICKS) -> list[Tick]:
    """Some of the names, evenly, the last one among them."""
    count = len(names)
    every = max(1, math.ceil(count / most))
    chosen = range((count - 1) % every, count, every)
    return [Tick(names[at], 100 * (at + 0.5) / count) for at in chosen]
