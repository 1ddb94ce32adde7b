"""From which probability a label of several is given, and how good what is given then is. Plain NumPy."""

import numpy as np

from model.bundle import USUAL_THRESHOLD

FEWEST_POSITIVES = 20
"""A label with fewer rows keeps USUAL_THRESHOLD: the best one for so few is an accident of which rows they are."""


def fit_thresholds(logits: np.ndarray, targets: np.ndarray) -> tuple[float, ...]:
    """The threshold of each label with the best F1 on these rows: float32 `[B, C]`, bool `[B, C]` -> C probabilities.

    It lies halfway between two probabilities that occur and differ by 1e-6 or more, so that no rounding elsewhere
    moves a row across. Of equally good ones the nearest to USUAL_THRESHOLD is taken; labels with fewer than
    FEWEST_POSITIVES rows keep that.
    """
    pairs = zip(np.round(sigmoid(logits), 6).T, targets.T, strict=True)
    return tuple(_best(shown, right) if right.sum() >= FEWEST_POSITIVES else USUAL_THRESHOLD for shown, right in pairs)


def _best(shown: np.ndarray, right: np.ndarray) -> float:
    values, first = np.unique(shown, return_inverse=True)
    rows, hits = np.bincount(first), np.bincount(first, weights=right)
    # Given are the labels from value i on: all rows from there to the highest.
    given, found = np.cumsum(rows[::-1])[::-1], np.cumsum(hits[::-1])[::-1]
    f1 = 2 * found / (given + right.sum())
    # From halfway to the lowest on all rows have the label.
    candidates = (np.concatenate([[0.0], values[:-1]]) + values) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(candidates[best[np.argmin(np.abs(candidates[best] - USUAL_THRESHOLD))]])


def several_metrics(logits: np.ndarray, targets: np.ndarray, thresholds: tuple[float, ...] = ()) -> dict[str, float]:
    """The metrics of float32 `[B, C]` against bool `[B, C]`; without `thresholds` all are USUAL_THRESHOLD.

    `micro_f1` (all labels of all rows together), `macro_f1` (mean over labels that occur or are given),
    `average_precision` (mean over labels that occur, whatever the threshold) and `loss` (mean binary cross-entropy in
    nats).
    """
    shown = published(logits)
    given = shown >= np.array(thresholds or [USUAL_THRESHOLD] * shown.shape[1], np.float32)
    counts = np.sum(given & targets, axis=0), np.sum(given, axis=0) + np.sum(targets, axis=0)
    there = counts[1] > 0
    precisions = [average_precision(*pair) for pair in zip(shown.T, targets.T, strict=True) if pair[1].any()]
    return {
        "micro_f1": 2 * float(counts[0].sum()) / max(1.0, float(counts[1].sum())),
        "macro_f1": float(np.mean(2 * counts[0][there] / counts[1][there])) if there.any() else 0.0,
        "average_precision": float(np.mean(precisions)) if precisions else 0.0,
        "loss": binary_cross_entropy(logits, targets),
    }


def label_metrics(shown: np.ndarray, right: np.ndarray, threshold: float) -> dict[str, float]:
    """Of one label, by probabilities float32 `[B]` and the truth bool `[B]`: rows, threshold, precision, recall, F1."""
    given = shown >= np.float32(threshold)
    hits, rows = int((given & right).sum()), int(right.sum())
    return {
        "rows": rows,
        "threshold": threshold,
        "precision": hits / int(given.sum()) if given.any() else 0.0,
        "recall": hits / rows if rows else 0.0,
        "f1": 2 * hits / (int(given.sum()) + rows) if rows or given.any() else 0.0,
        "average_precision": average_precision(shown, right) if rows else 0.0,
    }


def average_precision(shown: np.ndarray, right: np.ndarray) -> float:
    """Mean over the rows with a label of the precision at their probability; equal probabilities are one step.

    Needs one such row. The sum over steps of scikit-learn's average_precision_score, without interpolation.
    """
    _, first = np.unique(-shown, return_inverse=True)
    rows, hits = np.bincount(first), np.bincount(first, weights=right)
    return float(np.sum(hits / hits.sum() * np.cumsum(hits) / np.cumsum(rows)))


def binary_cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """Mean over rows and labels of -log of the probability of what is right, in nats; stable for any logit.

    `targets` are bool, or float shares of what is right.
    """
    wide = logits.astype(np.float64)
    return float(np.mean(np.maximum(wide, 0) - wide * targets + np.log1p(np.exp(-np.abs(wide)))))


def published(logits: np.ndarray) -> np.ndarray:
    """Probabilities as they are published, float32."""
    return sigmoid(logits).astype(np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities float64, without overflow."""
    wide = logits.astype(np.float64)
    small = np.exp(-np.abs(wide))
    return np.where(wide >= 0, 1.0, small) / (1.0 + small)
