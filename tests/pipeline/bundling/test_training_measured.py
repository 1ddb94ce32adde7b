"""What a training measures last: temperature and thresholds from the validation rows alone, and inside the graph."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from support.bundles import lively
from support.checkpoints.networks import CONFIG, rows
from support.jobs import Score, write_parquet

from model.serving.scoring_graph import ScoringGraph
from model.training.calibration import calibration_error, fit_temperature
from model.training.examples import Examples
from model.training.fine_tune import TrainingResult, predict
from model.training.thresholds import fit_thresholds, several_metrics
from pipeline.bundling.telling import Silent
from pipeline.bundling.training import train
from pipeline.bundling.training_job import training_job
from pipeline.bundling.training_record import measure
from transforms.featurize.examples import _targets, held_rows
from transforms.outputs.drift.histograms import baseline_of
from transforms.outputs.summary.record import checked


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


TASKS: dict[str, tuple[pa.Array, dict[str, Any]]] = {
    "classification": (pa.array([f"label {row % 3}" for row in range(400)]), {}),
    "multilabel": (pa.array([[f"l{row % 3}"] * (row % 4 > 0) for row in range(400)], pa.list_(pa.string())), {}),
    "regression": (pa.array([row % 7 / 7 for row in range(400)]), {}),
    "windows": (
        pa.array([f"label {row % 3}" for row in range(400)]),
        {"task": "classification", "long_texts": "windows", "stride": 2, "max_windows": 30},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_baseline_is_the_summary_of_a_run_of_the_validation_rows(task: str, run_job: Score, tmp_path: Path) -> None:
    targets, settings = TASKS[task]
    texts = [
        f"text {row % 50} of {row % 3} " + "дом http://a.b zzz " * (row % 9) + "x" * (row % 2) for row in range(400)
    ]
    table = pa.table({"id": [f"r{row}" for row in range(400)], "text": texts, "label": targets})
    flags = {"task": task, "input": [str(write_parquet(tmp_path / "train.parquet", table))], "id_column": "id"}
    flags |= {"output": str(tmp_path / "bundle"), "name": "n", "max_tokens": 16, "vocabulary_size": 120, "epochs": 1}
    bundle = train(training_job({**flags, **settings, "validation_share": 0.3})).bundle
    held = held_rows(table["id"].combine_chunks().cast(pa.large_binary()), 0.3)
    found = checked(bundle.baseline["summary"])
    assert found == baseline_of(bundle.baseline)
    assert found["rows"] == held.sum() == bundle.quality["validation"]["rows"]
    file = write_parquet(tmp_path / "score.parquet", table.filter(pa.array(held)).drop_columns(["label"]))
    expected = run_job(file, bundle=str(bundle.path)).manifest["summary"]
    assert found["statistics"].keys() == expected["statistics"].keys()
    numbers = {"probability", "margin", "entropy", "value"}
    for name in found["statistics"].keys() - numbers:
        assert found["statistics"][name] == expected["statistics"][name], name
    for name in found["statistics"].keys() & numbers:
        # The graph computes in another order than the classifier that was trained.
        one, other = (summary["statistics"][name] for summary in (found, expected))
        assert one["sum"] / one["rows"] == pytest.approx(other["sum"] / other["rows"], rel=1e-4, abs=10)
    assert [{**one, "statistics": {}} for one in expected["labels"]] == found["labels"]


class Warned(Silent):
    def __init__(self, input: Path, becomes: str | None) -> None:
        self._input, self._becomes, self.said = input, becomes, ""

    def ended(self, result: TrainingResult) -> None:
        """The training is done; now its input is another, or gone."""
        self._input.unlink()
        if self._becomes is not None:
            self._input.write_text(self._becomes)

    def warned(self, what: str) -> None:
        self.said = what


@pytest.mark.parametrize("becomes", [None, "no Parquet"], ids=["gone", "changed"])
def test_an_input_that_is_gone_at_the_end_loses_no_training(becomes: str | None, tmp_path: Path) -> None:
    labels, _ = TASKS["classification"]
    table = pa.table({"id": [f"r{row}" for row in range(400)], "text": ["a b"] * 400, "label": labels})
    file = write_parquet(tmp_path / "train.parquet", table)
    flags = {"task": "classification", "input": [str(file)], "id_column": "id", "output": str(tmp_path / "bundle")}
    flags |= {"name": "n", "max_tokens": 8, "vocabulary_size": 120, "epochs": 1}
    teller = Warned(Path(file), becomes)
    bundle = train(training_job(flags), teller).bundle
    assert "summary" not in bundle.baseline
    assert baseline_of(bundle.baseline) is None
    assert teller.said.startswith("the bundle has no summary of its validation rows (")
