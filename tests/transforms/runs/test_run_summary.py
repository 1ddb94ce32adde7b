"""The summary in a manifest is that of the published rows, however the work was cut, interrupted or carried over."""

import json
import math
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import Built
from support.jobs import Outcome, Score, many_texts, write_parquet

from pipeline.errors import RunFailedError
from transforms.outputs.summary.record import MAX_BYTES, written
from transforms.score import macro_batch

OF_ROWS = ("probability", "token_count", "truncated")
OF_SCORED_ROWS = ("margin", "entropy", "unknown_tokens", "digits", "urls", "other_scripts")


# === The same in plain Python, from what is published ===


def share(probability: float) -> tuple[int, int]:
    """Millionths, and one of 20 equal bins."""
    number = round(probability * 1e6)
    return number, min(number * 20 // 1_000_000, 19)


def length(count: int) -> tuple[int, int]:
    """Four bins between a power of two and the next."""
    octave = count.bit_length() - 1
    return count, octave * 4 + (count * 4 >> octave) - 4


def value(number: float) -> tuple[int, int]:
    """Sixteen bins between a power of two and the next, from 2**-10 to 2**20, mirrored."""
    (single,) = struct.unpack("<I", struct.pack("<f", abs(number)))
    steps = (single >> 19) - ((127 - 10) << 4)
    side = min(max(steps + 1, 0), 480)
    return round(max(-1e6, min(1e6, number)) * 1e6), 480 - side if number < 0 else 480 + side


def tally(found: Iterable[tuple[int, int]], pooled: int = 1) -> dict[str, Any]:
    numbers = list(found)
    bins = Counter(bin // pooled for _, bin in numbers)
    counts = [bins[bin] for bin in range(min(bins), max(bins) + 1)]
    return {"rows": len(numbers), "sum": sum(n for n, _ in numbers), "first": min(bins), "bins": counts}


def plain(rows: list[dict[str, Any]], pooled: int = 1) -> dict[str, Any]:
    """The statistics that published rows tell."""
    by_name = {
        "token_count": tally((length(row["token_count"]) for row in rows), pooled),
        "truncated": tally((int(row["truncated"]), int(row["truncated"])) for row in rows),
    }
    if "value" in rows[0]:
        return {**by_name, "value": tally(value(row["value"]) for row in rows)}
    return {**by_name, "probability": tally((share(row["probability"]) for row in rows), pooled)}


def agrees(outcome: Outcome, labels: tuple[str, ...] = ("play", "book", "rate")) -> dict[str, Any]:
    """Checks the summary of a manifest against the rows beside it, and gives it."""
    rows, found = outcome.rows(), outcome.manifest["summary"]
    assert (found["format"], found["rows"], found["not_summarised"]) == (1, len(rows), 0)
    expected = plain(rows)
    assert {name: found["statistics"][name] for name in expected} == expected
    if "label" not in rows[0]:
        assert (found["labels"], found["other_labels"]) == ([], None)
        return found
    by_label = {name: [row for row in rows if row["label"] == name] for name in labels}
    assert [entry["label"] for entry in found["labels"]] == [name for name in labels if by_label[name]]
    for entry in found["labels"]:
        some = by_label[entry["label"]]
        assert (entry["rows"], labels[entry["number"]]) == (len(some), entry["label"])
        told = plain(some, pooled=2)
        assert {name: entry["statistics"][name] for name in told} == told
    return found


def denominators(summary: dict[str, Any]) -> dict[str, int]:
    return {name: found["rows"] for name, found in summary["statistics"].items()}


# === Whole jobs ===

TEXTS = ["see http://a.b and ftp://c.d", "Погода 42", "日本語 play", "https://x", "zzz \u1234 ☃"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    texts = [*many_texts(295), *TEXTS]
    return write_parquet(tmp_path / "in.parquet", {"id": [f"r{i}" for i in range(300)], "text": texts})


def test_it_counts_what_is_published_and_what_was_measured_on_the_way(run_job: Score, file: Path) -> None:
    outcome = run_job(file)
    found = agrees(outcome)
    assert denominators(found) == dict.fromkeys((*OF_ROWS, *OF_SCORED_ROWS), 300)
    rows = outcome.rows()
    listed = [[np.float32(p["probability"]) for p in row["probabilities"]] for row in rows]
    assert found["statistics"]["margin"] == tally(share(float(first - second)) for first, second, _ in listed)
    entropies = sum(-p * math.log(p) / math.log(3) for three in listed for p in map(float, three))
    assert found["statistics"]["entropy"]["sum"] == pytest.approx(entropies * 1e6, rel=1e-5)
    assert found["statistics"]["urls"] == {"rows": 300, "sum": 3, "first": 0, "bins": [298, 1, 1]}
    shares = [6 / 9, 3 / 8, 1 / 7]
    assert found["statistics"]["other_scripts"]["sum"] == sum(int(s * 1e6) for s in shares)
    assert found["statistics"]["digits"]["sum"] == sum(
        sum(c in "0123456789" for c in text) * 1_000_000 // len(text) for text in [*many_texts(295), *TEXTS]
    )
    assert found["statistics"]["unknown_tokens"]["sum"] >= 5


def test_top_k_changes_nothing(run_job: Score, file: Path, tmp_path: Path) -> None:
    whole = agrees(run_job(file))
    assert agrees(run_job(file, top_k=1, output=tmp_path / "one")) == whole


def test_values_of_a_regression(run_job: Score, file: Path, regression: Built) -> None:
    found = agrees(run_job(file, bundle=str(regression.path)))
    assert denominators(found) == dict.fromkeys(("value", "token_count", "truncated", *OF_SCORED_ROWS[2:]), 300)


def test_dead_letters_are_no_part_of_it(run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*many_texts(50), None, " "]
    rows = write_parquet(tmp_path / "in.parquet", {"id": [f"r{i}" for i in range(52)], "text": texts})
    score_all = macro_batch._score_all

    def gives_nan(*given: Any) -> Any:
        outputs, *more = score_all(*given)
        outputs[:7] = math.nan
        return outputs, *more

    monkeypatch.setattr(macro_batch, "_score_all", gives_nan)
    outcome = run_job(rows)
    assert outcome.manifest["counts"]["dead"] == 9
    assert set(denominators(agrees(outcome)).values()) == {43}


def test_no_rows_at_all(run_job: Score, tmp_path: Path) -> None:
    found = run_job(write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": [" "]})).manifest["summary"]
    assert found == {
        **{"format": 1, "rows": 0, "not_summarised": 0, "statistics": {}},
        **{"labels": [], "other_labels": None},
    }
