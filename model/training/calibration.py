"""Probabilities that mean something: how far they are from how often they are right, and the temperature that mends it.

Guo et al., On Calibration of Modern Neural Networks (2017): logits divided by one number, fitted on held-out rows. The
best label stays the best.
"""

from collections.abc import Sequence

import numpy as np

from model.network.classifier import BertClassifier, ClassificationHead
from model.training.metrics import cross_entropy
from model.training.thresholds import binary_cross_entropy, sigmoid

FEWEST_ROWS = 200
"""Of fewer validation rows no temperature is fitted: it would be an accident of which rows they are."""
BINS = 15
_LIMIT = 20.0
"""A temperature above it, or below its inverse, says that the rows are all right or all wrong, and nothing else."""
_STEPS = 60


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The number that logits float32 `[B, C]`, divided by it, have the least loss with; 1/20 to 20.

    `targets` are class numbers int64 `[B]`, or which of C labels a row has, bool `[B, C]`. The loss (cross-entropy, or
    the binary one of each label) is convex in the inverse of the temperature, so that a golden section finds it.
    """
    loss = binary_cross_entropy if targets.dtype == np.bool_ else cross_entropy
    # In the logarithm, in which there is one least too.
    low, high, golden = -np.log(_LIMIT), np.log(_LIMIT), (5**0.5 - 1) / 2
    at = [high - golden * (high - low), low + golden * (high - low)]
    found = [loss(logits * np.exp(place), targets) for place in at]
    for _ in range(_STEPS):
        if found[0] <= found[1]:
            high, at = at[1], [at[1] - golden * (at[1] - low), at[0]]
            found = [loss(logits * np.exp(at[0]), targets), found[0]]
        else:
            low, at = at[0], [at[1], at[0] + golden * (high - at[0])]
            found = [found[1], loss(logits * np.exp(at[1]), targets)]
    return float(np.exp(-(low + high) / 2))


def divide_logits(classifier: BertClassifier, temperature: float) -> None:
    """Brings the temperature into the weights of a classifier's head, so that every export of it has it."""
    assert isinstance(classifier.classifier, ClassificationHead)
    layer = classifier.classifier.out_proj
    layer.set_weights([array / np.float32(temperature) for array in layer.get_weights()])


def calibration_error(logits: np.ndarray, targets: np.ndarray, bins: int = BINS) -> float:
    """Mean distance of the probability that is said from how often it is right, over `bins` bins of equally many rows.

    Of classes int64 `[B]` it is the probability of the best; of several labels, bool `[B, C]`, that of every label of
    every row. Equal probabilities may lie in two bins. 0 is best.
    """
    said, right = confidences(logits, targets)
    order = np.argsort(said, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(order))) if len(part)]
    return float(sum(len(part) * abs(said[part].mean() - right[part].mean()) for part in parts) / len(order))


def confidences(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is said (probabilities float64 `[N]`) and whether it is right (bool `[N]`); see calibration_error."""
    if targets.dtype == np.bool_:
        return sigmoid(logits).ravel(), targets.ravel()
    wide = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return wide.max(axis=1) / wide.sum(axis=1), logits.argmax(axis=1) == targets


def decided(logits: np.ndarray, targets: np.ndarray, at_least: Sequence[float]) -> list[dict[str, float]]:
    """For each probability of `at_least`: the `share` of rows whose best class has it, and the `accuracy` on these.

    `targets` are class numbers int64 `[B]`. What no row reaches is left out.
    """
    said, right = confidences(logits, targets)
    return [
        {"probability": least, "share": float((said >= least).mean()), "accuracy": float(right[said >= least].mean())}
        for least in at_least
        if (said >= least).any()
    ]
