"""The summary of published rows in plain Python: what the manifest must say of them."""

import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]
Told = tuple[int, int]
"""The number of a row, and its bin."""


def share(probability: float) -> Told:
    """Millionths; twenty equal bins."""
    number = round(probability * 1e6)
    return number, min(number * 20 // 1_000_000, 19)


def length(count: int) -> Told:
    """Four bins between a power of two and the next."""
    octave = count.bit_length() - 1
    return count, octave * 4 + (count * 4 >> octave) - 4


def value(number: float) -> Told:
    """Millionths; sixteen bins between a power of two and the next, from 2**-10 to 2**20, mirrored."""
    (bits,) = struct.unpack("<I", struct.pack("<f", abs(number)))
    side = min(max((bits >> 19) - ((127 - 10) << 4) + 1, 0), 480)
    return round(max(-1e6, min(1e6, number)) * 1e6), 480 - side if number < 0 else 480 + side


def count(number: int) -> Told:
    """Bins that double."""
    return number, min(number.bit_length(), 16)


def tally(told: Iterable[Told], pooled: int = 1) -> dict[str, Any]:
    """`pooled` neighbouring bins are one."""
    found = list(told)
    bins = Counter(bin // pooled for _, bin in found)
    first = {"first": min(bins)} if min(bins) else {}
    counts = [bins[bin] for bin in range(min(bins), max(bins) + 1)]
    return {"rows": len(found), "sum": sum(number for number, _ in found), **first, "bins": counts}


def group(rows: Sequence[Row], label: str | None = None) -> dict[str, Any]:
    """Rows and statistics of what is published; of the rows with one label, where it is given."""
    pooled = 1 if label is None else 2
    found = {
        "token_count": tally((length(row["token_count"]) for row in rows), pooled),
        "truncated": tally((int(row["truncated"]),) * 2 for row in rows),
    }
    if "value" in rows[0]:
        return {"rows": len(rows), "statistics": {**found, "value": tally(value(row["value"]) for row in rows)}}
    shares = [share(_probability(row, label)) for row in rows]
    found["probability"] = tally(shares, pooled)
    if "labels" in rows[0]:
        found["labels_given"] = tally(count(len(row["labels"])) for row in rows)
    return {"rows": len(rows), "statistics": found}


def _probability(row: Row, label: str | None) -> float:
    of_labels = {entry["label"]: entry["probability"] for entry in row.get("labels", [])}
    found: float = of_labels[label] if label in of_labels else row["probabilities"][0]["probability"]
    return found


def has(row: Row, label: str) -> bool:
    """Is the row given the label?"""
    return row["label"] == label if "label" in row else label in {entry["label"] for entry in row["labels"]}


def by_label(rows: Sequence[Row], labels: Sequence[str]) -> list[dict[str, Any]]:
    """The groups of labels that rows have; each with its place among `labels`."""
    some = {label: [row for row in rows if has(row, label)] for label in labels}
    return [
        {"label": label, "number": number, **group(some[label], label)}
        for number, label in enumerate(labels)
        if some[label]
    ]


def told(of: dict[str, Any]) -> dict[str, Any]:
    """Of a group in a summary what published rows tell."""
    known = ("token_count", "truncated", "value", "probability", "labels_given")
    kept = {name: found for name, found in of["statistics"].items() if name in known}
    return {**of, "statistics": kept}


def assert_tells(summary: dict[str, Any], rows: Sequence[Row], labels: Sequence[str] = ()) -> None:
    """The summary is that of these rows, each counted once; `labels` are those of the bundle."""
    assert (summary["format"], summary["not_summarised"]) == (2, 0)
    expected = group(rows)
    assert told({key: summary[key] for key in expected}) == expected
    assert [told(found) for found in summary["labels"]] == by_label(rows, labels[:50])


def sampled(rows: Iterable[Row]) -> list[Row]:
    """Those of which everything is measured."""
    return [row for row in rows if row["text_hash"] % 8 == 0]


def denominators(summary: dict[str, Any]) -> dict[str, int]:
    """Rows that each statistic was computed for."""
    return {name: found["rows"] for name, found in summary["statistics"].items()}
