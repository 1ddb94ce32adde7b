"""What a training measures last: temperature and thresholds from the validation rows alone, and inside the graph."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from support.bundles import lively
from support.checkpoints.networks import CONFIG, rows

from model.serving.scoring_graph import ScoringGraph
from model.training.calibration import calibration_error, fit_temperature
from model.training.examples import Examples
from model.training.fine_tune import predict
from model.training.thresholds import fit_thresholds, several_metrics
from pipeline.bundling.training_record import measure
from transforms.featurize.examples import _targets


def examples(count: int, kind: str, seed: int) -> Examples:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 12, count).astype(np.int32)
    tokens = generator.integers(5, 60, int(lengths.sum())).astype(np.int32)
    targets = {
        "classes": generator.integers(0, 3, count),
        "several": generator.random((count, 3)) < 0.4,
        "values": generator.normal(size=count).astype(np.float32),
    }
    return Examples(tokens, lengths, lengths.copy(), targets[kind])


@pytest.mark.parametrize("kind", ["classes", "several"])
def test_the_temperature_of_the_validation_rows_is_in_the_graph(kind: str) -> None:
    classifier = lively(CONFIG.replace(initializer_range=0.5), 3, seed=4)
    validation, test = examples(240, kind, 1), examples(90, kind, 2)
    before = {"validation": predict(classifier, validation), "test": predict(classifier, test)}
    found = measure(classifier, validation, test)
    temperature = fit_temperature(before["validation"], validation.targets)
    assert found.quality["calibration"]["temperature"] == temperature
    assert abs(temperature - 1) > 0.1
    np.testing.assert_allclose(found.logits, before["validation"] / temperature, rtol=1e-4, atol=1e-5)
    for part, given in (("validation", validation), ("test", test)):
        told = {when: found.quality["calibration"][when][part] for when in ("before", "after")}
        assert told["before"] == calibration_error(before[part], given.targets)
        assert told["after"] == pytest.approx(calibration_error(before[part] / temperature, given.targets), abs=1e-4)
    activation = "sigmoid" if kind == "several" else "softmax"
    graph = ScoringGraph.from_classifier(classifier, CONFIG.replace(initializer_range=0.5), activation)
    outputs = graph.score(**rows(test.joined(), test.lengths, test.first_segment))
    expected = getattr(tf.nn, activation)(before["test"] / np.float32(temperature))
    np.testing.assert_allclose(outputs["probabilities"], expected, rtol=0, atol=1e-5)
    if kind == "classes":
        assert found.thresholds == ()
        assert found.quality["decided"]["of"] == "test"
    else:
        assert found.thresholds == fit_thresholds(found.logits, validation.targets)
        assert found.quality["test"]["micro_f1"] == pytest.approx(
            several_metrics(predict(classifier, test), test.targets, found.thresholds)["micro_f1"]
        )
        assert "decided" not in found.quality


def test_of_few_rows_and_of_values_no_temperature_is_fitted() -> None:
    classifier = lively(CONFIG, 3, seed=4)
    before = classifier.get_weights()
    found = measure(classifier, examples(199, "classes", 1), None).quality
    assert found["calibration"]["temperature"] is None
    assert found["calibration"].keys() == {"temperature", "rows", "before"}
    assert found["decided"]["of"] == "validation"
    assert all((a == b).all() for a, b in zip(before, classifier.get_weights(), strict=True))
    values = measure(lively(CONFIG, 1, seed=4), examples(240, "values", 1), None)
    assert values.quality.keys() == {"validation"}


def test_targets_of_several_labels_are_the_rows_of_their_lists() -> None:
    column = pa.array([[2, 0], [], [1], [1, -1]], pa.large_list(pa.int64()))
    found, unknown = _targets(column.slice(0, 4), "multilabel", 3)
    assert found.tolist() == [[True, False, True], [False] * 3, [False, True, False], [False, True, False]]
    assert unknown == 1
    later, unknown = _targets(column.slice(1, 2), "multilabel", 3)
    assert (later.tolist(), unknown) == ([[False] * 3, [False, True, False]], 0)
    assert _targets(None, "multilabel", 3)[0].shape == (0, 3)
