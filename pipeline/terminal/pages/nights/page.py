"""The report of one date as a page."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from markupsafe import Markup

from pipeline.terminal.pages.nights.drawing import drifts, figures
from pipeline.terminal.pages.nights.drawing.figures import Figure
from pipeline.terminal.pages.nights.drawing.histograms import histograms
from pipeline.terminal.pages.nights.drawing.plots import LINE, Places, Series, plot, scale_of
from pipeline.terminal.pages.nights.night import BROKEN, EXPIRED, MISSING, Histogram, Night
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.telling.drifted import conclusion
from pipeline.terminal.pages.nights.telling.facts import facts
from pipeline.terminal.pages.nights.telling.finding import LOOK, NOTE, WRONG, Finding
from pipeline.terminal.pages.nights.telling.findings import findings, lifted
from pipeline.terminal.pages.nights.telling.meaning import headline, steps
from pipeline.terminal.pages.nights.telling.moved import BY_RANGE, BY_SPREAD, Label, is_judged, labels_of
from pipeline.terminal.pages.nights.telling.usual import alike
from pipeline.terminal.pages.nights.telling.words import STATES, counted, day, name_of, short_day, shown
from pipeline.terminal.pages.writing import filled
from transforms.batches.dead_letters import CODES
from transforms.outputs.drift.record import is_known
from transforms.runs.run import run_file
from transforms.stores.paths import join

MOST_LABELS = 20
"""Labels that are shown at once; the others can be unfolded."""


class Code(NamedTuple):
    """A code of dead letters: how many, what it means, where one is."""

    code: str
    number: str
    meaning: str
    example: str


class LabelRow(NamedTuple):
    """A label with its share and how it went."""

    label: Label
    share: str
    usual: str
    weekday: str
    span: str
    svg: Markup


def page(history: History, baseline: Mapping[str, Histogram], now: dt.datetime) -> str:
    """The page of the chosen date; `baseline` are histograms of the bundle's validation rows, if they are known."""
    found = findings(history)
    night = history.chosen
    rows, far = label_rows(history), lifted(found)
    drift = [
        drifts.drift_by_date(history, reference)
        for reference in drifts.REFERENCES
        if drifts.has_drift(history, reference)
    ]
    return filled(
        "nights/page.html",
        title=f"{night.date.isoformat()}: {STATES.get(night.state, night.state)}",
        day=day(night.date),
        state=STATES.get(night.state, night.state),
        level=worst(found),
        headline=headline(history, found),
        steps=steps(history, found),
        run=run_of(night),
        span=span(history),
        conclusion=conclusion(night, history.before),
        findings=[one for one in found if one.level != NOTE],
        notes=[one for one in found if one.level == NOTE],
        night=night,
        history=history,
        facts=facts(history, far),
        rows=_lifted(figures.rows_by_date(history), far),
        labels=rows[:MOST_LABELS],
        mark_rule=(BY_RANGE if is_judged(night) else BY_SPREAD) if any(row.label.far for row in rows) else "",
        more_labels=rows[MOST_LABELS:],
        several=bool(night.histograms.get("labels_given")),
        scores=_lifted(histograms(history, baseline), far),
        statistics=_lifted(figures.figures_by_date(history), far),
        drift=drift,
        meanings=list(dict.fromkeys(meaning for one in drift for meaning in one.meanings)),
        speed=_lifted(figures.speed_by_date(history), far),
        strip=strip(history),
        absent=[one for one in reversed(history.nights) if not one.is_published and one.state != EXPIRED],
        states=STATES,
        codes=codes(night),
        dead_folder=join(history.output, f"_dead_letters/dt={night.date.isoformat()}")
        if night.is_published
        else run_file(history.output, night.run_id, "staged"),
        table=list(_table(history)),
        overdue=[day(one) for one in history.overdue],
        made=now.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        changes=figures.changes(history),
        tell_day=day,
        weekday=f"{night.date:%A}s",
    )


def _lifted(found: Iterable[Figure], far: frozenset[str]) -> list[Figure]:
    return [replace(one, over=one.name.removeprefix("histogram-") in far) for one in found]


def worst(found: Sequence[Finding]) -> str:
    """The worst level of the findings; `fine` if none is worth an eye."""
    levels = {one.level for one in found}
    return next((level for level in (WRONG, LOOK) if level in levels), "fine")


def run_of(night: Night) -> str:
    """Which run it is, and on which day if that is not soon after the date."""
    if not night.run_id:
        return ""
    on = night.run_on
    if on is None or -1 <= (on - night.date).days <= 2:
        return f"run {night.run_id}"
    return f"run on {short_day(on, year=True)} for the date {short_day(night.date, year=True)} ({night.run_id})"


def span(history: History) -> str:
    """`The last 30 dates, 20 Oct to 18 Nov`."""
    first, last = history.nights[0].date, history.nights[-1].date
    if first == last:
        return f"This date alone, {short_day(last)}"
    begin = short_day(first, year=first.year != last.year)
    return f"The last {len(history.nights)} dates, {begin} to {short_day(last, year=first.year != last.year)}"


def label_rows(history: History) -> list[LabelRow]:
    """Labels with their shares over time, the most frequent ones first, those that moved far before them."""
    night, references = history.chosen, alike(history.chosen, history.before)
    labels = labels_of(night, references)
    labels.sort(key=lambda label: (not label.far, -max(label.share or 0, label.usual or 0), label.number))
    many = len(labels) * len(history.nights) > 3_000
    return [_label_row(history, label, pointed=not many) for label in labels]


def _label_row(history: History, label: Label, *, pointed: bool) -> LabelRow:
    same = {id(one) for one in (*alike(history.chosen, history.before), history.chosen)}
    values = [one.label_share(label.number) if id(one) in same else None for one in history.nights]
    known = label.known
    span = f"{shown(known.lowest, 'share')} to {shown(known.highest, 'share')}" if known else "–"
    told = [f"{day(night.date)}: {shown(value, 'share')}" for night, value in zip(history.nights, values, strict=True)]
    at = history.nights.index(history.chosen)
    places = Places(told=told if pointed else [""] * len(told), ticks=(), chosen=at, over=frozenset([at] * label.far))
    scale = scale_of([*values, 0.0], from_zero=True)
    description = f"Share of {label.name} by date: {shown(label.share, 'share')} on this date, usually {span}"
    drawn = plot(places, [Series(LINE, values)], scale, [""] * (scale.steps + 1), description)
    own, usually, on_weekday = (shown(one, "share") for one in (label.share, label.usual, label.weekday))
    return LabelRow(label, own, usually, on_weekday, span, drawn.svg)


def strip(history: History) -> Markup:
    """What became of every date, one mark each, unlike in height or shape and colour."""
    marks = []
    for at, night in enumerate(history.nights):
        left, now = 10 * at + 1, " now" if night is history.chosen else ""
        kind, top = ("published", 55) if night.is_published else ("held", 0) if night.state == "held" else ("failed", 0)
        kind, top = (
            ("missing", 0) if night.state == MISSING else ("expired", 80) if night.state == EXPIRED else (kind, top)
        )
        which = "another" if night.state == BROKEN else "a newer"
        later = "" if night.later is None else f"\n{which} run: {STATES.get(night.later[0], night.later[0])}"
        told = f"{day(night.date)}: {STATES.get(night.state, night.state)}{later}"
        if kind == "published" and night.beyond:
            told += f"\nbeyond bounds: {', '.join(name_of(one, night) for one in night.beyond)}"
            mark = Markup('<path class="drifted{}" d="M{} 100V45L{} 5L{} 45V100z"><title>{}</title></path>')
            marks.append(mark.format(now, left, left + 4, left + 8, told))
            continue
        mark = Markup('<rect class="{}{}" x="{}" y="{}" width="8" height="{}"><title>{}</title></rect>')
        marks.append(mark.format(kind, now, left, top, 100 - top, told))
    count = sum(night.is_published for night in history.nights)
    words = f"{count} of {len(history.nights)} dates are published"
    svg = Markup('<svg viewBox="0 0 {} 100" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>')
    return svg.format(10 * len(history.nights), words, Markup("").join(marks))


def codes(night: Night) -> list[Code]:
    """Codes of dead letters, most first."""
    ordered = sorted(night.codes.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        Code(code, counted(count, night), CODES.get(code, "a code of another version"), example or "–")
        for code, (count, example) in ordered
    ]


def _table(history: History) -> Iterator[Sequence[Any]]:
    """Every date in numbers: what the plots show, for who does not see them."""
    for night in reversed(history.nights):
        yield (
            day(night.date),
            STATES.get(night.state, night.state),
            counted(night.rows, night),
            counted(night.counts.get("dead"), night),
            shown(night.duplicates_share, "share"),
            shown(night.figure("probability"), "decimal")
            if "value" not in night.histograms
            else shown(night.figure("value"), "general"),
            shown(night.figure("token_count"), "tenths"),
            shown(night.figure("unknown_tokens"), "share"),
            str(len(night.beyond)) if is_known(night.drift) else "–",
            shown(night.rows_a_second, "speed"),
        )
