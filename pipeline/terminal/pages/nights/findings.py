"""What of a date is worth an eye, in sentences: the most important first."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.terminal.pages.nights.moved import Label, moved_labels
from pipeline.terminal.pages.nights.night import EXPIRED, MISSING, Night
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.usual import FEWEST, alike, is_far, noise_of, usual
from pipeline.terminal.pages.nights.words import STATES, STATISTICS, Words, day, name_of, rows, shown
from transforms.batches.dead_letters import CODES
from transforms.outputs.drift.record import BASELINE, DATES, FEWEST_DATES, is_compared, is_known
from transforms.runs.verdict_record import HELD, OVER_BUDGET

WRONG, LOOK, NOTE = "wrong", "look", "note"
"""How bad a finding is: nothing is published; published, and odd; good to know."""
_RECENT = 7
"""Nights before the chosen one that are named one by one."""
_MOST = 6
"""Statistics with a finding of their own."""
_LABELS = 3
_LEAST = {
    "token_count": 0.15,
    "probability": 0.03,
    "unknown_tokens": 0.02,
    "truncated": 0.02,
    "labels_given": 0.1,
    "value": 0.1,
}
"""What a figure must move to be told where the run has not compared it: absolute; of lengths, labels and values by what
is usual."""
_RELATIVE = ("token_count", "labels_given", "value")
_ROWS, _DEAD, _DUPLICATES, _SPEED = 0.3, 0.002, 0.1, 0.4
"""The same of rows and speed (by what is usual), of dead letters and of duplicates (of all rows)."""
_LONG = 60.0
"""Seconds of a run whose speed says something: before that it is the start of TensorFlow."""
SAME_MODEL = "Model, precision and settings are those of the dates before: what has changed is in the texts."
OTHER_TEXTS = "Texts in another language, or from another source, look like this."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence, more about it, and the part of the page that shows it."""

    level: str
    title: str
    details: tuple[str, ...] = ()
    place: str = ""


def findings(history: History) -> list[Finding]:
    """Everything that is worth an eye, worst first; none for a date like those before it."""
    night, before = history.chosen, history.before
    found = [
        *_state(night),
        *_absent(history),
        *_dead(night, before),
        *_rows(night, before),
        *_drift(night, before),
        *_unjudged(night, before),
        *_work(night, before),
        *_earlier(before),
        *_notes(night, before),
    ]
    if history.unreadable:
        found.append(_note(f"{history.unreadable:,} runs are damaged: `bert-batch runs` names them", "nights"))
    return sorted(found, key=lambda one: (WRONG, LOOK, NOTE).index(one.level))


def _note(title: str, place: str = "", *details: str) -> Finding:
    return Finding(level=NOTE, title=title, details=details, place=place)


def _state(night: Night) -> Iterator[Finding]:
    if not night.is_published and night.state != EXPIRED:
        reason = (night.reason,) if night.reason else ()
        title = f"Nothing is published for {night.date.isoformat()}: the run {STATES.get(night.state, night.state)}"
        if night.state == HELD:
            title = f"{night.date.isoformat()} is held: it was scored, and is not published"
        elif night.state == OVER_BUDGET:
            title = f"{night.date.isoformat()} failed: too many dead letters, so nothing is published"
        yield Finding(level=WRONG, title=title, details=reason, place="nights")
    if night.later is not None:
        state, reason = night.later
        title = f"A newer run of this date was not published: {STATES.get(state, state)}"
        yield Finding(level=WRONG, title=title, details=(reason,) if reason else (), place="nights")
    if night.pending == "table":
        detail = "The same command again, or `bert-batch publish`, completes it."
        yield Finding(level=WRONG, title=f"{night.table} may not have the rows of this date yet", details=(detail,))


def _absent(history: History) -> Iterator[Finding]:
    overdue = history.overdue
    if overdue:
        more = f" and {len(overdue) - 1} more dates" if len(overdue) > 1 else ""
        detail = "No run of it is there, and by the hour at which dates are usually published it is due."
        yield Finding(level=WRONG, title=f"{day(overdue[0])}{more} is missing", details=(detail,), place="nights")


def _dead(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    dead, value = night.counts.get("dead", 0), night.dead_share
    if not dead or value is None:
        return
    known = usual([one for one in before if one.is_published], lambda one: one.dead_share)
    published = [one for one in before if one.is_published]
    far = is_far(night, published, lambda one: one.dead_share, _DEAD, noise_of(known and known.middle, night.rows))
    budget = night.settings.get("max_dead_fraction")
    near = isinstance(budget, float) and 0 < budget < 1 and value > budget / 2
    if not (near or (far and known and value > known.middle)) and night.state != OVER_BUDGET:
        return
    told = f"{shown(value, 'share')} of the rows, {dead:,} of {night.counts['read']:,}"
    told += f"; usually {shown(known.middle, 'share')}" if known else ""
    details = [f"{told}." + (f" The job allows {shown(budget, 'share')}." if near and budget is not None else "")]
    for code, (count, example) in list(night.codes.items())[:_LABELS]:
        where = f"; one of them is {example}" if example else ""
        details.append(f"{count:,} {code}: {CODES.get(code, 'a code of another version')}{where}")
    yield Finding(level=LOOK, title="Many dead letters", details=tuple(details), place="dead")


def _rows(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    published = [one for one in before if one.is_published]
    known, value = usual(published, lambda one: one.rows), night.rows
    if value is None or known is None:
        return
    if value == 0 and known.middle:
        yield Finding(level=LOOK, title="There are no rows", details=(_usually(known.middle, "count"),), place="rows")
    elif is_far(night, published, lambda one: one.rows, _ROWS * known.middle):
        more = "More" if value > known.middle else "Fewer"
        detail = f"{rows(value)}; {_usually(known.middle, 'count')[0].lower()}{_usually(known.middle, 'count')[1:]}"
        yield Finding(level=LOOK, title=f"{more} rows than usual", details=(detail,), place="rows")


def _usually(middle: float, form: str) -> str:
    return f"Usually {shown(middle, form)}."


def _drift(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    drift = night.drift
    if not is_known(drift):
        return
    beyond: dict[str, list[str]] = {}
    ratios: dict[str, float] = {}
    for reference in (DATES, BASELINE):
        for statistic, entry in drift[reference].items():
            if entry["distance"] > entry["bound"]:
                beyond.setdefault(statistic, []).append(_distance(drift, reference, entry))
                ratios[statistic] = max(ratios.get(statistic, 0.0), entry["distance"] / max(entry["bound"], 1e-9))
    ordered = sorted(beyond, key=lambda one: -ratios[one])
    references = alike(night, before)
    for statistic in ordered[:_MOST]:
        title, details = _moved(statistic, night, references)
        yield Finding(level=LOOK, title=title, details=(*details, *beyond[statistic]), place="drift")
    if more := ordered[_MOST:]:
        listed = tuple(f"{name_of(one)}: {'; '.join(beyond[one])}" for one in more)
        yield Finding(level=LOOK, title="Other statistics are beyond their bounds too", details=listed, place="drift")


def _distance(drift: Any, reference: str, entry: Any) -> str:
    what = f"the last {drift['compared_dates']} dates" if reference == DATES else "the baseline of the bundle"
    rule = "" if entry["dates"] >= FEWEST_DATES else f", a rule of thumb with fewer than {FEWEST_DATES} dates"
    return f"Drift: distance {entry['distance']:.3f} from {what}, bound {entry['bound']:.3f}{rule}."


def _moved(statistic: str, night: Night, references: Sequence[Night]) -> tuple[str, list[str]]:
    """A title, and the figure beside what is usual."""
    if statistic == "label":
        return "Labels have other shares than usual", [_told(label) for label in moved_labels(night, references)[:_LABELS]]
    words = STATISTICS.get(statistic)
    known, value = usual(references, lambda one: one.figure(statistic)), night.figure(statistic)
    if words is None or known is None or value is None:
        return f"{name_of(statistic).capitalize()} is unlike usual", []
    return _direction(words, value, known.middle), [_beside(words, value, known.middle)]


def _direction(words: Words, value: float, middle: float) -> str:
    if shown(value, words.form) == shown(middle, words.form):
        return f"{words.name[0].upper()}{words.name[1:]}: the mean is as usual, and its spread is not"
    return words.higher if value > middle else words.lower


def _beside(words: Words, value: float, middle: float) -> str:
    return f"{words.figure[0].upper()}{words.figure[1:]}: {shown(value, words.form)}, usually {shown(middle, words.form)}."


def _told(label: Label) -> str:
    return f"{label.name}: {shown(label.share, 'share')} of the rows, usually {shown(label.usual, 'share')}."


def _unjudged(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    """Figures that the run has not compared itself."""
    judged = set(night.drift[DATES]) if is_known(night.drift) else set()
    references = alike(night, before)
    if "label" not in judged:
        far = [label for label in moved_labels(night, references) if label.far]
        if far:
            details = tuple(_told(label) for label in far[:_LABELS])
            yield Finding(level=LOOK, title="Labels have other shares than usual", details=details, place="labels")
    for statistic, least in _LEAST.items():
        known, value = usual(references, lambda one, of=statistic: one.figure(of)), night.figure(statistic)
        if statistic in judged or known is None or value is None:
            continue
        words = STATISTICS[statistic]
        least = least * abs(known.middle) if statistic in _RELATIVE else least
        noise = noise_of(known.middle, night.summarised) if words.form == "share" else 0.0
        if is_far(night, references, lambda one, of=statistic: one.figure(of), least, noise):
            detail = _beside(words, value, known.middle)
            title = _direction(words, value, known.middle)
            yield Finding(level=LOOK, title=title, details=(detail,), place=statistic)


def _work(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    references = alike(night, before)
    known, value = usual(references, lambda one: one.duplicates_share), night.duplicates_share
    if known and value is not None and is_far(night, references, lambda one: one.duplicates_share, _DUPLICATES):
        more = "More" if value > known.middle else "Fewer"
        detail = f"{shown(value, 'share')} of the rows have the tokens of another row, usually {shown(known.middle, 'share')}."
        yield Finding(level=LOOK, title=f"{more} duplicate texts than usual", details=(detail,), place="duplicates")
    known, speed = usual(references, lambda one: one.rows_a_second), night.rows_a_second
    slow = known is not None and speed is not None and speed < known.middle and (night.seconds or 0) >= _LONG
    if known and slow and is_far(night, references, lambda one: one.rows_a_second, _SPEED * known.middle):
        detail = f"{shown(speed, 'speed')} rows a second, usually {shown(known.middle, 'speed')}."
        yield Finding(level=LOOK, title="The run was slower than usual", details=(detail,), place="speed")


def _earlier(before: Sequence[Night]) -> Iterator[Finding]:
    absent = [one for one in before if not one.is_published and one.state != EXPIRED]
    recent, first = [], before[-_RECENT].date if len(before) >= _RECENT else dt.date.min
    for one in reversed(absent):
        if one.date >= first:
            recent.append(one)
            what = "is missing" if one.state == MISSING else STATES.get(one.state, one.state)
            joined = f"{day(one.date)}: {what}" if one.state != MISSING else f"{day(one.date)} {what}"
            yield Finding(level=LOOK, title=joined, details=(one.reason,) if one.reason else (), place="nights")
    if older := len(absent) - len(recent):
        yield _note(f"{older:,} older nights of these have nothing published", "nights")


def _notes(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    published = [one for one in before if one.is_published]
    if night.bundle and published and published[-1].fingerprint != night.fingerprint:
        yield _note(f"A new model: {night.bundle}", "", f"Before: {published[-1].bundle}.")
    if night.misfits:
        new = not any(one.misfits for one in published)
        listed = ", ".join(f"{name} ({rows(count)})" for name, count in list(night.misfits.items())[:5])
        title = "Kept columns have nulls because values did not fit"
        yield Finding(level=LOOK if new else NOTE, title=title, details=(listed,), place="nights")
    if night.accepted:
        yield _note("The gate held this run, and somebody accepted it")
    if night.resumed:
        yield _note(f"{night.resumed:,} splits were taken over from an attempt that died")
    if night.is_published:
        yield from _compared(night)


def _compared(night: Night) -> Iterator[Finding]:
    """Why there is no drift, or only one by a rule of thumb."""
    if not night.summarised:
        yield _note("No statistics: the run has no summary, or it is of another version")
    elif not is_compared(night.drift):
        yield _note("Drift was not judged: there is no earlier date that was scored alike, or there are too few rows")
    elif night.drift["compared_dates"] < FEWEST_DATES:
        number = night.drift["compared_dates"]
        yield _note(f"Bounds are rules of thumb: {number} earlier dates, and it takes {FEWEST_DATES}", "drift")


def conclusion(night: Night, before: Sequence[Night]) -> str:
    """What several statistics beyond their bounds have in common, if that is known; else nothing."""
    if not is_known(night.drift):
        return ""
    beyond = [name for name, entry in night.drift[DATES].items() if entry["distance"] > entry["bound"]]
    references = alike(night, before)
    if len(beyond) < 2 or not references or references[-1] is not [one for one in before if one.is_published][-1]:
        return ""
    foreign = any(
        name in beyond and (night.figure(name) or 0) > known.middle
        for name in ("unknown_tokens", "other_scripts")
        if (known := usual(references, lambda one, of=name: one.figure(of))) is not None
    )
    return f"{SAME_MODEL} {OTHER_TEXTS}" if foreign else SAME_MODEL


__all__ = ["FEWEST", "LOOK", "NOTE", "WRONG", "Finding", "conclusion", "findings"]
