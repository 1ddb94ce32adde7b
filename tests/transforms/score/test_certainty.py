"""Margin and entropy are what a plain loop computes of the probabilities."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.batches.measures import MEASURE, packed, unpacked
from transforms.score.certainty import distances, entropies, margins, with_certainty

one = st.floats(0, 1, width=32)
rows = st.integers(1, 6).flatmap(lambda labels: st.lists(st.tuples(*[one] * labels), min_size=1, max_size=5))


def ranked(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return -np.sort(-probabilities, axis=1)


def entropy(shares: list[float]) -> float:
    return -sum(share * math.log2(share) for share in shares if share > 0)


@given(rows)
def test_of_one_label_of_several(shares: list[tuple[float, ...]]) -> None:
    normal = [[share / max(sum(row), 1e-9) for share in row] for row in shares]
    probabilities = np.array(normal, np.float32)
    ordered = [[*sorted(row, reverse=True), 0.0] for row in probabilities.tolist()]
    assert margins(ranked(probabilities)) == pytest.approx([row[0] - row[1] for row in ordered], abs=1e-6)
    labels = len(shares[0])
    expected = [entropy(row) / math.log2(labels) if labels > 1 else 0 for row in probabilities.tolist()]
    assert entropies(probabilities, several=False) == pytest.approx(np.clip(expected, 0, 1), abs=1e-5)


@given(rows)
def test_of_several_labels_a_text(shares: list[tuple[float, ...]]) -> None:
    probabilities = np.array(shares, np.float32)
    thresholds = [0.5, 0.25, 0.75, 0.1, 0.9, 0.3][: len(shares[0])]
    nearest = [min(abs(p - t) for p, t in zip(row, thresholds, strict=True)) for row in probabilities.tolist()]
    assert distances(probabilities, thresholds) == pytest.approx(nearest, abs=1e-6)
    expected = [np.mean([entropy([p, 1 - p]) for p in row]) for row in probabilities.tolist()]
    assert entropies(probabilities, several=True) == pytest.approx(expected, abs=1e-5)


@given(st.integers(0, 9_999), st.sampled_from([1, 2, 7, 8, 16, 17, 77, 150, 9_000]), st.data())
def test_what_a_row_has_does_not_depend_on_the_rows_beside_it(seed: int, labels: int, data: st.DataObject) -> None:
    generator = np.random.default_rng(seed)
    wide = generator.random((data.draw(st.integers(1, 40)), labels + 3), np.float32) ** generator.integers(1, 30)
    probabilities = wide[:, :labels]
    thresholds = data.draw(st.sampled_from([(), (0.5,) * labels]))
    sample = np.flatnonzero(generator.random(len(wide)) < 0.5)
    whole = with_certainty(np.zeros(len(wide), MEASURE), probabilities, ranked(probabilities), sample, thresholds)
    assert set(np.flatnonzero(whole["entropy"])) <= set(sample)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wide)), max_size=4)))
    for start, end in itertools.pairwise([0, *cuts, len(wide)]):
        chosen = sample[(sample >= start) & (sample < end)] - start
        for part in (probabilities[start:end].copy(), np.asfortranarray(probabilities[start:end])):
            found = with_certainty(np.zeros(len(part), MEASURE), part, ranked(part), chosen, thresholds)
            assert (found == whole[start:end]).all()
            several = bool(thresholds)
            alone = entropies(part, several=several)
            assert alone.tobytes() == entropies(probabilities, several=several)[start:end].tobytes()


def test_they_stand_beside_what_was_measured_of_the_text() -> None:
    before = np.zeros(2, MEASURE)
    before["digits"] = [7, 8]
    column = packed(before)
    probabilities = np.array([[0.25, 0.75], [1, 0]], np.float32)
    found = unpacked(packed(with_certainty(unpacked(column), probabilities, ranked(probabilities), np.arange(2))))
    assert found["digits"].tolist() == [7, 8]
    assert found["margin"].tolist() == [500_000, 1_000_000]
    assert found["entropy"].tolist() == [811_278, 0]
    assert unpacked(column)["margin"].tolist() == [0, 0]
    assert unpacked(column.slice(1))["digits"].tolist() == [8]
