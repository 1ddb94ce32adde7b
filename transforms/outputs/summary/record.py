"""A summary as JSON: checked when it is read, added up without regard to order, and cut to what a manifest takes."""

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NotRequired

import pydantic
from typing_extensions import TypedDict

from transforms.outputs.json_text import written

FORMAT = 2
MOST_LABELS = 50
"""Labels that are told apart: the first ones of the bundle. All others are one group."""
LONGEST_LABEL = 40
"""Characters of a label that a summary has."""
MAX_BYTES = 65_536
"""Of a summary in a manifest. Where it would be larger, fewer labels are told apart."""

Content = dict[str, Any]
Compressed = bytes
Number = Annotated[int, pydantic.Field(strict=True)]
Count = Annotated[int, pydantic.Field(strict=True, ge=0)]


# Dictionaries and no models: one would be made of each of hundreds of tallies, whenever a record is read.
class _Tally(TypedDict):
    rows: Count
    sum: Number
    first: NotRequired[Annotated[Count, pydantic.Field(lt=1 << 12)]]
    bins: Annotated[list[Count], pydantic.Field(max_length=1 << 12)]


class _Group(TypedDict):
    rows: Count
    statistics: dict[str, _Tally]


class _Label(_Group):
    label: str
    number: Count


class _OtherLabels(_Group):
    start: Annotated[Count, pydantic.Field(alias="from")]


class _Summary(_Group):
    format: Count
    not_summarised: NotRequired[Count]
    labels: NotRequired[list[_Label]]
    other_labels: NotRequired[_OtherLabels | None]


_SUMMARY = pydantic.TypeAdapter(_Summary)


def checked(content: Any) -> Content:
    """`content` if it is a summary of this format; raises ValueError."""
    if _SUMMARY.validate_python(content)["format"] != FORMAT:
        raise ValueError("a summary of another format")
    found: Content = content
    return found


def _of_this_format_or_not_read(content: Content) -> Content:
    return checked(content) if content.get("format") == FORMAT else content


Summary = Annotated[Content, pydantic.AfterValidator(_of_this_format_or_not_read)]
"""In a manifest: one of another format is left as it is."""


def one_label(label: str, number: int, group: Mapping[str, Any]) -> Content:
    """The entry of one label; `number` is its place in the bundle."""
    short = label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"
    return {"label": short, "number": number, **group}


def merge(summaries: Iterable[Mapping[str, Any]], not_summarised: int = 0) -> Content:
    """All of it together; `not_summarised` are the rows of files that an earlier version has staged."""
    everything: Content = {"rows": 0, "statistics": {}}
    labels: dict[int, Content] = {}
    others: Content | None = None
    for summary in summaries:
        everything = _added(everything, summary)
        not_summarised += summary.get("not_summarised", 0)
        for label in summary["labels"]:
            number = label["number"]
            labels[number] = _added(labels[number], label) if number in labels else label
        if (found := summary.get("other_labels")) is not None:
            others = found if others is None else _added(others, found)
    return {
        "format": FORMAT,
        "rows": everything["rows"],
        "not_summarised": not_summarised,
        "statistics": everything["statistics"],
        "labels": [labels[number] for number in sorted(labels)],
        "other_labels": others,
    }


def compressed(summary: Mapping[str, Any]) -> Compressed:
    """The summary as it travels between steps: a run has one a staged file, and as objects each takes 200 KB."""
    return zlib.compress(json.dumps(summary, separators=(",", ":")).encode(), 1)


def decompressed(data: Compressed) -> Content:
    """The summary that `compressed` made this of."""
    found: Content = json.loads(zlib.decompress(data))
    return found


def _added(one: Mapping[str, Any], other: Mapping[str, Any]) -> Content:
    """Two groups of rows as one, with the name of the first."""
    statistics: Content = dict(one["statistics"])
    for name, tally in other["statistics"].items():
        statistics[name] = add_tallies(statistics[name], tally) if name in statistics else tally
    return {**one, "rows": one["rows"] + other["rows"], "statistics": statistics}


def add_tallies(one: Mapping[str, Any], other: Mapping[str, Any]) -> Content:
    """Two tallies of one statistic as one."""
    lower, higher = sorted((one, other), key=_first)
    ahead = _first(higher) - _first(lower)
    bins = list(lower["bins"]) + [0] * (ahead + len(higher["bins"]) - len(lower["bins"]))
    for place, count in enumerate(higher["bins"], ahead):
        bins[place] += count
    sums = {key: one[key] + other[key] for key in ("rows", "sum")}
    return {**sums, **first_bin(_first(lower)), "bins": bins}


def _first(tally: Mapping[str, Any]) -> int:
    first: int = tally.get("first", 0)
    return first


def first_bin(number: int) -> dict[str, int]:
    """The entry of a tally that says which bin its first count is of: none for bin 0."""
    return {"first": number} if number else {}


def limited(summary: Content, most: int = MAX_BYTES) -> Content:
    """The summary with as many labels told apart as `most` bytes of a manifest hold; the last ones go to the others."""
    while summary["labels"] and len(written({"summary": summary})) > most:
        *kept, last = summary["labels"]
        group = {"from": last["number"], "rows": last["rows"], "statistics": last["statistics"]}
        others = summary["other_labels"]
        summary = {**summary, "labels": kept, "other_labels": group if others is None else _added(group, others)}
    return summary
