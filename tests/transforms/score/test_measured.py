"""What a certificate counts, and how it is made from rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import Built
from support.scorers import FakeScorer, ragged

from transforms.score.certificates import measure
from transforms.score.certificates.certificate import (
    folder_of,
    read_certificates,
    write_certificate,
)
from transforms.score.certificates.measure import (
    against_gold,
    certify,
    changed_labels,
    changed_probabilities,
    changed_values,
    compare,
)
from transforms.score.devices import Device
from transforms.score.engines.chips import Chip
from transforms.score.engines.choice import Choice

CPU, OLD = Device(kind="cpu"), Chip(kind="avx2", name="Old Chip")
NAN = float("nan")


def floats(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


PLAIN = floats([0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9])
OTHER = floats([0.6, 0.4], [0.45, 0.55], [0.25, 0.75], [NAN, 0.9])


def test_changed_labels_are_counted_and_a_row_that_is_not_finite_has_changed() -> None:
    assert changed_labels(PLAIN, OTHER).labels == 2
    assert changed_labels(PLAIN, OTHER).share == 0.5
    assert changed_labels(PLAIN, PLAIN).labels == 0


def test_a_probability_moves_by_the_most_of_its_row() -> None:
    found = changed_probabilities(PLAIN[:3], OTHER[:3])
    assert (found.largest, found.mean) == (pytest.approx(0.15, abs=1e-6), pytest.approx((0.1 + 0.15 + 0.05) / 3))
    assert changed_probabilities(PLAIN, OTHER).largest == 1.0


def test_values_are_compared_with_their_spread() -> None:
    plain, other = np.array([1, 2, 3, 4], np.float32), np.array([1.1, 1.9, 3.0, 4.2], np.float32)
    found = changed_values(plain, other)
    rms = np.sqrt((0.01 + 0.01 + 0.04) / 4)
    assert (found.rms, found.spread) == (pytest.approx(rms, rel=1e-5), pytest.approx(np.sqrt(1.25)))
    assert found.share == pytest.approx(rms / np.sqrt(1.25), rel=1e-5)
    assert (found.largest, found.mean) == (pytest.approx(0.2, rel=1e-5), pytest.approx(0.1, rel=1e-5))
    assert changed_values(plain, np.array([1, 2, 3, NAN], np.float32)).largest >= 4


def test_gold_labels_count_what_each_has_right_alone() -> None:
    found = against_gold(PLAIN, OTHER, ["a", "a", None, "elsewhere"], ("a", "b"))
    assert found is not None
    assert (found.rows, found.plain, found.other) == (3, pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (found.only_plain, found.only_other, found.p) == (1, 0, 1.0)
    assert against_gold(PLAIN, OTHER, [None] * 4, ("a", "b")) is None


def test_gold_values_are_correlated_with_both() -> None:
    plain, other = floats([1], [2], [3], [5]), floats([1], [2], [3], [4])
    found = against_gold(plain, other, [1.0, 2.0, 3.0, 4.0], ())
    assert found is not None
    assert (found.other, found.p) == (pytest.approx(1.0), None)
    assert found.plain == pytest.approx(np.corrcoef([1, 2, 3, 5], [1, 2, 3, 4])[0, 1])


def test_both_score_every_row_by_turns_and_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "AT_ONCE", 8)
    turns: list[str] = []

    class Told(FakeScorer):
        def __init__(self, name: str, add: int) -> None:
            super().__init__()
            self.name, self.add = name, add

        def __call__(self, *arguments: Any) -> Any:
            turns.append(self.name)
            return super().__call__(*arguments) + self.add

    rows = [([i + 100], 1) for i in range(30)]
    found = compare(ragged(rows), Told("plain", 0), Told("other", 5))
    np.testing.assert_array_equal(found.plain[:, 0], np.arange(30) + 100)
    np.testing.assert_array_equal(found.other, found.plain + 5)
    assert min(found.speed.plain, found.speed.other) > 0
    # First a part of both that is not timed; then parts of eight, and another one begins each time.
    assert turns == ["plain", "other", *["plain", "other", "other", "plain"] * 2]


def test_rows_become_a_certificate_copies_left_out(classes: Built) -> None:
    bundle, generator = classes.bundle, np.random.default_rng(8)
    rows = [([2, *generator.integers(10, 80, 1 + i % 9).tolist()], 1) for i in range(200)]
    gold = [bundle.labels[i % 3] for i in range(200)]
    given = ragged([*rows, *rows[:50]])
    made = certify(
        bundle,
        given,
        Choice(precision="bfloat16"),
        device=CPU,
        chip=OLD,
        limit=0.01,
        gold=[*gold, *gold[:50]],
        left_out=4,
    )
    distinct = len({(first, *tokens) for tokens, first in rows})
    assert (made.rows, made.copies, made.left_out) == (distinct, 250 - distinct, 4)
    assert (made.name, made.engine) == (f"{bundle.fingerprint}-bfloat16-tensorflow-avx2.json", "tensorflow")
    assert made.versions.keys() == {"tensorflow"}
    assert made.changed is not None
    assert made.probabilities is not None
    assert made.gold is not None
    assert 0 < made.probabilities.largest < 0.1, "float32 against itself would prove nothing"
    assert made.gold.rows == distinct
    assert made.judged(0.01) == (made.verdict, made.rows_missing)
    assert min(made.texts_per_second.plain, made.texts_per_second.other) > 0
    with pytest.raises(ValueError, match="no row is left"):
        certify(bundle, ragged([]), Choice(precision="bfloat16"), device=CPU, chip=OLD, limit=0.01)


def test_a_regression_has_values_in_place_of_labels(regression: Built, tmp_path: Path) -> None:
    rows = ragged([([2, *range(10 + i % 30, 20 + i % 50), 10 + i % 7], 1) for i in range(60)])
    made = certify(
        regression.bundle,
        rows,
        Choice(precision="bfloat16"),
        device=CPU,
        chip=OLD,
        limit=0.05,
        gold=[float(i) for i in range(60)],
    )
    assert (made.changed, made.probabilities) == (None, None)
    assert made.values is not None
    assert made.gold is not None
    assert 0 < made.values.rms < made.values.spread
    assert (made.gold.rows, made.gold.p) == (made.rows, None)
    folder = str(tmp_path / "bundle")
    write_certificate(folder, made)
    assert folder_of(folder) == folder + ".certificates"
    (again,) = read_certificates(folder, regression.bundle, "avx2")
    assert again.judged(0.05) == made.judged(0.05)
