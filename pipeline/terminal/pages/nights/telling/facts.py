"""The numbers of one date beside what is usual."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipeline.terminal.pages.nights.night import Night, figure_of
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.telling.usual import alike, on_weekday, usual
from pipeline.terminal.pages.nights.telling.words import STATISTICS, shown

_ALWAYS = "Texts with unknown tokens"
"""Is shown where it is 0 as always, too: it is what people look for first."""


class Fact(NamedTuple):
    """A number of the date, what is usual at all and on its weekday, the lowest and highest of the last dates."""

    name: str
    value: str
    usual: str
    weekday: str
    span: str


def facts(history: History) -> list[Fact]:
    """What there is of: rows, dead letters, rows taken over, duplicates, time, speed, and the main statistics."""
    night, before = history.chosen, history.before
    published = [one for one in before if one.is_published]
    same = alike(night, before)
    found = [
        *_of("Rows with scores", night, published, lambda one: one.rows, "count"),
        *_of("Rows read", night, published, lambda one: one.counts.get("read"), "count"),
        *_of("Dead letters", night, published, lambda one: one.counts.get("dead"), "count"),
        *_of("Rows with earlier scores", night, published, lambda one: one.counts.get("skipped") or None, "count"),
        *_of("Duplicate texts", night, same, lambda one: one.duplicates_share, "share"),
    ]
    for name in ("value", "probability", "labels_given", "token_count", "unknown_tokens", "truncated", "other_scripts"):
        words = STATISTICS[name]
        title = words.figure[0].upper() + words.figure[1:]
        found += _of(title, night, same, figure_of(name), words.form)
    found += _of("Start to publication", night, same, lambda one: one.seconds, "seconds")
    found += _of("Rows a second", night, same, lambda one: one.rows_a_second, "speed")
    return found


def _of(
    name: str, night: Night, others: Sequence[Night], measure: Callable[[Night], float | None], form: str
) -> list[Fact]:
    value, known = measure(night), usual(others, measure)
    if value is None or (not value and form == "share" and not (known and known.highest) and name != _ALWAYS):
        return []
    weekday = shown(on_weekday(night, others, measure), form)
    span = f"{shown(known.lowest, form)} to {shown(known.highest, form)}" if known else "–"
    return [Fact(name, shown(value, form), shown(known.middle if known else None, form), weekday, span)]
