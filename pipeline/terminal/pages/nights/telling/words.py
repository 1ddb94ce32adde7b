"""Numbers, states and statistics as a person reads them."""

import datetime as dt
from typing import NamedTuple

from pipeline.terminal.pages.nights.night import BROKEN, EXPIRED, MISSING, NOT_BEGUN
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
    """A statistic: its name, what its figure is, what a person says if that is higher or lower, and its form."""

    name: str
    figure: str
    higher: str
    lower: str
    form: str


STATISTICS = {
    "probability": Words(
        "probability",
        "mean probability of the label",
        "The model is surer than usual",
        "The model is less sure than usual",
        "decimal",
    ),
    "margin": Words(
        "margin",
        "mean lead of the best label over the second",
        "The best label leads by more than usual",
        "The best label leads by less than usual",
        "decimal",
    ),
    "entropy": Words(
        "entropy",
        "mean entropy of the probabilities",
        "Probabilities are spread over more labels than usual",
        "Probabilities are spread over fewer labels than usual",
        "decimal",
    ),
    "value": Words("value", "mean value", "Values are higher than usual", "Values are lower than usual", "general"),
    "labels_given": Words(
        "labels given",
        "labels a text",
        "Texts get more labels than usual",
        "Texts get fewer labels than usual",
        "decimal",
    ),
    "token_count": Words(
        "token count",
        "mean length in tokens",
        "Texts are longer than usual",
        "Texts are shorter than usual",
        "tenths",
    ),
    "truncated": Words(
        "truncated",
        "texts that were cut",
        "More texts are cut than usual",
        "Fewer texts are cut than usual",
        "share",
    ),
    "unknown_tokens": Words(
        "unknown tokens",
        "texts with unknown tokens",
        "More texts have unknown tokens than usual",
        "Fewer texts have unknown tokens than usual",
        "share",
    ),
    "digits": Words(
        "digits",
        "digits among the characters",
        "Texts have more digits than usual",
        "Texts have fewer digits than usual",
        "share",
    ),
    "urls": Words(
        "URLs",
        "texts with a URL",
        "More texts have a URL than usual",
        "Fewer texts have a URL than usual",
        "share",
    ),
    "other_scripts": Words(
        "other scripts",
        "letters outside the Latin script",
        "Texts have more letters outside the Latin script than usual",
        "Texts have fewer letters outside the Latin script than usual",
        "share",
    ),
}
"""By the names of a summary; the shares of the labels are told one by one."""
LABEL_NAME = "label shares"


def name_of(statistic: str) -> str:
    """What a statistic is called; one of a later version by its own name."""
    if statistic == "label":
        return LABEL_NAME
    return STATISTICS[statistic].name if statistic in STATISTICS else statistic.replace("_", " ")


def title_of(statistic: str) -> str:
    """What the figure of a statistic is, as a title."""
    figure = STATISTICS[statistic].figure
    return figure[0].upper() + figure[1:]


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
        return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{value:.4g}"


def day(date: dt.date) -> str:
    """A date with its weekday."""
    return f"{date:%a} {date.isoformat()}"


def rows(count: int) -> str:
    """`1 row`, `2,000 rows`."""
    return "1 row" if count == 1 else f"{count:,} rows"
