"""What a date is, in one sentence, and what can be done about it next."""

import shlex
from collections.abc import Iterator, Sequence

from pipeline.terminal.pages.nights.night import NOT_BEGUN, Night
from pipeline.terminal.pages.nights.reading import History
from pipeline.terminal.pages.nights.telling.drifted import conclusion
from pipeline.terminal.pages.nights.telling.finding import LOOK, NOTE, WRONG, Finding
from pipeline.terminal.pages.nights.telling.usual import alike, usual
from pipeline.terminal.pages.nights.telling.words import STATES, lowered
from transforms.outputs.drift.record import beyond
from transforms.runs.history import NOT_ENDED
from transforms.runs.run import accept_command, date_folder, run_file
from transforms.runs.verdict_record import ABANDONED, HELD, OVER_BUDGET, PASSED, UNBALANCED

OTHER_TEXTS = "the texts of this date are not the usual ones"
LOOK_FIRST = "look before the scores are used"
_DRIFT = "drift"


def headline(history: History, found: Sequence[Finding]) -> str:
    """What the findings mean, for who reads no other sentence."""
    night = history.chosen
    looked = [one for one in found if one.level != NOTE]
    begin = "Published" if night.is_published else STATES.get(night.state, night.state).capitalize()
    if not looked:
        return f"{begin}, and nothing stands out."
    if not night.is_published:
        return f"{begin}."
    together = bool(conclusion(night, history.before))
    first = next((one for one in looked if one.level == WRONG or not together), None)
    told = [first] if first else []
    clauses = [first.clause or first.title] if first else []
    if together:
        told += [one for one in looked if one.place == _DRIFT]
        clauses.append(OTHER_TEXTS)
    look = f": {LOOK_FIRST}" if any(one.place == _DRIFT for one in told) else ""
    others = len([one for one in looked if one not in told])
    more = "" if not others else " One more thing stands out." if others == 1 else f" {others} more things stand out."
    return f"{begin}, but {', and '.join(clauses)}{look}.{more}"


def steps(history: History, found: Sequence[Finding]) -> list[str]:
    """What the product can do about a date, in sentences; commands in `backticks`. None where nothing stands out."""
    night = history.chosen
    if not night.is_published:
        return [*_of_state(history)]
    told = []
    if night.later is not None and night.later[0] in (NOT_BEGUN, OVER_BUDGET, UNBALANCED):
        told.append(f"The rows of this date stay as they were. {_again(night)}")
    if history.overdue:
        date = history.overdue[0].isoformat()
        told.append(f"Run the job for the missing date: `bert-batch score --job FILE --date {date}`.")
    if any(one.place == _DRIFT for one in found if one.level == LOOK):
        told += _of_drift(history)
    return told


def _again(night: Night) -> str:
    return f"Give the same command again, with `--date {night.date.isoformat()}`."


def _of_state(history: History) -> Iterator[str]:
    """Of a date that is not published."""
    night, output = history.chosen, history.output
    staged = run_file(output, night.run_id, "staged") if night.run_id else ""
    if night.state == HELD:
        yield f"Read some of its rows: they are in {staged}, files scores-*.parquet. {_sorted_by(history)}"
        yield f"If they are right: `{accept_command(output, night.run_id)}` publishes them."
        yield "If not: correct the input and run the date again, or do nothing: the date stays as it was."
    elif night.state == OVER_BUDGET:
        yield f"Its dead letters are in {staged}, files dead-*.parquet, with code and position."
        yield f"Correct the input, or allow more (`--max-dead-fraction`). {_again(night)} It scores all rows anew."
    elif night.state == NOT_ENDED:
        yield f"If it is not running any more: {lowered(_again(night))} It takes over what this run has finished."
    elif night.state == PASSED:
        yield f"`bert-batch publish {night.run_id} --output {shlex.quote(output)}` publishes it."
    elif night.state == NOT_BEGUN:
        yield f"Correct what the message names; if an input is not there yet, wait for it. {_again(night)}"
    elif night.state in (UNBALANCED, ABANDONED):
        yield _again(night)


def _sorted_by(history: History) -> str:
    """By which of their columns rows say most, and what is not in them."""
    night = history.chosen
    columns = []
    if "value" in night.histograms:
        columns.append("`value`")
    elif not night.is_of_several:
        columns.append("`probability`, lowest first")
    if "token_count" in night.beyond:
        columns.append(f"`token_count`, {'highest' if _is_higher(history, 'token_count') else 'lowest'} first")
    by = f"Sort them by {', or by '.join(columns)}: " if columns else ""
    return f"{by}{'the' if by else 'The'} column `id` says which text of the input a row is of."


def _is_higher(history: History, statistic: str) -> bool:
    night = history.chosen
    known = usual(alike(night, history.before), lambda one: one.figure(statistic))
    return known is None or (night.figure(statistic) or 0) >= known.middle


def _of_drift(history: History) -> Iterator[str]:
    """Of a date that is published although a statistic is beyond its bound."""
    night = history.chosen
    folder = date_folder(history.output, night.date)
    yield f"Read some of its rows: they are in {folder}, files part-{night.run_id}-*.parquet. {_sorted_by(history)}"
    yield "If the texts are right, there is nothing to do. If not: correct the input and run the date again."
    if any(one.can_hold for one in beyond(night.drift)) and not night.settings.get("hold_if_drift"):
        command = "`bert-batch publish RUN_ID --accept`"
        yield f"With `--hold-if-drift` in its job such a date is held, and published only when somebody runs {command}."
