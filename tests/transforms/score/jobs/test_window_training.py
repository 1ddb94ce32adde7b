"""What a training by windows measures of texts is what a job publishes."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.jobs import Score, write_parquet

from pipeline.bundling.certifying import certify_rows
from pipeline.bundling.training import train
from pipeline.bundling.training_job import training_job


@pytest.mark.slow
@pytest.mark.parametrize("by", ["mean", "max"])
def test_a_training_by_windows_measures_texts_as_they_are_scored(by: str, run_job: Score, tmp_path: Path) -> None:
    generator = np.random.default_rng(11)
    fill = [f"w{i}" for i in range(30)]
    rows: dict[str, list[str]] = {"id": [], "text": [], "label": []}
    for number in range(420):
        label = ("good", "bad")[number % 2]
        words = generator.choice(fill, generator.integers(4, 50)).tolist()
        words[generator.integers(len(words))] = f"is{label}"
        rows["id"].append(f"{number:04d}")
        rows["text"].append(" ".join(words))
        rows["label"].append(label)
    rows["text"][7] = " ".join(fill * 20)
    test = {name: values[300:] for name, values in rows.items()}
    flags = {
        "input": [str(write_parquet(tmp_path / "train.parquet", {k: v[:300] for k, v in rows.items()}))],
        "test_input": [str(write_parquet(tmp_path / "test.parquet", test))],
        "output": str(tmp_path / "bundle"),
        "name": "n",
        "id_column": "id",
        "max_tokens": 16,
        "epochs": 6,
        "vocabulary_size": 200,
        "long_texts": "windows",
        "stride": 2,
        "windows_by": by,
        "max_windows": 30,
    }
    trained = train(training_job(flags))
    bundle = trained.bundle
    assert bundle.long_texts == {"how": "windows", "stride": 2, "by": by, "max_windows": 30}
    history = json.loads((bundle.path / "training" / "history.json").read_text())
    assert sum(history["rows"].values()) == 419
    assert history["dropped"] == {"train": {"too_many_windows": 1}, "test": {}}
    assert bundle.baseline["rows"] == 299
    assert bundle.baseline["truncated_share"] == 0
    assert bundle.quality["test"]["rows"] == 120
    ragged_rows = trained.held_out.rows
    assert ragged_rows.windows is not None
    assert len(ragged_rows.windows.counts) == history["rows"]["validation"] < len(ragged_rows.windows.lengths)
    plain = {name: values for name, values in test.items() if name != "label"}
    outcome = run_job(write_parquet(tmp_path / "score.parquet", plain), bundle=str(bundle.path), max_dead_fraction=0.0)
    right = dict(zip(test["id"], test["label"], strict=True))
    accuracy = np.mean([row["label"] == right[row["id"]] for row in outcome.rows()])
    assert accuracy == pytest.approx(bundle.quality["test"]["accuracy"])
    assert max(row["windows"] for row in outcome.rows()) > 2
    # The very rows that were held out, in two precisions, by text.
    certified = certify_rows(str(bundle.path), bundle, ragged_rows, gold=trained.held_out.gold, precision="bfloat16")
    assert certified.certificate.rows + certified.certificate.copies == history["rows"]["validation"]
    assert certified.certificate.probabilities is not None
    assert 0 < certified.certificate.probabilities.largest < 0.2
