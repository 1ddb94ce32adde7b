"""What `bert-batch runs --format openmetrics` prints: the last dates of an output as metrics that Prometheus reads.

All are gauges, so that the text is OpenMetrics 1.0 and also the older format, which the textfile collector reads.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.terminal.escaping import escaped
from transforms.runs.history import NOT_ENDED, UNREADABLE
from transforms.runs.verdict_record import PUBLISHED, STATUSES

DATES = 31
"""The last dates that have series of their own."""
STATES = ("published", "pending", "broken")
UNPUBLISHED = (NOT_ENDED, UNREADABLE, *(status for status in STATUSES if status != PUBLISHED))
"""The states of runs that did not publish. Each has a series, or an alert would see none begin."""


Series = Sequence[tuple[Mapping[str, str], int]]


class Metric(NamedTuple):
    """A metric, what it says, and its series: labels and value."""

    name: str
    help: str
    series: Series


def openmetrics(output: str, document: Mapping[str, Any]) -> str:
    """The text of `document`, which is what `--format json` prints."""
    lines = []
    for metric in _metrics(document):
        if metric.series:
            name = f"bert_batch_{metric.name}"
            unit = [f"# UNIT {name} seconds"] if name.endswith("_seconds") else []
            lines += [f"# TYPE {name} gauge", *unit, f"# HELP {name} {metric.help}"]
            lines += [f"{name}{_labels({'output': output, **labels})} {value}" for labels, value in metric.series]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _metrics(document: Mapping[str, Any]) -> Iterator[Metric]:
    states = {entry["date"]: "pending" if entry["pending"] else "published" for entry in document["dates"]}
    states |= dict.fromkeys(document["broken"], "broken")
    recent = set(sorted(states)[-DATES:])
    dates = [entry for entry in document["dates"] if entry["date"] in recent]

    def of_each(key: str) -> Series:
        return [({"date": entry["date"]}, entry[key]) for entry in dates if entry[key] is not None]

    yield Metric("rows", "Rows of a published date.", of_each("rows"))
    yield Metric("dead_letters", "Rows of a published date that could not be scored.", of_each("dead"))
    yield Metric("skipped_rows", "Rows with the scores of an earlier date.", of_each("skipped"))
    yield Metric("duration_seconds", "From the start of the run to its publication.", of_each("seconds"))
    drifted = [({"date": entry["date"]}, len(entry["drift"])) for entry in dates if entry["drift"] is not None]
    yield Metric(
        "drifted_statistics", "Statistics farther from earlier dates or the baseline than they may be.", drifted
    )
    status = [({"date": date, "status": one}, int(states[date] == one)) for date in sorted(recent) for one in STATES]
    yield Metric("status", "1 for the status of a date.", status)
    if last := max(document["dates"], key=lambda entry: str(entry["date"]), default=None):
        midnight = dt.datetime.fromisoformat(last["date"]).replace(tzinfo=dt.UTC)
        yield Metric("last_date_timestamp_seconds", "Midnight (UTC) of the last published date.", _one(midnight))
    if times := [_time(entry["published_at"]) for entry in document["dates"] if entry["published_at"]]:
        yield Metric("last_published_timestamp_seconds", "When a date was last published.", _one(max(times)))
    found = [run["state"] for run in document["runs"]]
    unpublished = [({"state": state}, found.count(state)) for state in UNPUBLISHED]
    yield Metric("unpublished_runs", "Runs that did not publish and were not cleaned away.", unpublished)


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _one(time: dt.datetime) -> Series:
    return [({}, int(time.timestamp()))]


def _labels(labels: Mapping[str, str]) -> str:
    """Names and values, escaped as both formats have it; a value is one line."""
    told = (f'{name}="{_quoted(escaped(value))}"' for name, value in labels.items())
    return "{" + ",".join(told) + "}"


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
