"""Plots of numbers by date."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.terminal.pages.nights.drawing.plots import (
    BARS,
    LINE,
    Places,
    Plot,
    Series,
    Values,
    plot,
    scale_of,
    ticks_along,
)
from pipeline.terminal.pages.nights.night import Night, figure_of
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.telling.words import STATES, STATISTICS, counted, day, short_day, shown, title_of

Measure = Callable[[Night], float | None]
_SHOWN_BY_DATE = ("value", "labels_given", "probability", "token_count", "truncated", "unknown_tokens")
"""Statistics whose figure is drawn by date, of those that there are; all others are in the plots of the drift."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot with its title, the number of the chosen date, and whether that is to be lifted out.

    `notes`: what stands below it.
    """

    name: str
    title: str
    number: str
    plot: Plot
    over: bool = False
    notes: Sequence[str] = ()


def by_date(
    history: History, name: str, title: str, measure: Measure, form: str, *, bars: bool = False
) -> Figure | None:
    """A number by date; None if no date has it, or it is always 0."""
    values = [measure(night) for night in history.nights]
    if not any(values):
        return None
    number = _number(history.chosen, measure(history.chosen), form)
    series = [Series(BARS if bars else LINE, values)]
    drawn = drawn_by_date(history, values, series, form, from_zero=bars, what=title)
    return Figure(name=name, title=title, number=number, plot=drawn)


def drawn_by_date(
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
    """A plot of series with a place for each date; `values` are those that the pointer is told."""
    nights = history.nights
    told = [
        f"{day(night.date)}: "
        + (_number(night, value, form) if value is not None else STATES.get(night.state, night.state))
        + (more or {}).get(at, "")
        + ("" if night.is_published or value is None else f"\n{STATES.get(night.state, night.state)}")
        for at, (night, value) in enumerate(zip(nights, values, strict=True))
    ]
    scale = scale_of([value for one in series for value in one.values], from_zero=from_zero, seconds=form == "seconds")
    places = Places(
        told=told,
        ticks=ticks_along([short_day(night.date) for night in nights]),
        chosen=nights.index(history.chosen),
        changes=changes(history),
        over=over,
    )
    there = [value for value in values if value is not None]
    words = f"{what}, {len(nights)} dates from {nights[0].date.isoformat()} to {nights[-1].date.isoformat()}"
    if there:
        least, most = shown(min(there), form), shown(max(there), form)
        own = _number(history.chosen, values[places.chosen or 0], form)
        words += f": lowest {least}, highest {most}, on {history.chosen.date.isoformat()} {own}"
    return plot(places, series, scale, ticks_of(scale.ticks, form), words)


def _number(night: Night, value: float | None, form: str) -> str:
    return counted(round(value), night) if form == "count" and value is not None else shown(value, form)


def ticks_of(values: Sequence[float], form: str) -> list[str]:
    """The texts of ticks: short."""
    if form == "share":
        return [f"{100 * value:.6g} %" for value in values]
    if form == "seconds":
        return [shown(value, form).partition(" ")[0] for value in values]
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
        by_date(history, "seconds", "From start to publication", lambda one: one.seconds, "seconds"),
    ]
    return [one for one in found if one is not None]


def figures_by_date(history: History) -> list[Figure]:
    """The figure of each statistic that is drawn by date."""
    found = []
    for name in _SHOWN_BY_DATE:
        words = STATISTICS[name]
        found.append(by_date(history, name, title_of(name), figure_of(name), words.form, bars=words.form == "share"))
    return [one for one in found if one is not None]
