"""Temperature, calibration error and what is decided, against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import lively

from model.network.config import BertConfig
from model.network.encoder import INPUT_NAMES
from model.training.calibration import (
    _loss,
    calibration_error,
    confidences,
    decided,
    divide_logits,
    fit_temperature,
)


def drawn(temperature: float, *, several: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right as often as they say once they are divided by `temperature`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(20_000, 3)) * 2
    if several:
        targets = generator.random(logits.shape) < 1 / (1 + np.exp(-logits))
    else:
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        targets = (generator.random((len(logits), 1)) > shares.cumsum(axis=1)).sum(axis=1)
    return (logits * temperature).astype(np.float32), targets


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_and_mends_the_error(temperature: float, several: bool) -> None:
    logits, targets = drawn(temperature, several=several)
    found = fit_temperature(logits, targets)
    assert found == pytest.approx(temperature, rel=0.05)
    mended = (logits / found).astype(np.float32)
    assert calibration_error(mended, targets) < 0.015
    if temperature != 1.0:
        assert calibration_error(logits, targets) > 0.04


@given(
    st.lists(st.tuples(st.lists(st.floats(-9, 9), min_size=3, max_size=3), st.integers(0, 2)), min_size=1, max_size=30),
    st.booleans(),
    st.floats(-2.9, 2.9),
)
def test_no_other_temperature_has_less_loss(rows: list[tuple[list[float], int]], several: bool, other: float) -> None:
    logits = np.array([row for row, _ in rows], np.float32)
    targets = np.array([target for _, target in rows])
    if several:
        targets = np.arange(3) == targets[:, np.newaxis]
    found = fit_temperature(logits, targets)
    assert 1 / 20.01 <= found <= 20.01
    assert _loss(logits, targets, -np.log(found)) <= _loss(logits, targets, other) + 1e-6


@given(st.integers(0, 2**32), st.booleans())
def test_the_loss_is_that_of_a_plain_loop(seed: int, several: bool) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(7, 3)) * 3
    targets = generator.random((7, 3)) < 0.5 if several else generator.integers(0, 3, 7)
    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        if several:
            for j, (logit, right) in enumerate(zip(row, target, strict=True)):
                hits = int(targets[:, j].sum())
                share = (hits + 1) / (hits + 2) if right else 1 / (7 - hits + 2)
                p = 1 / (1 + np.exp(-logit))
                total -= (share * np.log(p) + (1 - share) * np.log(1 - p)) / 3
        else:
            p = np.exp(row) / np.exp(row).sum()
            total -= sum((8 / 9 if c == target else 1 / 9 / 2) * np.log(p[c]) for c in range(3))
    assert _loss(logits, targets, 0.0) == pytest.approx(total / 7)


@pytest.mark.parametrize("several", [False, True])
def test_rows_that_are_all_right_do_not_make_a_network_sure_of_everything(several: bool) -> None:
    generator = np.random.default_rng(3)
    targets = generator.integers(0, 3, 210)
    right = np.arange(3) == targets[:, np.newaxis]
    logits = (generator.normal(size=(210, 3)) * 0.5 + np.where(right, 4, -4)).astype(np.float32)
    found = fit_temperature(logits, right if several else targets)
    said, _ = confidences(logits / np.float32(found), targets)
    assert 0.97 < said.mean() < 0.9999
    assert found > 0.4


def test_the_temperature_is_in_the_weights_of_the_head() -> None:
    config = BertConfig(
        vocab_size=16, hidden_size=8, num_layers=1, num_attention_heads=1, inner_dim=8, max_sequence_length=8
    )
    classifier = lively(config, 3, seed=1)
    rows = {name: np.ones((2, 4), np.int32) for name in INPUT_NAMES}
    before = classifier(rows).numpy()
    divide_logits(classifier, 2.5)
    np.testing.assert_allclose(classifier(rows).numpy(), before / 2.5, rtol=1e-5, atol=1e-6)


def test_the_error_by_hand() -> None:
    # Two bins of two rows: 0.6 said and half right, 0.9 said and all right.
    logits = np.log(np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1]], np.float32))
    targets = np.array([0, 1, 0, 0])
    assert calibration_error(logits, targets, bins=2) == pytest.approx((0.1 + 0.1) / 2, abs=1e-6)
    assert calibration_error(logits[:1], targets[:1]) == pytest.approx(0.4, abs=1e-6), "fewer rows than bins"


def test_what_is_decided_by_hand() -> None:
    logits = np.log(np.array([[0.6, 0.4], [0.7, 0.3], [0.9, 0.1], [0.2, 0.8]], np.float32))
    found = decided(logits, np.array([1, 0, 0, 1]), (0.5, 0.65, 0.95))
    assert found == [
        {"probability": 0.5, "share": 1.0, "accuracy": 0.75},
        {"probability": 0.65, "share": 0.75, "accuracy": 1.0},
    ]
