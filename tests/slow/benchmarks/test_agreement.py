"""A benchmark ends when a contestant has computed something else."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.agreement import (
    Scored,
    WrongResultError,
    check_scores,
    logits_differ,
    tokens_differ,
    written_scores,
)
from benchmarks.harness.contest import Ratio, rotated
from benchmarks.harness.report import Bar
from benchmarks.workloads.corpora import sample

LOGITS = np.random.default_rng(0).normal(size=(64, 7))
OURS = {"a": Scored(1, 0.5, 0.01), "b": Scored(2, 0.75, 0.6)}


def test_logits_are_compared_row_by_row_and_up_to_a_constant() -> None:
    assert logits_differ("x", LOGITS + 3, LOGITS, "float32") < 1e-12
    one_row = LOGITS.copy()
    one_row[63, 0] += 0.1
    assert 0.05 < logits_differ("x", one_row, LOGITS, "bfloat16") < 0.1
    for wrong in (one_row, LOGITS[::-1], LOGITS * math.nan, LOGITS[:8]):
        with pytest.raises(WrongResultError, match="x: logits"):
            logits_differ("x", wrong, LOGITS, "float32")


def test_another_number_of_tokens_is_wrong() -> None:
    tokens_differ("x", 1_001, 1_000)
    with pytest.raises(WrongResultError, match="x: 998 tokens, this project has 1,000"):
        tokens_differ("x", 998, 1_000)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"a": (1, 0.5)}, "x: 1 of 2 rows scored"),
        ({"a": (1, 0.5), "c": (2, 0.75)}, "x: 1 of 2 rows scored"),
        ({"a": (1, 0.5), "b": (3, 0.75)}, "x: row b"),
        ({"a": (1, 0.502), "b": (2, 0.75)}, "x: row a"),
        ({"a": (1, math.nan), "b": (2, 0.75)}, "x: row a"),
    ],
)
def test_rows_that_are_missing_or_scored_otherwise_are_wrong(found: dict[str, tuple[int, float]], message: str) -> None:
    with pytest.raises(WrongResultError, match=message):
        check_scores("x", {key: Scored(*row) for key, row in found.items()}, OURS, 2)


def test_another_class_is_right_where_two_are_as_near_as_the_precision_is_exact() -> None:
    found = {"a": Scored(3, 0.49), "b": Scored(2, 0.76)}
    assert check_scores("x", found, OURS, 2, "bfloat16") == 0.5
    with pytest.raises(WrongResultError, match="x: row a"):
        check_scores("x", found, OURS, 2)
    with pytest.raises(WrongResultError, match="x: row b"):
        check_scores("x", {**found, "b": Scored(3, 0.76)}, OURS, 2, "bfloat16")


def test_what_a_machine_cannot_measure_is_said_and_fails_nobody() -> None:
    bar = Bar.unmeasured("rows/s in bfloat16", 0.98, "needs AMX; this chip is of class avx2")
    assert bar.kept
    assert bar.line == "| rows/s in bfloat16 | not measured | needs AMX; this chip is of class avx2 | ≥ 0.98 | |"
    assert not Bar.faster("rows/s", Ratio(0.9, 0.8, 1.0), 0.98).kept


def test_scores_as_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "scored.txt-00000-of-00001"
    file.write_text(
        "".join(json.dumps({"id": k, "label": str(c), "probability": p}) + "\n" for k, (c, p, _) in OURS.items())
    )
    check_scores("x", written_scores(file), OURS, 2)
    with pytest.raises(WrongResultError, match="this project: 2 of 3 rows scored"):
        check_scores("x", written_scores(file), OURS, 3)


def test_a_sample_is_as_long_as_the_whole() -> None:
    lengths = np.random.default_rng(1).lognormal(4, 1, 600).astype(int) + 1
    texts = ["x" * length for length in lengths]
    mean = np.mean([len(text) for text in sample(texts, 80)])
    assert abs(mean / lengths.mean() - 1) < 0.05
    assert abs(np.mean(lengths[np.argsort(lengths)][:80]) / lengths.mean() - 1) > 0.5
    assert sorted(sample(texts, 600)) == sorted(texts)


def test_everybody_begins_a_round() -> None:
    assert [rotated("abc", number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert sorted(rotated("abc", 2)) == ["a", "b", "c"]
