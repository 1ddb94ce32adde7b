"""Probabilities that mean something: how far they are from how often they are right, and the temperature that mends it.

Guo et al., On Calibration of Modern Neural Networks (2017): logits divided by one number, fitted on held-out rows. The
best label stays the best.
"""

from collections.abc import Sequence

import numpy as np

from model.network.classifier import BertClassifier, ClassificationHead
from model.training.thresholds import binary_cross_entropy, sigmoid

FEWEST_ROWS = 200
"""Of fewer validation rows no temperature is fitted: it would be an accident of which rows they are."""
BINS = 15
_LIMIT = 20.0
_STEPS = 60


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The number that logits float32 `[B, C]`, divided by it, have the least loss with; 1/20 to 20.

    `targets` are class numbers int64 `[B]`, or which of C labels a row has, bool `[B, C]`. The loss is the
    cross-entropy, or the binary one of each label, as if one row more of B were wrong: of rows that are all right
    nothing follows but that errors are rarer than that. (Platt, Probabilistic outputs for support vector machines,
    1999.) It is convex in the inverse of the temperature, so that a golden section finds its least value.
    """
    # In the logarithm, in which there is one least too.
    low, high, golden = -np.log(_LIMIT), np.log(_LIMIT), (5**0.5 - 1) / 2
    at = [high - golden * (high - low), low + golden * (high - low)]
    found = [_loss(logits, targets, place) for place in at]
    for _ in range(_STEPS):
        if found[0] <= found[1]:
            high, at = at[1], [at[1] - golden * (at[1] - low), at[0]]
            found = [_loss(logits, targets, at[0]), found[0]]
        else:
            low, at = at[0], [at[1], at[0] + golden * (high - at[0])]
            found = [found[1], _loss(logits, targets, at[1])]
    return float(np.exp(-(low + high) / 2))


def _loss(logits: np.ndarray, targets: np.ndarray, sharper: float) -> float:
    """The loss of logits times e^sharper, with the share of a wrong row more."""
    wide, rows = logits.astype(np.float64) * np.exp(sharper), len(logits)
    wrong = 1 / (rows + 2)
    if targets.dtype == np.bool_:
        hits = targets.sum(axis=0)
        share = np.where(targets, (hits + 1) / (hits + 2), 1 / (rows - hits + 2))
        return binary_cross_entropy(wide, share)
    right = wide[np.arange(rows), targets]
    others = (wide.sum(axis=1) - right) / (wide.shape[1] - 1)
    top = wide.max(axis=1)
    sums = top + np.log(np.exp(wide - top[:, np.newaxis]).sum(axis=1))
    return float(np.mean(sums - (1 - wrong) * right - wrong * others))


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
