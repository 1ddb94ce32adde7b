"""Metrics and thresholds of several labels, against plain loops."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from model.training.metrics import metrics_of, reliability
from model.training.thresholds import (
    FEWEST_POSITIVES,
    average_precision,
    binary_cross_entropy,
    fit_thresholds,
    label_metrics,
    published,
    several_metrics,
    sigmoid,
)

LOGITS = st.sampled_from([-800.0, -3.0, -1.0, -0.2, 0.0, 0.1, 0.7, 2.0, 30.0, 900.0])


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count, labels = draw(st.integers(1, 60)), draw(st.integers(2, 4))
    logits = draw(st.lists(LOGITS, min_size=count * labels, max_size=count * labels))
    right = draw(st.lists(st.booleans(), min_size=count * labels, max_size=count * labels))
    return np.array(logits, np.float32).reshape(count, labels), np.array(right).reshape(count, labels)


def plain_f1(given: list[bool], right: list[bool]) -> float:
    hits = sum(g and r for g, r in zip(given, right, strict=True))
    return 2 * hits / (sum(given) + sum(right)) if sum(given) + sum(right) else 0.0


def plain_average_precision(shown: list[float], right: list[bool]) -> float:
    total = 0.0
    for at, is_right in zip(shown, right, strict=True):
        if is_right:
            above = [r for s, r in zip(shown, right, strict=True) if s >= at]
            total += sum(above) / len(above)
    return total / sum(right)


@given(rows(), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_metrics_are_those_of_a_plain_loop(case: tuple[np.ndarray, np.ndarray], thresholds: list[float]) -> None:
    logits, right = case
    labels = logits.shape[1]
    cuts = thresholds[:labels]
    found = several_metrics(logits, right, tuple(cuts))
    shown = published(logits)
    given = [[bool(shown[i, j] >= np.float32(cuts[j])) for j in range(labels)] for i in range(len(logits))]
    flat = plain_f1([g for row in given for g in row], right.ravel().tolist())
    assert found["micro_f1"] == pytest.approx(flat)
    each = [
        plain_f1([row[j] for row in given], right[:, j].tolist())
        for j in range(labels)
        if right[:, j].any() or any(row[j] for row in given)
    ]
    assert found["macro_f1"] == pytest.approx(sum(each) / len(each) if each else 0.0)
    precisions = [
        plain_average_precision(list(shown[:, j]), list(right[:, j])) for j in range(labels) if any(right[:, j])
    ]
    assert found["average_precision"] == pytest.approx(sum(precisions) / len(precisions) if precisions else 0.0)
    assert metrics_of(logits, right, tuple(cuts)) == found
    for j in range(labels):
        one = label_metrics(shown[:, j], right[:, j], cuts[j])
        assert one["f1"] == pytest.approx(plain_f1([row[j] for row in given], right[:, j].tolist()))


@given(rows())
def test_no_other_threshold_has_a_better_f1(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, right = np.repeat(case[0], FEWEST_POSITIVES, axis=0), np.repeat(case[1], FEWEST_POSITIVES, axis=0)
    shown = np.round(sigmoid(logits), 6)
    for j, threshold in enumerate(fit_thresholds(logits, right)):
        assert 0 <= threshold <= 1
        if not right[:, j].any():
            assert threshold == 0.5
            continue
        found = plain_f1(list(published(logits)[:, j] >= np.float32(threshold)), list(right[:, j]))
        for other in (0.0, *np.unique(shown[:, j])):
            assert found >= plain_f1(list(shown[:, j] >= other), list(right[:, j])) - 1e-9


def test_a_threshold_lies_between_two_probabilities_and_rounding_moves_no_row_across() -> None:
    logits = np.array([[-1.0, 0.0]] * 20 + [[1.0, 0.0]] * 20, np.float32)
    right = np.array([[False, True]] * 20 + [[True, True]] * 20)
    first, second = fit_thresholds(logits, right)
    assert first == pytest.approx((sigmoid(np.array(-1.0)) + sigmoid(np.array(1.0))) / 2)
    assert second <= 0.5, "all rows have that label"


def test_a_label_of_few_rows_keeps_the_usual_threshold() -> None:
    logits = np.array([[-2.0]] * 100 + [[-1.0]] * 20, np.float32)
    right = np.array([[False]] * 100 + [[True]] * 20)
    assert fit_thresholds(logits, right)[0] < 0.5
    right[-1] = False
    assert fit_thresholds(logits, right) == (0.5,)


@given(st.lists(st.floats(-20, 20, width=32), min_size=20, max_size=60), st.data())
def test_what_is_measured_is_what_a_job_gives(values: list[float], data: st.DataObject) -> None:
    """A graph's sigmoid may be some digits off, and a job compares in float32."""
    logits = np.round(np.array(values), 1).astype(np.float32)[:, np.newaxis]
    right = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))[:, np.newaxis]
    (threshold,) = fit_thresholds(logits, right)
    measured = published(logits) >= np.float32(threshold)
    given = tf.sigmoid(logits).numpy() >= np.float32(threshold)
    assert (measured == given).all()


def test_all_rows_have_a_label_that_is_best_given_to_all() -> None:
    logits = np.array([[0.2], [0.3], [0.4]] * 20, np.float32)
    right = np.array([[True], [False], [True]] * 20)
    (threshold,) = fit_thresholds(logits, right)
    assert threshold < float(published(logits).min()) - 0.1


def test_probabilities_that_are_one_in_float32_are_not_told_apart() -> None:
    logits = np.array([[17.0], [20.0]] * 30, np.float32)  # For both tf.sigmoid gives 1.0.
    right = np.array([[False], [True]] * 30)
    (threshold,) = fit_thresholds(logits, right)
    assert several_metrics(logits, right, (threshold,))["micro_f1"] == pytest.approx(2 / 3)


def test_known_values() -> None:
    # By hand: of 4 texts the best has the label, the third too; precision 1 and 2/3.
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False])) == pytest.approx(
        5 / 6
    )
    # Three equal probabilities are one step: one of three is right.
    assert average_precision(np.array([0.5, 0.5, 0.5]), np.array([True, False, False])) == pytest.approx(1 / 3)
    loss = binary_cross_entropy(np.array([[0.0, 2.0]]), np.array([[True, False]]))
    assert loss == pytest.approx((math.log(2) + math.log(1 + math.e**2)) / 2)
    assert binary_cross_entropy(np.array([[1e4, -1e4]], np.float32), np.array([[True, False]])) == 0


def test_reliability_of_several_labels_counts_every_label_of_every_row() -> None:
    logits = np.array([[-5.0, 5.0], [-5.0, 5.0]], np.float32)
    steps = reliability(logits, np.array([[False, True], [False, False]]))
    assert [(step["rows"], step["accuracy"]) for step in steps] == [(2, 0.0), (2, 0.5)]
