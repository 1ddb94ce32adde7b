"""Plots of drift: distance and bound of each statistic by date."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.terminal.pages.nights.drawing.figures import Figure, drawn_by_date
from pipeline.terminal.pages.nights.drawing.plots import BOUND, LINE, Series
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.telling.words import meaning_of, name_of, raised
from transforms.outputs.drift.record import BASELINE, DATES, FEWEST_DATES, is_known

_SCALE = "0 is alike, 1 is nothing in common; what is above its bound (dashed) stands out."
REFERENCES = {
    DATES: (
        "Drift from the last dates",
        f"How far the texts and scores of each date are from those of the 14 dates before it. {_SCALE}",
    ),
    BASELINE: (
        "Drift from the baseline of the bundle",
        "How far they are from another thing: the validation rows of the model's training, which are the baseline. "
        f"{_SCALE} Texts of every day are never quite like those of a training. So good dates have a distance "
        "here, and hardly any from each other, and the bound is as far as the dates before were.",
    ),
}
FEW = f"With fewer than {FEWEST_DATES} dates before it a bound is a rule of thumb, and wide; it narrows with more."


class Drifts(NamedTuple):
    """Distances from a reference by date: in words, drawn, and of which statistics there is none to draw.

    `meanings`: name, key in the manifest and meaning of each that is drawn.
    """

    title: str
    about: str
    figures: Sequence[Figure]
    still: str
    meanings: Sequence[tuple[str, str, str]]


def drift_by_date(history: History, reference: str) -> Drifts:
    """Distance and bound of each statistic by date, those beyond their bound first."""
    entries = [night.drift[reference] if is_known(night.drift) else {} for night in history.nights]
    chosen = entries[history.nights.index(history.chosen)]
    names = dict.fromkeys(name for one in (chosen, *reversed(entries)) for name in one)
    against = "the dates before" if reference == DATES else "the baseline"
    chosen_night = history.chosen
    found, still, meanings = [], [], []
    for name in names:
        distances, limits = (
            [one[name][key] if name in one else None for one in entries] for key in ("distance", "bound")
        )
        if not any(distances):
            still.append(name_of(name, chosen_night))
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
        what = f"Drift of {name_of(name, chosen_night)} from {against}"
        drawn = drawn_by_date(history, distances, series, "decimal", from_zero=True, what=what, over=beyond, more=more)
        here = chosen.get(name)
        number = f"{here['distance']:.3f}, bound {here['bound']:.3f}" if here else "–"
        title = raised(name_of(name, chosen_night))
        meanings.append((title, name, meaning_of(name, chosen_night)))
        over = history.nights.index(history.chosen) in beyond
        found.append(Figure(name=f"drift-{reference}-{name}", title=title, number=number, plot=drawn, over=over))
    title, about = REFERENCES[reference]
    first = reference == DATES or not has_drift(history, DATES)
    if first and any(entry["dates"] < FEWEST_DATES for one in entries for entry in one.values()):
        about += f" {FEW}"
    return Drifts(title, about, sorted(found, key=lambda one: not one.over), ", ".join(still), meanings)


def has_drift(history: History, reference: str) -> bool:
    """Whether any date was compared with it."""
    return any(is_known(night.drift) and night.drift[reference] for night in history.nights)
