"""Numbers, states and statistics as a person reads them."""

import datetime as dt
from typing import NamedTuple

from pipeline.terminal.pages.nights.night import BROKEN, EXPIRED, MISSING, NOT_BEGUN, Night
from transforms.runs.history import NOT_ENDED, UNREADABLE
from transforms.runs.verdict_record import ABANDONED, HELD, OVER_BUDGET, PASSED, PUBLISHED, UNBALANCED

STATES = {
    PUBLISHED: "published",
    HELD: "held: scored, not published",
    OVER_BUDGET: "failed: too many dead letters",
    UNBALANCED: "failed: row counts do not agree",
    NOT_ENDED: "has not ended",
    PASSED: "scored, not published yet",
    ABANDONED: "died, and was cleaned away",
    UNREADABLE: "its run is damaged",
    MISSING: "missing: no run of it is there",
    BROKEN: "its manifest is damaged",
    EXPIRED: "its rows were deleted for their age",
    NOT_BEGUN: "failed before it began",
}


class Words(NamedTuple):
    """A statistic: its name, what its figure is, what a person says if that is higher or lower, its form, and its
    meaning for one text."""

    name: str
    figure: str
    higher: str
    lower: str
    form: str
    meaning: str


STATISTICS = {
    "probability": Words(
        "probability",
        "mean probability of the label",
        "The model is surer than usual",
        "The model is less sure than usual",
        "decimal",
        "how sure the model is of the label it gives, from 0 to 1",
    ),
    "margin": Words(
        "lead over the second",
        "mean lead over the second label",
        "The best label leads by more than usual",
        "The best label leads by less than usual",
        "decimal",
        "the probability of the best label less that of the second",
    ),
    "entropy": Words(
        "entropy",
        "mean entropy of the probabilities",
        "Probabilities are spread over more labels than usual",
        "Probabilities are spread over fewer labels than usual",
        "decimal",
        "how evenly the probabilities are spread over the labels: 0 is all on one, 1 is all alike",
    ),
    "value": Words(
        "value",
        "mean value",
        "Values are higher than usual",
        "Values are lower than usual",
        "general",
        "the number that the model gives",
    ),
    "labels_given": Words(
        "labels a text",
        "labels a text",
        "Texts get more labels than usual",
        "Texts get fewer labels than usual",
        "decimal",
        "how many labels a text gets",
    ),
    "token_count": Words(
        "length in tokens",
        "mean length in tokens",
        "Texts are longer than usual",
        "Texts are shorter than usual",
        "tenths",
        "how many tokens the model sees of a text",
    ),
    "truncated": Words(
        "texts that were cut",
        "texts that were cut",
        "More texts are cut than usual",
        "Fewer texts are cut than usual",
        "share",
        "texts that are longer than the model takes",
    ),
    "unknown_tokens": Words(
        "unknown tokens",
        "texts with unknown tokens",
        "More texts have unknown tokens than usual",
        "Fewer texts have unknown tokens than usual",
        "share",
        "how many pieces of a text the vocabulary of the model does not have",
    ),
    "digits": Words(
        "share of digits",
        "digits among the characters",
        "Texts have more digits than usual",
        "Texts have fewer digits than usual",
        "share",
        "digits, as a share of the characters of a text",
    ),
    "urls": Words(
        "URLs",
        "texts with a URL",
        "More texts have a URL than usual",
        "Fewer texts have a URL than usual",
        "share",
        "how many URLs a text has",
    ),
    "other_scripts": Words(
        "letters of other scripts",
        "letters outside the Latin script",
        "Texts have more letters outside the Latin script than usual",
        "Texts have fewer letters outside the Latin script than usual",
        "share",
        "letters that are not Latin, as a share of the characters of a text",
    ),
}
"""By the names of a summary; the shares of the labels are told one by one."""
_OF_SEVERAL = Words(
    "distance from the threshold",
    "mean distance from the threshold",
    "Probabilities are farther from their thresholds than usual",
    "Probabilities are nearer to their thresholds than usual",
    "decimal",
    "how far the probability that is nearest to the threshold of its label is from it",
)
"""What `margin` is where a text may have several labels."""
LABEL_NAME, LABEL_MEANING = "label shares", "which share of the rows each label has"


def words_of(statistic: str, night: Night) -> Words | None:
    """Of a statistic of a night; None for one of a later version, and for the shares of the labels."""
    return _OF_SEVERAL if statistic == "margin" and night.is_of_several else STATISTICS.get(statistic)


def name_of(statistic: str, night: Night) -> str:
    """What a statistic is called; one of a later version by its own name."""
    if statistic == "label":
        return LABEL_NAME
    words = words_of(statistic, night)
    return words.name if words else statistic.replace("_", " ")


def meaning_of(statistic: str, night: Night) -> str:
    """What a statistic is of one row; nothing of one of a later version."""
    words = words_of(statistic, night)
    return LABEL_MEANING if statistic == "label" else words.meaning if words else ""


def raised(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]


def lowered(text: str) -> str:
    """As it stands inside a sentence: names in capitals keep them."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def title_of(statistic: str) -> str:
    """What the figure of a statistic is, as a title."""
    return raised(STATISTICS[statistic].figure)


def shown(value: float | None, form: str) -> str:
    """A number in one of the forms: count, share, decimal, tenths, general, speed, seconds."""
    if value is None:
        return "–"
    if form == "count":
        return f"{round(value):,}"
    if form == "share":
        # Half a row in a thousand is none; three rows of a million are some.
        percent = 100 * value
        return f"{percent:.1f} %" if round(percent, 1) or not percent else f"{percent:.2g} %"
    if form == "decimal":
        return f"{value:.3f}"
    if form == "tenths":
        return f"{value:,.1f}"
    if form == "speed":
        return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
    if form == "seconds":
        whole = round(value)
        if whole < 60:
            return f"{whole} s"
        if whole < 3_600:
            return f"{whole // 60}:{whole % 60:02} min"
        return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02} h"
    return f"{value:.4g}"


def counted(count: int | None, night: Night) -> str:
    """A count of a night; of a run that ended early there may be more."""
    return f"at least {shown(count, 'count')}" if night.at_least and count is not None else shown(count, "count")


def day(date: dt.date) -> str:
    """A date with its weekday."""
    return f"{date:%a} {date.isoformat()}"


def short_day(date: dt.date, *, year: bool = False) -> str:
    """A date as `18 Nov`, or `18 Nov 2026`."""
    return f"{date.day} {date:%b %Y}" if year else f"{date.day} {date:%b}"


def rows(count: int) -> str:
    """`1 row`, `2,000 rows`."""
    return "1 row" if count == 1 else f"{count:,} rows"
