"""The numbers of one date beside what is usual."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipeline.terminal.pages.nights.night import Night, figure_of
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.telling.usual import alike, on_weekday, usual
from pipeline.terminal.pages.nights.telling.words import STATISTICS, counted, shown, title_of

_STATISTICS = ("value", "probability", "labels_given", "token_count", "unknown_tokens", "truncated", "other_scripts")
_ALWAYS = "unknown_tokens"
"""Is shown where it is 0 as always, too: it is what people look for first."""


class Fact(NamedTuple):
    """A number of the date, what is usual at all and on its weekday, the lowest and highest of the last dates."""

    name: str
    value: str
    usual: str
    weekday: str
    span: str
    far: bool


def facts(history: History, lifted: frozenset[str] = frozenset()) -> list[Fact]:
    """What there is of: rows, dead letters, rows taken over, duplicates, time, speed, and the main statistics.

    `lifted`: those that a finding is about.
    """
    night, before = history.chosen, history.before
    published = [one for one in before if one.is_published]
    same = alike(night, before)
    asked: list[tuple[str, str, Sequence[Night], Callable[[Night], float | None], str]] = [
        ("Rows with scores", "rows", published, lambda one: one.rows, "count"),
        ("Rows read", "rows", published, lambda one: one.counts.get("read"), "count"),
        ("Dead letters", "dead", published, lambda one: one.counts.get("dead"), "count"),
        ("Rows with earlier scores", "skipped", published, lambda one: one.counts.get("skipped") or None, "count"),
        ("Duplicate texts", "duplicates", same, lambda one: one.duplicates_share, "share"),
        *((title_of(name), name, same, figure_of(name), STATISTICS[name].form) for name in _STATISTICS),
        ("Start to publication", "seconds", same, lambda one: one.seconds, "seconds"),
        ("Rows a second", "speed", same, lambda one: one.rows_a_second, "speed"),
    ]
    found = []
    for title, name, others, measure, form in asked:
        value, known = measure(night), usual(others, measure)
        nothing = form == "share" and not value and not (known and known.highest) and name != _ALWAYS
        if value is not None and not nothing:
            span = f"{shown(known.lowest, form)} to {shown(known.highest, form)}" if known else "–"
            beside = (known.middle if known else None, on_weekday(night, others, measure))
            texts = [shown(number, form) for number in (value, *beside)]
            if form == "count":
                texts[0] = counted(round(value), night)
            found.append(Fact(title, texts[0], texts[1], texts[2], span, name in lifted))
    return found
