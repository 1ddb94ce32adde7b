"""The pipeline's numbers against a plain loop over the same rows: a tokenizer call, the Keras model, softmax.

The loop imports nothing from transforms/.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from support.bundles import Built
from support.commands import ROOT
from support.jobs import Score, write_parquet
from support.plain_loops import ADVERSARIAL, plain_loop

SNIPS = ROOT / "examples" / "snips" / "validation.parquet"


def all_texts() -> list[str]:
    return [*pq.read_table(SNIPS).column("text").to_pylist(), *ADVERSARIAL]


def test_probabilities_equal_those_of_a_plain_loop(run_job: Score, classes: Built, tmp_path: Path) -> None:
    texts = all_texts()
    file = write_parquet(tmp_path / "in.parquet", {"id": [str(i) for i in range(len(texts))], "text": texts})
    rows = {int(row["id"]): row for row in run_job(file).rows()}
    assert rows.keys() == set(range(len(texts)))
    expected = tf.nn.softmax(plain_loop(classes, texts)).numpy()
    labels = classes.bundle.labels
    found = np.array(
        [[{p["label"]: p["probability"] for p in rows[i]["probabilities"]}[name] for name in labels] for i in rows]
    )
    assert expected.max() - expected.min() > 0.5, "a model that always says the same would prove nothing"
    assert np.abs(found - expected[list(rows)]).max() <= 1e-5
    for i, row in rows.items():
        assert row["probability"] == max(p["probability"] for p in row["probabilities"])
        assert row["label"] == labels[int(np.argmax(found[list(rows).index(i)]))]


@pytest.mark.slow
def test_values_of_a_regression_equal_those_of_a_plain_loop(run_job: Score, regression: Built, tmp_path: Path) -> None:
    texts = all_texts()
    file = write_parquet(tmp_path / "in.parquet", {"id": [str(i) for i in range(len(texts))], "text": texts})
    rows = {int(row["id"]): row for row in run_job(file, bundle=str(regression.path)).rows()}
    expected = plain_loop(regression, texts)[:, 0]
    assert np.ptp(expected) > 0.5
    assert np.abs(np.array([rows[i]["value"] for i in range(len(texts))]) - expected).max() <= 1e-5
    assert "label" not in rows[0]


def test_the_shipped_bundle_is_right_on_at_least_95_percent_of_the_validation_rows(
    run_job: Score, tmp_path: Path
) -> None:
    bundle = SNIPS.parent / "bundle"
    rows = run_job(SNIPS, bundle=str(bundle), rename={"label": "gold_label"}).rows()
    assert len(rows) == 700
    assert np.mean([row["label"] == row["gold_label"] for row in rows]) >= 0.95
    assert sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()) <= 8 * 1024 * 1024
