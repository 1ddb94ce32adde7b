"""Learning from the windows of long texts: one example a window, all of a text as much as those of any other."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.training.calibration import fit_temperature
from model.training.examples import Examples
from model.training.fine_tune import TrainingOptions, _train_step, fine_tune, predict
from model.training.metrics import metrics_of
from model.training.thresholds import fit_thresholds
from model.windows import Folding, Windows

CONFIG = BertConfig(
    initializer_range=0.2,
    output_dropout=0.0,
    attention_dropout=0.0,
    vocab_size=64,
    hidden_size=16,
    num_layers=1,
    num_attention_heads=4,
    inner_dim=32,
    max_sequence_length=16,
)
MEAN = Folding(by="mean", activation="softmax", step=6)


def fresh(classes: int) -> BertClassifier:
    tf_keras.utils.set_random_seed(7)
    return build_classifier(CONFIG, classes, dropout_rate=0.0)


def examples(texts: list[list[list[int]]], targets: Any, folding: Folding = MEAN) -> Examples:
    """Texts of windows of tokens."""
    windows = [window for text in texts for window in text]
    lengths = np.array([len(window) for window in windows], np.int32)
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    totals = np.array([sum(map(len, text)) for text in texts], np.int32)
    tokens = np.array([token for window in windows for token in window], np.int32)
    return Examples(tokens, totals, totals.copy(), targets, windows=Windows(lengths, offsets), folding=folding)


def some_texts(count: int, seed: int) -> tuple[list[list[list[int]]], np.ndarray]:
    """Texts of one to four windows of which one, any of them, has the token that says the class (0, 1, 2)."""
    generator = np.random.default_rng(seed)
    classes, texts = generator.integers(0, 3, count), []
    for number in classes:
        text = [[2, *generator.integers(20, 64, 5).tolist(), 3] for _ in range(generator.integers(1, 5))]
        text[generator.integers(len(text))][generator.integers(1, 6)] = 10 + int(number)
        texts.append(text)
    return texts, classes.astype(np.int64)


WINDOWS = st.lists(st.lists(st.integers(0, 63), min_size=1, max_size=4), min_size=1, max_size=4)


@settings(deadline=None, max_examples=50)
@given(st.lists(WINDOWS, min_size=1, max_size=8), st.data())
def test_each_window_is_a_row_with_the_target_of_its_text(texts: list[list[list[int]]], data: st.DataObject) -> None:
    whole = examples(texts, np.arange(len(texts)))
    order = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8))
    found = whole.take(np.array(order, np.int64)).one_by_one()
    windows = [(window, number) for number in order for window in texts[number]]
    assert found.windows is None
    assert found.targets.tolist() == [number for _, number in windows]
    assert found.lengths.tolist() == [len(window) for window, _ in windows]
    assert found.joined().tolist() == [token for window, _ in windows for token in window]
    weights = whole.take(np.array(order, np.int64)).weights() if order else np.ones(0)
    assert weights is not None
    counts = np.array([len(texts[number]) for number in order for _ in texts[number]])
    np.testing.assert_allclose(weights * counts, np.full(len(counts), len(counts) / max(1, len(order))), rtol=1e-6)
    assert not order or weights.mean() == pytest.approx(1)


def test_rows_without_windows_are_what_they_were() -> None:
    rows = dataclasses.replace(examples([[[1, 2]], [[3]]], np.zeros(2, np.int64)), windows=None)
    assert rows.one_by_one() is rows
    assert rows.weights() is None


@pytest.mark.parametrize("kind", ["classes", "labels", "values"])
def test_the_loss_of_a_step_is_weighted(kind: str) -> None:
    texts, classes = some_texts(5, 1)
    targets = {"classes": classes, "labels": np.eye(3, dtype=bool)[classes], "values": classes.astype(np.float32)}[kind]
    classifier = fresh(1 if kind == "values" else 3)
    rows, weights = examples(texts, targets).one_by_one(), examples(texts, targets).weights()
    assert weights is not None
    logits = predict(classifier, rows).astype(np.float64)
    if kind == "classes":
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(rows)), rows.targets]
    elif kind == "labels":
        losses = np.mean(np.log1p(np.exp(np.where(rows.targets, -logits, logits))), axis=1)
    else:
        losses = (logits[:, 0] - rows.targets) ** 2
    step = _train_step(classifier, TrainingOptions(), rows.targets, weighted=True)
    inputs = {name: tf.constant(array) for name, array in rows.padded(np.arange(len(rows))).items()}
    loss = float(step(inputs, tf.constant(rows.targets), tf.constant(0.0), tf.constant(weights)))
    assert loss == pytest.approx(float(np.mean(losses * weights)), rel=1e-5)
    assert loss != pytest.approx(float(np.mean(losses)), rel=1e-3), "some texts have more windows than others"


@pytest.mark.parametrize("by", ["mean", "max"])
def test_logits_of_a_text_are_folded_as_in_scoring_and_everything_is_measured_by_text(by: str) -> None:
    texts, classes = some_texts(40, 2)
    folding = dataclasses.replace(MEAN, by=by)
    rows, classifier = examples(texts, classes, folding), fresh(3)
    found = predict(classifier, rows)
    each = predict(classifier, rows.one_by_one())
    assert rows.windows is not None
    np.testing.assert_array_equal(found, folding(each, rows.windows.offsets).logits)
    assert found.shape == (40, 3)
    assert metrics_of(found, rows.targets)["accuracy"] == np.mean(found.argmax(axis=1) == classes)
    assert 1 / 20 <= fit_temperature(found, rows.targets) <= 20
    labels = np.eye(3, dtype=bool)[classes]
    several = dataclasses.replace(rows, targets=labels, folding=Folding(by=by, activation="sigmoid", step=6))
    assert len(fit_thresholds(predict(classifier, several), labels)) == 3


@pytest.mark.slow
def test_a_model_learns_what_only_one_window_of_a_text_says() -> None:
    folding = dataclasses.replace(MEAN, by="max")
    train, validation = (examples(*some_texts(count, seed), folding) for count, seed in ((400, 3), (120, 4)))
    classifier, seen = fresh(3), []
    options = TrainingOptions(epochs=12, batch_size=16, learning_rate=1e-2)
    result = fine_tune(classifier, train, validation, options, seen.append)
    assert result.metrics["accuracy"] > 0.9
    assert result.metrics == metrics_of(predict(classifier, validation), validation.targets)
