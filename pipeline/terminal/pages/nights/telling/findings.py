"""What of a date stands out, in sentences: the most important first."""

import datetime as dt
from collections.abc import Iterator, Sequence

from pipeline.terminal.pages.nights.night import BROKEN, EXPIRED, MISSING, Night
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.telling.drifted import drifted, unjudged
from pipeline.terminal.pages.nights.telling.finding import LOOK, NOTE, WRONG, Finding
from pipeline.terminal.pages.nights.telling.usual import FEWEST, alike, is_far, noise_of, usual
from pipeline.terminal.pages.nights.telling.words import STATES, counted, day, lowered, raised, rows, shown
from transforms.batches.dead_letters import CODES
from transforms.outputs.drift.record import FEWEST_DATES, is_compared
from transforms.runs.history import PUBLISH_IT
from transforms.runs.verdict_record import HELD, OVER_BUDGET

_RECENT = 7
"""Dates before the chosen one that are named one by one."""
_CODES = 3
"""Codes of dead letters that are named."""
_ROWS, _DEAD, _DUPLICATES, _SPEED = 0.3, 0.002, 0.1, 0.4
"""What a number must move to be told: rows and speed by what is usual, dead letters and duplicates by all rows."""
_LONG = 60.0
"""Seconds of a run whose speed says something: before that it is the start of TensorFlow."""


def findings(history: History) -> list[Finding]:
    """Everything that is worth an eye, worst first; none for a date like those before it."""
    night, before = history.chosen, history.before
    found = [
        *_state(night),
        *_absent(history),
        *_dead(night, before),
        *_rows(night, before),
        *drifted(night, before),
        *unjudged(night, before),
        *_work(night, before),
        *_earlier(before),
        *_notes(night, before),
    ]
    if history.unreadable:
        found.append(_note(f"{history.unreadable:,} runs are damaged: `bert-batch runs` names them", "nights"))
    return sorted(found, key=lambda one: (WRONG, LOOK, NOTE).index(one.level))


def lifted(found: Sequence[Finding]) -> frozenset[str]:
    """The numbers that findings are about."""
    return frozenset(name for one in found for name in one.about)


def _note(title: str, place: str = "", *details: str) -> Finding:
    return Finding(level=NOTE, title=title, details=details, place=place)


def _state(night: Night) -> Iterator[Finding]:
    if not night.is_published and night.state != EXPIRED:
        reason = (night.reason,) if night.reason else ()
        title = f"{night.date.isoformat()}: {STATES.get(night.state, night.state)}; nothing is published"
        if night.state == HELD:
            # What publishes it is said below.
            reason = (night.reason.partition(PUBLISH_IT)[0],)
            title = f"{night.date.isoformat()} is held: it was scored, and is not published"
        elif night.state == OVER_BUDGET:
            title = f"{night.date.isoformat()} failed: too many dead letters, so nothing is published"
        yield Finding(level=WRONG, title=title, details=reason, place="nights")
    if night.later is not None:
        state, why = night.later
        # Of which run a damaged manifest is, is not known.
        clause = f"{'another' if night.state == BROKEN else 'a newer'} run of this date was not published"
        title = f"{raised(clause)}: {STATES.get(state, state)}"
        yield Finding(level=WRONG, title=title, clause=clause, details=(why,) if why else (), place="nights")
    if night.pending == "table":
        detail = "The same command again, or `bert-batch publish`, completes it."
        yield Finding(level=WRONG, title=f"{night.table} may not have the rows of this date yet", details=(detail,))


def _absent(history: History) -> Iterator[Finding]:
    overdue = history.overdue
    if overdue:
        more = " is" if len(overdue) == 1 else f" and {len(overdue) - 1:,} more since are"
        detail = "No run of it is there, and by the hour at which dates are usually published it is due."
        yield Finding(level=WRONG, title=f"{day(overdue[0])}{more} missing", details=(detail,), place="nights")


def _dead(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    dead, value = night.counts.get("dead", 0), night.dead_share
    if not dead or (value is None and not night.at_least):
        return
    published = [one for one in before if one.is_published]
    known = usual(published, lambda one: one.dead_share)
    noise = noise_of(known.middle if known else None, night.rows)
    far = is_far(night, published, lambda one: one.dead_share, _DEAD, noise)
    budget = night.settings.get("max_dead_fraction")
    near = value is not None and isinstance(budget, float) and 0 < budget < 1 and value > budget / 2
    # Where it is always so near, that is usual.
    near = near and not (known and value is not None and known.dates >= FEWEST and value <= known.highest)
    if not (near or (far and known and value is not None and value > known.middle)) and night.state != OVER_BUDGET:
        return
    told = f"{shown(value, 'share')} of the rows, {dead:,} of {night.counts['read']:,}"
    if night.at_least:
        # A share of the rows that happened to be read first says nothing of all.
        told = f"At least {dead:,}: the run ended early, after at least {rows(night.counts['read'])}"
    told += f"; usually {shown(known.middle, 'share')}" + " of the rows" * night.at_least if known else ""
    details = [f"{told}." + (f" The job allows {shown(budget, 'share')}." if near and budget is not None else "")]
    for code, (count, example) in list(night.codes.items())[:_CODES]:
        where = f"; one of them is {example}" if example else ""
        details.append(f"{counted(count, night)} {code}: {CODES.get(code, 'a code of another version')}{where}")
    clause = "there are many dead letters"
    yield Finding(
        level=LOOK,
        title="Many dead letters",
        clause=clause,
        details=tuple(details),
        place="dead",
        about=("dead",),
    )


def _rows(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    published = [one for one in before if one.is_published]
    known, value = usual(published, lambda one: one.rows), night.rows
    if value is None or known is None:
        return
    if night.at_least and value <= known.middle:
        # It ended early: nobody knows how many there are.
        return
    if value == 0 and known.middle:
        detail, clause = f"Usually {shown(known.middle, 'count')}.", "there are no rows"
        yield Finding(level=LOOK, title="There are no rows", clause=clause, details=(detail,), place="rows")
    elif is_far(night, published, lambda one: one.rows, _ROWS * known.middle):
        more = "More" if value > known.middle else "Fewer"
        detail = f"{'At least ' * night.at_least}{rows(value)}, usually {shown(known.middle, 'count')}."
        title, clause = f"{more} rows than usual", f"there are {more.lower()} rows than usual"
        yield Finding(level=LOOK, title=title, clause=clause, details=(detail,), place="rows", about=("rows",))


def _work(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    references = alike(night, before)
    known, value = usual(references, lambda one: one.duplicates_share), night.duplicates_share
    if known and value is not None and is_far(night, references, lambda one: one.duplicates_share, _DUPLICATES):
        more = "More" if value > known.middle else "Fewer"
        told = f"{shown(value, 'share')} of the rows have the tokens of another row"
        detail = f"{told}, usually {shown(known.middle, 'share')}."
        yield Finding(
            level=LOOK,
            title=f"{more} duplicate texts than usual",
            clause=f"there are {more.lower()} duplicate texts than usual",
            details=(detail,),
            place="duplicates",
            about=("duplicates",),
        )
    known, speed = usual(references, lambda one: one.rows_a_second), night.rows_a_second
    many = usual(references, lambda one: one.rows)
    # Of few rows the start is most of the time.
    enough = (night.seconds or 0) >= _LONG and many and (night.rows or 0) >= (1 - _ROWS) * many.middle
    slow = known is not None and speed is not None and speed < known.middle and enough
    if known and slow and is_far(night, references, lambda one: one.rows_a_second, _SPEED * known.middle):
        detail = f"{shown(speed, 'speed')} rows a second, usually {shown(known.middle, 'speed')}."
        title, clause = "The run was slower than usual", "the run was slower than usual"
        yield Finding(level=LOOK, title=title, clause=clause, details=(detail,), place="speed", about=("speed",))


def _earlier(before: Sequence[Night]) -> Iterator[Finding]:
    absent = [one for one in before if not one.is_published and one.state != EXPIRED]
    recent, first = [], before[-_RECENT].date if len(before) >= _RECENT else dt.date.min
    for one in reversed(absent):
        if one.date >= first:
            recent.append(one)
            what = "is missing" if one.state == MISSING else STATES.get(one.state, one.state)
            joined = f"{day(one.date)}: {what}" if one.state != MISSING else f"{day(one.date)} {what}"
            clause = f"{day(one.date)} has nothing published"
            details = (one.reason,) if one.reason else ()
            yield Finding(level=LOOK, title=joined, clause=clause, details=details, place="nights")
    if older := len(absent) - len(recent):
        yield _note(f"{older:,} older dates of these have nothing published", "nights")


def _notes(night: Night, before: Sequence[Night]) -> Iterator[Finding]:
    published = [one for one in before if one.is_published]
    if night.bundle and published and published[-1].fingerprint != night.fingerprint:
        yield _note(f"A new model: {night.short_bundle}", "", f"Before: {published[-1].short_bundle}.")
    if night.misfits:
        new = not any(one.misfits for one in published)
        listed = ", ".join(f"{name} ({rows(count)})" for name, count in list(night.misfits.items())[:5])
        title = "Kept columns have nulls because values did not fit"
        clause = lowered(title)
        level = LOOK if new else NOTE
        yield Finding(level=level, title=title, clause=clause, details=(listed,), place="nights")
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
