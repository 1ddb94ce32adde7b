"""What `make quality` measures of published rows against what is right, and of several labels a baseline."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from benchmarks.nightly.quality_tasks import Task
from benchmarks.paths import encoder_folder
from model.checkpoints.detect import encoder_of, load, load_vocabulary, write_vocabulary
from model.tokenizer.tokenization import Tokenizer, TokenizerSpec
from model.training.calibration import calibration_error
from model.training.examples import Examples
from model.training.metrics import macro_f1, pearson, spearman

CALIBRATED, WORSE = 0.04, 0.005
"""The calibration error that there may be, and by how much more than before the temperature."""
_REGULARISED = (1.0, 10.0, 100.0)


def metrics(scored: pa.Table, task: Task) -> dict[str, float]:
    """The metrics of published rows against their column `gold`."""
    if task.several:
        given = [{entry["label"] for entry in row} for row in scored.column("labels").to_pylist()]
        return _sets(given, [set(row) for row in scored.column("gold").to_pylist()])
    gold = scored.column("gold").to_numpy()
    if task.regression:
        values = scored.column("value").to_numpy().astype(np.float64)
        rmse = float(np.sqrt(np.mean((values - gold) ** 2)))
        return {"pearson": pearson(values, gold), "spearman": spearman(values, gold), "rmse": rmse}
    labels = scored.column("label").cast(pa.string()).to_numpy()
    return {"accuracy": float(np.mean(labels == gold)), "macro_f1": macro_f1(labels, gold)}


def _sets(given: list[set[str]], right: list[set[str]]) -> dict[str, float]:
    """Micro F1, and macro F1 over labels that occur or are given."""
    counts = {
        label: (
            sum(label in g and label in r for g, r in zip(given, right, strict=True)),
            sum((label in g) + (label in r) for g, r in zip(given, right, strict=True)),
        )
        for label in sorted(set().union(*given, *right))
    }
    hits, all_of_them = (sum(values) for values in zip(*counts.values(), strict=True))
    macro = float(np.mean([2 * hit / both for hit, both in counts.values()]))
    return {"micro_f1": 2 * hits / all_of_them, "macro_f1": macro}


def calibration(scored: pa.Table, bundle: Path) -> tuple[float, float] | None:
    """The calibration error of published rows, which nothing was fitted on, before and after the temperature.

    None if the bundle has no temperature. Probabilities without it follow from those with it: their logarithms are
    logits, divided by it.
    """
    about: dict[str, Any] = json.loads((bundle / "bundle.json").read_bytes())
    if (temperature := about["quality"].get("calibration", {}).get("temperature")) is None:
        return None
    numbers = {label: number for number, label in enumerate(about["labels"])}
    logits = np.zeros((scored.num_rows, len(numbers)))
    for row, listed in enumerate(scored.column("probabilities").to_pylist()):
        for entry in listed:
            logits[row, numbers[entry["label"]]] = np.log(max(entry["probability"], 1e-30))
    targets = np.array([numbers[label] for label in scored.column("gold").to_pylist()], np.int64)
    return calibration_error(logits * temperature, targets), calibration_error(logits, targets)


def one_vs_rest(train: pa.Table, held_out: pa.Table) -> tuple[float, float]:
    """Micro F1 of a logistic regression for each label on the encoder's vectors, and the C that is best for it.

    Of three values of C the best on the held-out rows themselves is taken, which favours it.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import MultiLabelBinarizer

    known = MultiLabelBinarizer().fit(train.column("gold").to_pylist())
    vectors = _vectors([*train.column("text").to_pylist(), *held_out.column("text").to_pylist()])
    split, right = train.num_rows, [set(row) for row in held_out.column("gold").to_pylist()]
    found = []
    for c in _REGULARISED:
        model = OneVsRestClassifier(LogisticRegression(C=c, max_iter=2_000))
        model.fit(vectors[:split], known.transform(train.column("gold").to_pylist()))
        given = [set(labels) for labels in known.inverse_transform(model.predict(vectors[split:]))]
        found.append((_sets(given, right)["micro_f1"], c))
    return max(found)


def _vectors(texts: list[str]) -> np.ndarray:
    """Sentence vectors float32 `[B, H]` of all-MiniLM-L6-v2: the mean over tokens, of length 1."""
    checkpoint = load(str(encoder_folder()), head=False)
    config, encoder = encoder_of(checkpoint)  # Gives what each token is, and the pooled vector.
    spec = TokenizerSpec(flavour=checkpoint.flavour, lower_case=True, max_tokens=128)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = write_vocabulary(load_vocabulary(str(encoder_folder())), Path(folder) / "vocab.txt")
        tokens, first, *_ = Tokenizer(vocabulary, spec).tokenize(tf.constant(texts))
    rows = Examples(
        tokens.flat_values.numpy().astype(np.int32),
        tokens.row_lengths().numpy().astype(np.int32),
        first.numpy().astype(np.int32),
        np.zeros(len(texts), np.int64),
    )
    found = np.empty((len(texts), config.hidden_size), np.float32)
    order = np.argsort(rows.lengths, kind="stable")
    for part in np.array_split(order, max(1, len(order) // 64)):
        inputs = rows.padded(part)
        hidden = encoder({name: tf.constant(array) for name, array in inputs.items()})[0].numpy()
        mask = inputs["input_mask"][:, :, np.newaxis]
        mean = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
        found[part] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return found
