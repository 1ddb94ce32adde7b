"""How far scores may differ, and what tells probabilities from logits."""

import numpy as np
import pytest

from model.errors import CheckpointError
from model.serving.exported.scores import TOLERANCE, check_probabilities, difference, look_like_probabilities


def softmax(x: np.ndarray) -> np.ndarray:
    return (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("sizes", [1, 5, 12])
def test_probabilities_are_compared_as_closely_as_the_logits_that_they_hide(sizes: int) -> None:
    x = np.random.default_rng(sizes).normal(size=(50, 4)) * sizes
    sigmoid = lambda x: (1 / (1 + np.exp(-x))).astype(np.float32)  # noqa: E731
    for function in (softmax, sigmoid):
        one = function(x)
        assert difference(one, function(x + 5e-7), probabilities=True) <= TOLERANCE
        moved = x.copy()
        moved[7, 2] = -2
        assert difference(function(moved), function(moved + 1e-3 * (moved == -2)), probabilities=True) > TOLERANCE
    rare = np.array([[1 - 1e-6, 1e-6]], np.float32)
    other = np.array([[1 - 5e-6, 5e-6]], np.float32)
    assert (difference(rare, other) <= TOLERANCE, difference(rare, other, probabilities=True) > 0.1) == (True, True)
    none = np.array([[1, 0]], np.float32)
    assert difference(none, np.array([[1, 1e-38]], np.float32), probabilities=True) == 0
    # What cannot be probabilities is compared as it is.
    assert difference(10 * one, 10 * one + 1e-7, probabilities=True) <= TOLERANCE


def test_a_difference_is_a_share_of_large_logits_and_absolute_for_small_ones() -> None:
    small, large = np.array([[0.5]], np.float32), np.array([[100.0]], np.float32)
    assert difference(small, small + np.float32(0.25)) == 0.25
    assert difference(large, large + 1) == 0.01
    assert difference(large, large * np.nan) == float("inf")
    assert not difference(small, small * np.inf) <= TOLERANCE


def test_probabilities_are_told_from_logits_as_far_as_can_be() -> None:
    sums = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    each = np.array([[0.25, 0.25], [1.0, 0.9]], np.float32)
    logits = np.array([[-0.25, 0.25], [3.0, 0.9]], np.float32)
    check_probabilities("it", sums, sum_to_one=True)
    check_probabilities("it", each, sum_to_one=False)
    assert look_like_probabilities(sums) == "adds up to 1"
    for scores in (each, np.ones((4, 1), np.float32)):
        assert look_like_probabilities(scores) == "has only numbers from 0 to 1"
    assert look_like_probabilities(logits) is None
    with pytest.raises(CheckpointError, match=r"add up to 0.5 to 1.9 in each row, not to 1"):
        check_probabilities("it", each, sum_to_one=True)
    with pytest.raises(CheckpointError, match=r"from -0.25 to 3, which are no probabilities"):
        check_probabilities("it", logits, sum_to_one=False)
