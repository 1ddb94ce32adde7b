"""Fine-tuning learns, stops at the best epoch, repeats itself, and measures correctly."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.training.examples import Examples, TokenFile
from model.training.fine_tune import DivergedError, Progress, Step, TrainingOptions, evaluate, fine_tune, predict
from model.training.metrics import confusion, cross_entropy, macro_f1, metrics_of, pearson, reliability, spearman

pytestmark = pytest.mark.slow  # Trainings.

# A tiny model needs larger first weights than the usual 0.02 to learn within a few epochs.
CONFIG = BertConfig(
    initializer_range=0.2,
    vocab_size=64,
    hidden_size=16,
    num_layers=1,
    num_attention_heads=4,
    inner_dim=32,
    max_sequence_length=16,
)
OPTIONS = TrainingOptions(epochs=6, batch_size=16, learning_rate=1e-2)


def examples(count: int, seed: int, *, values: bool = False) -> Examples:
    """Rows whose second token says the class (0, 1, 2), or the value 3000, 3500, 4000."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 16, count).astype(np.int32)
    classes = generator.integers(0, 3, count)
    tokens = [generator.integers(20, 64, length) for length in lengths]
    for row, number in zip(tokens, classes, strict=True):
        row[0], row[1], row[-1] = 2, 10 + number, 3
    targets = (3000 + 500 * classes).astype(np.float32) if values else classes.astype(np.int64)
    return Examples(np.concatenate(tokens).astype(np.int32), lengths, lengths.copy(), targets)


def fresh(classes: int) -> BertClassifier:
    tf_keras.utils.set_random_seed(7)
    return build_classifier(CONFIG, classes)


# === Learning ===


def test_a_small_model_learns_a_separable_task() -> None:
    classifier, seen = fresh(3), []
    result = fine_tune(classifier, examples(240, 1), examples(90, 2), OPTIONS, seen.append)
    assert result.metrics["accuracy"] == result.metrics["macro_f1"] == 1
    assert [p.epoch for p in seen] == list(range(1, result.epochs_run + 1))
    assert seen[-1].loss < seen[0].loss
    assert evaluate(classifier, examples(90, 3))["accuracy"] == 1


def test_regression_learns_values_far_from_one_and_answers_in_their_units() -> None:
    classifier, seen = fresh(1), []
    result = fine_tune(classifier, examples(240, 1, values=True), examples(90, 2, values=True), OPTIONS, seen.append)
    assert result.metrics["pearson"] > 0.99
    assert result.metrics["rmse"] < 100
    assert seen[result.best_epoch - 1].metrics["rmse"] == pytest.approx(result.metrics["rmse"], rel=1e-3)
    assert 2800 < predict(classifier, examples(5, 3)).mean() < 4200


def test_a_trained_regressor_starts_from_where_it_is() -> None:
    train, validation = examples(120, 1, values=True), examples(60, 2, values=True)
    classifier = fresh(1)
    before = fine_tune(classifier, train, validation, OPTIONS).metrics["rmse"]
    seen: list[Progress] = []
    gentle = dataclasses.replace(OPTIONS, epochs=1, learning_rate=1e-7)
    fine_tune(classifier, train, validation, gentle, seen.append)
    assert seen[0].metrics["rmse"] == pytest.approx(before, rel=0.01)


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    train, validation = examples(96, 1), examples(30, 2)

    def trained(seed: int) -> list[np.ndarray]:
        classifier = fresh(3)
        fine_tune(classifier, train, validation, dataclasses.replace(OPTIONS, epochs=2, seed=seed))
        return classifier.get_weights()

    first, again, other = trained(1), trained(1), trained(2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_early_stopping_restores_the_best_epoch() -> None:
    train, validation = examples(96, 1), examples(60, 2)
    # Trained on wrong labels, the model gets worse on the right ones.
    wrong = dataclasses.replace(train, targets=(train.targets + 1) % 3)
    classifier, seen = fresh(3), []
    fine_tune(classifier, train, validation, OPTIONS)
    weak = dataclasses.replace(OPTIONS, epochs=40, learning_rate=3e-3, patience=2)
    result = fine_tune(classifier, wrong, validation, weak, seen.append)
    # 96 rows are 6 steps: 100 steps without progress are 17 epochs, and the fall is 10.
    assert result.ended == "plateau"
    assert result.epochs_run == len(seen) == seen[-1].epochs < 40
    best = seen[result.best_epoch - 1].metrics
    assert result.metrics == pytest.approx(best) == evaluate(classifier, validation)
    assert best["macro_f1"] > seen[-1].metrics["macro_f1"]


def test_a_classifier_that_pools_for_itself_can_be_trained() -> None:
    classifier = build_classifier(CONFIG.replace(use_encoder_pooler=False), 3)
    result = fine_tune(classifier, examples(240, 1), examples(60, 2), OPTIONS)
    assert result.metrics["accuracy"] > 0.95


# === Ends ===


def test_a_loss_that_is_no_number_ends_the_training_by_epoch_and_step() -> None:
    wild = dataclasses.replace(OPTIONS, learning_rate=1e30)
    with pytest.raises(DivergedError) as error:
        fine_tune(fresh(3), examples(96, 1), examples(30, 2), wild)
    # The first step has the first weights; what it makes of them is seen in the next.
    assert (error.value.epoch, error.value.steps) == (1, 6)
    assert error.value.learning_rate == 1e30


def test_values_whose_squares_no_float32_holds_are_learned() -> None:
    train, validation = examples(240, 1, values=True), examples(60, 2, values=True)
    huge = [dataclasses.replace(rows, targets=rows.targets * np.float32(1e30)) for rows in (train, validation)]
    result = fine_tune(fresh(1), *huge, OPTIONS)
    assert np.isfinite(list(result.metrics.values())).all()
    assert result.metrics["pearson"] > 0.9


def test_a_training_that_is_stopped_keeps_its_best_epoch() -> None:
    asked: list[Step] = []

    def stop(at: Step) -> bool:
        asked.append(at)
        return at.epoch == 1 or (at.epoch, at.step) == (3, 2)

    classifier, seen = fresh(3), []
    result = fine_tune(classifier, examples(96, 1), examples(30, 2), OPTIONS, seen.append, stop)
    # In the first epoch there is nothing to keep yet.
    assert (result.ended, result.epochs_run, len(asked)) == ("asked", 2, 6 + 6 + 2)
    assert asked[0].done is None
    assert asked[-1].done == seen[-1]
    assert result.metrics == pytest.approx(seen[result.best_epoch - 1].metrics) == evaluate(classifier, examples(30, 2))


def test_a_training_cut_by_its_cap_says_so() -> None:
    few = dataclasses.replace(OPTIONS, epochs=2, learning_rate=1e-3)
    assert fine_tune(fresh(3), examples(96, 1), examples(30, 2), few).ended == "cap"


# === Rows ===


def test_predictions_come_in_the_order_of_the_rows_whatever_the_batches() -> None:
    classifier, rows = fresh(3), examples(40, 5)
    together = predict(classifier, rows)
    singly = np.concatenate([predict(classifier, rows.take(np.array([i]))) for i in range(5)])
    np.testing.assert_allclose(together[:5], singly, atol=1e-5)
    np.testing.assert_allclose(together, predict(classifier, rows, batch_tokens=1), atol=1e-5)


def test_padded_rows_carry_tokens_mask_and_segments() -> None:
    rows = Examples(
        np.array([2, 7, 3, 2, 8, 3, 9, 3], np.int32),
        np.array([3, 5], np.int32),
        np.array([3, 3], np.int32),
        np.array([0, 1]),
    )
    padded = rows.padded(np.array([1, 0]))
    assert padded["input_word_ids"].tolist() == [[2, 8, 3, 9, 3], [2, 7, 3, 0, 0]]
    assert padded["input_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert padded["input_type_ids"].tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    assert rows.take(np.array([1])).padded(np.array([0]))["input_word_ids"].tolist() == [[2, 8, 3, 9, 3]]


def test_tokens_in_a_file_are_those_in_memory(tmp_path: Path) -> None:
    rows = examples(20, 4)
    (tmp_path / "tokens").write_bytes(rows.tokens.astype("<i4").tobytes())
    read = dataclasses.replace(rows, tokens=TokenFile(tmp_path / "tokens"))
    order = np.array([3, 17, 0, 3])
    for name, array in read.take(order).padded(np.arange(4)).items():
        np.testing.assert_array_equal(array, rows.padded(order)[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": np.array([3], np.int32)}, "must agree"),
        ({"tokens": np.zeros(3, np.int32)}, "3 tokens"),
        ({"targets": np.array(["a", "b"])}, "int64"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(examples(2, 1), **changes)


def test_rows_that_do_not_fit_the_classifier_are_refused() -> None:
    rows, values = examples(4, 1), examples(4, 1, values=True)
    with pytest.raises(ValueError, match="num_classes=3"):
        evaluate(fresh(3), values)
    with pytest.raises(ValueError, match="from 0 to 1"):
        evaluate(fresh(2), dataclasses.replace(rows, targets=np.array([0, 1, 2, 0])))
    with pytest.raises(ValueError, match="not finite"):
        evaluate(fresh(1), dataclasses.replace(values, targets=np.array([0, 1, np.nan, 0], np.float32)))
    with pytest.raises(ValueError, match="no validation rows"):
        fine_tune(fresh(3), rows, rows.take(np.array([], np.int64)), OPTIONS)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
    ],
)
def test_options_that_cannot_work_are_refused_by_name(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        TrainingOptions(**changes)


# === Metrics ===


def test_spearman_shares_ranks_between_equal_values() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
    assert spearman(np.array([1, 2, 2, 9]), np.array([10, 20, 30, 40])) == pytest.approx(4.5 / np.sqrt(4.5 * 5))


@given(hnp.arrays(np.float64, st.integers(2, 20), elements=st.integers(-50, 50).map(float)))
def test_spearman_does_not_change_under_an_increasing_function(values: np.ndarray) -> None:
    expected = 0.0 if np.all(values == values[0]) else 1.0
    assert spearman(values, values**3) == pytest.approx(expected)
    assert spearman(values, -values) == pytest.approx(-expected)


def test_a_constant_side_has_no_correlation() -> None:
    assert pearson(np.ones(3), np.arange(3)) == 0


def test_macro_f1_weighs_classes_equally() -> None:
    predicted, targets = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert macro_f1(predicted, targets) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_cross_entropy_is_in_nats_and_stays_finite() -> None:
    assert cross_entropy(np.zeros((2, 4), np.float32), np.array([0, 3])) == pytest.approx(np.log(4))
    assert cross_entropy(np.array([[1e4, 0.0]], np.float32), np.array([1])) == pytest.approx(1e4)


def test_metrics_name_what_the_task_needs() -> None:
    assert set(metrics_of(np.eye(2, dtype=np.float32), np.array([0, 1]))) == {"accuracy", "macro_f1", "loss"}
    regression = metrics_of(np.array([[1.0], [2.0]], np.float32), np.array([1, 4], np.float32))
    assert regression["rmse"] == pytest.approx(np.sqrt(2))
    assert regression["loss"] == pytest.approx(2)


def test_confusion_counts_right_classes_down_and_predicted_ones_across() -> None:
    found = confusion(np.array([0, 2, 2, 1]), np.array([0, 1, 2, 1]), 3)
    assert found.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]


def test_reliability_compares_what_is_said_with_how_often_it_is_right() -> None:
    # Softmax of (ln 3, 0) is 0.75, of (ln 19, 0) 0.95.
    logits = np.log(np.array([[3, 1], [1, 3], [3, 1], [19, 1]], np.float32))
    assert reliability(logits, np.array([0, 0, 0, 0])) == [
        {"rows": 3, "probability": pytest.approx(0.75), "accuracy": pytest.approx(2 / 3)},
        {"rows": 1, "probability": pytest.approx(0.95), "accuracy": 1.0},
    ]
