"""Which plots a report has: by date, and histograms of one date beside what is usual."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.terminal.pages.nights.drawing import bins
from pipeline.terminal.pages.nights.drawing.plots import (
    BARS,
    BASE,
    BOUND,
    LINE,
    Places,
    Plot,
    Series,
    Tick,
    Values,
    plot,
    scale_of,
    ticks_along,
)
from pipeline.terminal.pages.nights.night import Histogram, Night, figure_of
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.telling.usual import LAST, alike
from pipeline.terminal.pages.nights.telling.words import STATES, STATISTICS, day, name_of, shown, title_of
from transforms.outputs.drift.record import BASELINE, DATES, is_known
from transforms.outputs.summary.statistics import SHARE_BINS

Measure = Callable[[Night], float | None]
_SHOWN_BY_DATE = ("value", "labels_given", "probability", "token_count", "truncated", "unknown_tokens")
"""Statistics whose figure is drawn by date, of those that there are; all others are in the plots of the drift."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot with its title, the number of the chosen date, and whether that is to be lifted out."""

    name: str
    title: str
    number: str
    plot: Plot
    over: bool = False


def by_date(
    history: History, name: str, title: str, measure: Measure, form: str, *, bars: bool = False
) -> Figure | None:
    """A number by date; None if no date has it, or it is always 0."""
    values = [measure(night) for night in history.nights]
    if not any(values):
        return None
    number = shown(measure(history.chosen), form)
    series = [Series(BARS if bars else LINE, values)]
    drawn = _drawn(history, values, series, form, from_zero=bars, what=title)
    return Figure(name=name, title=title, number=number, plot=drawn)


def _drawn(
    history: History,
    values: Values,
    series: Sequence[Series],
    form: str,
    *,
    from_zero: bool,
    what: str,
    over: frozenset[int] = frozenset(),
    more: Mapping[int, str] | None = None,
) -> Plot:
    nights = history.nights
    told = [
        f"{day(night.date)}: {shown(value, form) if value is not None else STATES.get(night.state, night.state)}"
        + (more or {}).get(at, "")
        + ("" if night.is_published or value is None else f"\n{STATES.get(night.state, night.state)}")
        for at, (night, value) in enumerate(zip(nights, values, strict=True))
    ]
    scale = scale_of([value for one in series for value in one.values], from_zero=from_zero)
    places = Places(
        told=told,
        ticks=ticks_along([f"{night.date.day} {night.date:%b}" for night in nights]),
        chosen=nights.index(history.chosen),
        changes=changes(history),
        over=over,
    )
    there = [value for value in values if value is not None]
    words = f"{what}, {len(nights)} dates from {nights[0].date.isoformat()} to {nights[-1].date.isoformat()}"
    if there:
        least, most = shown(min(there), form), shown(max(there), form)
        own = shown(values[places.chosen or 0], form)
        words += f": lowest {least}, highest {most}, on {history.chosen.date.isoformat()} {own}"
    return plot(places, series, scale, _ticks(scale.ticks, form), words)


def _ticks(values: Sequence[float], form: str) -> list[str]:
    if form == "share":
        return [f"{100 * value:.6g} %" for value in values]
    if form == "seconds":
        return [shown(value, form) for value in values]
    return [_compact(value) for value in values]


def _compact(value: float) -> str:
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 10 * size or (size > 1e3 and abs(value) >= size):
            return f"{value / size:.4g}{letter}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def changes(history: History) -> list[tuple[int, str]]:
    """The dates from which on another model, or another precision, made the scores."""
    found = []
    last: Night | None = None
    for at, night in enumerate(history.nights):
        if not (night.is_published and night.bundle):
            continue
        if last is not None and night.fingerprint != last.fingerprint:
            found.append((at, f"{day(night.date)}: a new model, {night.short_bundle}"))
        elif last is not None and night.precision != last.precision:
            found.append((at, f"{day(night.date)}: precision {night.precision}, before {last.precision}"))
        last = night
    return found


def rows_by_date(history: History) -> list[Figure]:
    """Rows, dead letters, duplicates, rows taken over, speed."""
    skipped = any(night.counts.get("skipped") for night in history.nights)
    asked: list[tuple[str, str, Measure, str]] = [
        ("rows", "Rows", lambda one: one.rows, "count"),
        ("dead", "Dead letters, share of the rows read", lambda one: one.dead_share, "share"),
        ("duplicates", "Duplicate texts, share of the rows scored", lambda one: one.duplicates_share, "share"),
    ]
    if skipped:
        asked.append(("skipped", "Rows with earlier scores (--only-new)", lambda one: one.skipped_share, "share"))
    found = [by_date(history, name, title, measure, form, bars=True) for name, title, measure, form in asked]
    return [one for one in found if one is not None]


def speed_by_date(history: History) -> list[Figure]:
    """Rows a second of the whole run, and how long it took."""
    found = [
        by_date(history, "speed", "Rows a second, from start to publication", lambda one: one.rows_a_second, "speed"),
        by_date(
            history, "seconds", "From start to publication, hours:minutes:seconds", lambda one: one.seconds, "seconds"
        ),
    ]
    return [one for one in found if one is not None]


def figures_by_date(history: History) -> list[Figure]:
    """The figure of each statistic that is drawn by date."""
    found = []
    for name in _SHOWN_BY_DATE:
        words = STATISTICS[name]
        found.append(by_date(history, name, title_of(name), figure_of(name), words.form, bars=words.form == "share"))
    return [one for one in found if one is not None]


def drift_by_date(history: History, reference: str) -> tuple[list[Figure], str]:
    """Distance and bound of each statistic by date, those beyond their bound first; and which were always 0 away."""
    entries = [night.drift[reference] if is_known(night.drift) else {} for night in history.nights]
    chosen = entries[history.nights.index(history.chosen)]
    names = dict.fromkeys(name for one in (chosen, *reversed(entries)) for name in one)
    against = "the dates before" if reference == DATES else "the baseline"
    found, still = [], []
    for name in names:
        distances, limits = (
            [one[name][key] if name in one else None for one in entries] for key in ("distance", "bound")
        )
        if not any(distances):
            still.append(name_of(name))
            continue
        beyond = frozenset(
            at
            for at, (value, bound) in enumerate(zip(distances, limits, strict=True))
            if value is not None and bound is not None and value > bound
        )
        more = {
            at: f"\nbound {bound:.3f}" + (", beyond it" if at in beyond else "")
            for at, bound in enumerate(limits)
            if bound is not None
        }
        series = [Series(BOUND, limits, "bound"), Series(LINE, distances, "distance")]
        what = f"Drift of {name_of(name)} from {against}"
        drawn = _drawn(history, distances, series, "decimal", from_zero=True, what=what, over=beyond, more=more)
        here = chosen.get(name)
        number = f"{here['distance']:.3f}, bound {here['bound']:.3f}" if here else "–"
        title = name_of(name)[0].upper() + name_of(name)[1:]
        over = history.nights.index(history.chosen) in beyond
        found.append(Figure(name=f"drift-{reference}-{name}", title=title, number=number, plot=drawn, over=over))
    return sorted(found, key=lambda one: not one.over), ", ".join(still)


def histograms(history: History, baseline: Mapping[str, Histogram]) -> Iterator[Figure]:
    """What probabilities, values and lengths of the chosen date are like, beside the last dates and the baseline."""
    references = alike(history.chosen, history.before)[-LAST:]
    for name in ("value", "probability", "token_count"):
        own = history.chosen.histograms.get(name)
        if own is not None and own.rows and _is_drawn(name, own):
            there = [one.histograms[name] for one in references if name in one.histograms]
            sides = (own, bins.together(there), baseline.get(name))
            yield _histogram(name, *sides, dates=len(there))


def _is_drawn(name: str, own: Histogram) -> bool:
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
    drawn = plot(Places(told=told, ticks=ticks, steps=True), series, scale, _ticks(scale.ticks, "share"), description)
    mean = own.sum / own.rows / (1 if name == "token_count" else 1_000_000)
    return Figure(
        name=f"histogram-{name}",
        title=f"{title}, share of the rows",
        number=f"mean {shown(mean, words.form)}",
        plot=drawn,
    )


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


def has_drift(history: History, reference: str) -> bool:
    """Whether any date was compared with it."""
    return any(is_known(night.drift) and night.drift[reference] for night in history.nights)


REFERENCES = {
    DATES: ("Drift from the last dates", "the last 14 dates before it that were scored alike"),
    BASELINE: ("Drift from the baseline of the bundle", "the validation rows of the training"),
}
