"""Summaries: fixed bins, sums of integers, the same whatever the order, and never too large for a manifest."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.outputs import records
from transforms.outputs.summary import statistics
from transforms.outputs.summary.record import (
    LONGEST_LABEL,
    MAX_BYTES,
    checked,
    first_bin,
    limited,
    merge,
    one_label,
    written,
)
from transforms.outputs.summary.statistics import doubling_bins, length_bins, share_bins, value_bins
from transforms.runs.verdict_record import Verdict, parse

# === Bins ===


@pytest.mark.parametrize(
    ("millionths", "bin"), [(0, 0), (49_999, 0), (50_000, 1), (949_999, 18), (950_000, 19), (1_000_000, 19)]
)
def test_shares_have_twenty_equal_bins(millionths: int, bin: int) -> None:
    assert share_bins(np.array([millionths])).tolist() == [bin]


def test_counts_double_from_bin_to_bin() -> None:
    counts = [0, 1, 2, 3, 4, 7, 8, 2**16 - 1, 2**16, 2**31 - 1]
    assert doubling_bins(np.array(counts)).tolist() == [min(count.bit_length(), 16) for count in counts]


def test_lengths_have_four_bins_an_octave() -> None:
    counts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 128, 159, 160, 65_535, 65_536, 10**9]
    assert length_bins(np.array(counts)).tolist() == [0, 4, 6, 8, 9, 10, 11, 12, 12, 13, 28, 28, 29, 63, 63, 63]
    assert length_bins(np.array([0])).tolist() == [0]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_value_lies_between_the_edges_of_its_bin(value: float) -> None:
    (found,) = value_bins(np.array([value], np.float32)).tolist()
    side = abs(found - 480)
    assert (found > 480) == (value >= 2**-10)
    assert (found < 480) == (value <= -(2**-10))
    if not side:
        return
    octave, step = divmod(side - 1, 16)
    lower, higher = (2.0 ** (octave - 10) * (1 + at / 16) for at in (step, step + 1))
    assert lower <= abs(value)
    assert abs(value) < higher or side == 480


# === Adding up ===

names = st.sampled_from(["probability", "token_count"])


@st.composite
def tallies(draw: st.DrawFn) -> dict[str, Any]:
    first = draw(st.integers(0, 5))
    bins = [1, *draw(st.lists(st.integers(0, 3), max_size=4)), 1][draw(st.integers(0, 1)) :]
    return {"rows": sum(bins), "sum": draw(st.integers(-5, 5)), **first_bin(first), "bins": bins}


groups = st.builds(
    lambda rows, found: {"rows": rows, "statistics": found}, st.integers(0, 9), st.dictionaries(names, tallies())
)
by_label = st.dictionaries(st.integers(0, 4), groups, max_size=4)
summaries = st.builds(
    lambda all_, labels, others: {
        "format": 2,
        "not_summarised": 0,
        **all_,
        "labels": [one_label(f"l{number}", number, labels[number]) for number in sorted(labels)],
        "other_labels": others and {"from": 50, **others},
    },
    groups,
    by_label,
    st.none() | groups,
)


def counts(summary: dict[str, Any]) -> Any:
    """What is counted, whatever empty bins are written out."""

    def of(group: dict[str, Any]) -> Any:
        told = {
            name: (t["rows"], t["sum"], {t.get("first", 0) + i: n for i, n in enumerate(t["bins"]) if n})
            for name, t in group["statistics"].items()
        }
        return group["rows"], told

    others = summary["other_labels"]
    return of(summary), {label["number"]: of(label) for label in summary["labels"]}, others and of(others)


@given(st.lists(summaries, max_size=5), st.randoms())
def test_any_order_and_any_grouping_give_the_same(parts: list[dict[str, Any]], random: Any) -> None:
    whole = merge(parts, 3)
    assert checked(whole)["not_summarised"] == 3
    shuffled = random.sample(parts, len(parts))
    cut = random.randint(0, len(parts))
    again = merge([merge(shuffled[:cut], 1), merge(shuffled[cut:], 2)])
    assert counts(again) == counts(whole)
    assert again["not_summarised"] == 3
    assert whole["rows"] == sum(part["rows"] for part in parts)


def test_adding_changes_none_of_its_parts() -> None:
    part = {
        "format": 2,
        "rows": 1,
        "labels": [],
        "statistics": {"urls": {"rows": 1, "sum": 0, "bins": [1]}},
    }
    before = json.dumps(part)
    merge([part, part, part])
    assert json.dumps(part) == before


# === In a manifest ===

BY_LABEL = {
    "probability": 10,
    "margin": 10,
    "entropy": 10,
    "token_count": 16,
    "truncated": 2,
    "unknown_tokens": 6,
    "digits": 5,
    "urls": 3,
    "other_scripts": 5,
}


def large(labels: int, each: int, name: str) -> dict[str, Any]:
    """Every bin that a label can be expected to have is full."""

    def group(bins: dict[str, int]) -> dict[str, Any]:
        told = {n: {"rows": each * b, "sum": each * 10**6, "bins": [each] * b} for n, b in bins.items()}
        return {"rows": each * 10, "statistics": told}

    found = [one_label(f"{number} {name}", number, group(BY_LABEL)) for number in range(min(labels, 50))]
    others = {"from": 50, **group(BY_LABEL)} if labels > 50 else None
    return {**merge([]), **group(dict.fromkeys(BY_LABEL, 64)), "labels": found, "other_labels": others}


def of_all_labels(summary: dict[str, Any]) -> int:
    return sum(group["rows"] for group in [*summary["labels"], summary["other_labels"]])


def test_fifty_labels_of_a_thousand_fit_with_a_hundred_thousand_rows_in_each_bin() -> None:
    whole = large(1_000, 100_000, "ordinary")
    assert limited(whole) == whole
    assert len(written({"summary": whole})) <= MAX_BYTES


@pytest.mark.parametrize("name", ["x" * 500, "\x01" * 500, "𝕏" * 500])
def test_it_never_takes_more_than_its_bytes(name: str) -> None:
    whole = large(1_000, 10**17, name)
    found = limited(whole)
    assert len(written({"summary": found})) <= MAX_BYTES
    assert checked(found)["statistics"] == whole["statistics"]
    assert 10 <= len(found["labels"]) < 50
    assert found["other_labels"]["from"] == len(found["labels"])
    assert of_all_labels(found) == of_all_labels(whole)
    assert all(len(label["label"]) <= LONGEST_LABEL for label in found["labels"])


def test_numbers_stand_on_one_line_and_the_json_is_the_same() -> None:
    content = {
        "summary": large(3, 5, 'a "label": [\\n 1,\\n 2\\n]'),
        "text": '[\n 1,\n 2\n] {\n "rows": 1,\n "sum": 2,\n "first": 0,\n "bins": []\n}',
        "empty": [],
        "mixed": [1, "x"],
        "deep": [[1, -2], [3]],
    }
    raw = written(content)
    assert json.loads(raw) == content
    assert b'"deep": [\n  [1,-2],\n  [3]\n ]' in raw
    assert b'"urls": {"rows": 15,"sum": 5000000,"bins": [5,5,5]}' in raw


MANIFEST: dict[str, Any] = {
    "sequence": 1,
    "run_id": "20261122T020000Z-0123ab",
    "logical_date": "2026-11-21",
    "finished": True,
    "bundle": "test@0123",
    "files": [],
    "dead_letters": [],
    "counts": {"read": 0, "scored": 0, "dead": 0},
}
TALLY = {"rows": 1, "sum": 1, "bins": [1]}


@pytest.mark.parametrize(
    "change",
    [
        {"rows": -1},
        {"rows": "1"},
        {"statistics": []},
        {"statistics": {"urls": {**TALLY, "bins": [-1]}}},
        {"statistics": {"urls": {**TALLY, "bins": "1"}}},
        {"statistics": {"urls": {**TALLY, "first": 10**9}}},
        {"statistics": {"urls": {**TALLY, "sum": 0.5}}},
        {"labels": [{"label": "x", "rows": 1, "statistics": {}}]},
        {"other_labels": {"rows": 1, "statistics": {}}},
    ],
)
def test_a_damaged_one_is_named_and_one_of_a_later_format_is_left_alone(change: dict[str, Any]) -> None:
    path = "/out/dt=2026-11-21/_manifest.json"
    good = {**MANIFEST, "summary": merge([])}
    assert records.manifest(json.dumps(good).encode(), path)["summary"] == merge([])
    bad = {**good, "summary": {**merge([]), **change}}
    with pytest.raises(records.RecordError, match=rf"^{path}: summary"):
        records.manifest(json.dumps(bad).encode(), path)
    later = {**good, "summary": {**merge([]), **change, "format": 3}}
    assert records.manifest(json.dumps(later).encode(), path)["summary"]["format"] == 3


@pytest.mark.parametrize(("format", "read"), [(2, False), (3, True)])
def test_a_verdict_with_a_summary_of_a_later_format_is_read_all_the_same(format: int, read: bool) -> None:
    path = f"/out/_runs/{MANIFEST['run_id']}/verdict.json"
    verdict = Verdict(status="passed", run_id=MANIFEST["run_id"], summary={"format": format, "rows": "seven"})
    if read:
        assert parse(written(asdict(verdict)), path) == verdict
        return
    with pytest.raises(records.RecordError, match=rf"^{path}: summary"):
        parse(written(asdict(verdict)), path)


def test_every_statistic_has_room_for_its_bins() -> None:
    known = [one for one in vars(statistics).values() if isinstance(one, statistics.Statistic)]
    assert len({one.name for one in known}) == len(known) == 11
    assert all(-(-one.bins // one.pooled) < 1 << 12 for one in known)
