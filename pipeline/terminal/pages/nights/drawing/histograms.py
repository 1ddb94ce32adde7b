"""Histograms of one date beside the last dates and the baseline of the bundle."""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.terminal.pages.nights.drawing import bins
from pipeline.terminal.pages.nights.drawing.figures import Figure, ticks_of
from pipeline.terminal.pages.nights.drawing.plots import (
    BARS,
    BASE,
    BOUND,
    Places,
    Series,
    Tick,
    plot,
    scale_of,
    ticks_along,
)
from pipeline.terminal.pages.nights.night import Histogram
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.telling.usual import LAST, alike
from pipeline.terminal.pages.nights.telling.words import STATISTICS, shown
from transforms.outputs.summary.statistics import SHARE_BINS

_BELOW = (0.5, 0.9)
"""Probabilities below which rows are counted: edges of bins."""


def histograms(history: History, baseline: Mapping[str, Histogram]) -> Iterator[Figure]:
    """What probabilities, values and lengths of the chosen date are like, beside the last dates and the baseline."""
    references = alike(history.chosen, history.before)[-LAST:]
    for name in ("value", "probability", "token_count"):
        own = history.chosen.histograms.get(name)
        if own is not None and own.rows and _isdrawn_by_date(name, own):
            there = [one.histograms[name] for one in references if name in one.histograms]
            sides = (own, bins.together(there), baseline.get(name))
            yield _histogram(name, *sides, dates=len(there))


def _isdrawn_by_date(name: str, own: Histogram) -> bool:
    """Whether rows are in bins that there are."""
    there = bins.LENGTHS if name == "token_count" else range(SHARE_BINS if name == "probability" else 1 << 12)
    return any(bins.shares(own, there))


def _histogram(name: str, own: Histogram, known: Histogram | None, base: Histogram | None, dates: int) -> Figure:
    columns, ticks, cells = _cells(name, [one for one in (own, known, base) if one])
    here = columns[0]
    usual = columns[1] if known else None
    fixed = columns[-1] if base else None
    series = [Series(BARS, here, "this date")]
    if usual is not None:
        series.append(Series(BASE, usual, f"the last {dates} dates" if dates > 1 else "the last date"))
    if fixed is not None:
        series.append(Series(BOUND, fixed, "baseline: validation rows of the training"))
    told = []
    for at, cell in enumerate(cells):
        more = f"\nusually {shown(usual[at], 'share')}" if usual is not None else ""
        more += f"\nbaseline {shown(fixed[at], 'share')}" if fixed is not None else ""
        told.append(f"{cell}: {shown(here[at], 'share')}{more}")
    scale = scale_of([value for one in series for value in one.values], from_zero=True)
    words = STATISTICS[name]
    title = {"value": "Values", "probability": "Probability of the label", "token_count": "Length in tokens"}[name]
    most = max(range(len(here)), key=lambda at: here[at])
    description = f"{title}, shares of the rows; most, {shown(here[most], 'share')}, are at {cells[most]}"
    drawn = plot(Places(told=told, ticks=ticks, steps=True), series, scale, ticks_of(scale.ticks, "share"), description)
    mean = own.mean(name)
    return Figure(
        name=f"histogram-{name}",
        title=f"{title}, share of the rows",
        number="" if mean is None else f"mean {shown(mean, words.form)}",
        plot=drawn,
        notes=[*_notes(name, own, known)],
    )


def _notes(name: str, own: Histogram, known: Histogram | None) -> Iterator[str]:
    if name == "token_count":
        yield "Towards the right a bar stands for more lengths. All have the same axis."
    if own.mean(name) is None:
        yield "No mean: values beyond a million, of which there are some, count as a million in a sum."
    for edge in _BELOW if name == "probability" else ():
        below = range(round(edge * SHARE_BINS))
        count = round(own.rows * sum(bins.shares(own, below)))
        usually = f", usually {shown(sum(bins.shares(known, below)), 'share')}" if known else ""
        yield f"Below {edge:g}: {count:,} of {own.rows:,} rows ({shown(count / own.rows, 'share')}{usually})"


def _cells(name: str, sides: Sequence[Histogram]) -> tuple[list[list[float]], list[Tick], list[str]]:
    """Shares by bin of each side, the ticks below, and what each bin is."""
    if name == "value":
        reach = bins.value_range(sides)
        assert reach is not None
        width = (reach[1] - reach[0]) / bins.VALUE_BARS
        edges = [reach[0] + at * width for at in range(bins.VALUE_BARS + 1)]
        ticks = [Tick(f"{edges[at]:.3g}", 100 * at / bins.VALUE_BARS) for at in range(0, bins.VALUE_BARS + 1, 6)]
        cells = [f"{edges[at]:.3g} to {edges[at + 1]:.3g}" for at in range(bins.VALUE_BARS)]
        return [bins.value_bars(one, reach) for one in sides], ticks, cells
    if name == "probability":
        # From 0 on: where nothing is, is something to see.
        numbers = range(SHARE_BINS)
        ticks = [Tick(f"{at / 4:g}", 25.0 * at) for at in range(5)]
        cells = [f"{low:.2f} to {high:.2f}" for low, high in map(bins.share_edges, numbers)]
        return [bins.shares(one, numbers) for one in sides], ticks, cells
    there = bins.filled(sides)
    lengths = [number for number in bins.LENGTHS if number in there]
    spans = [bins.length_counts(number) or (0, 0) for number in lengths]
    names = [f"{low}" if low == high else f"{low:,}–{high:,}" for low, high in spans]
    return [bins.shares(one, lengths) for one in sides], ticks_along(names), [f"{one} tokens" for one in names]
