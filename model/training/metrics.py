"""How good logits are, in plain NumPy."""

import numpy as np

from model.training.thresholds import several_metrics, sigmoid


def metrics_of(logits: np.ndarray, targets: np.ndarray, thresholds: tuple[float, ...] = ()) -> dict[str, float]:
    """Returns the metrics of float32 `[B, C]` against int64 classes `[B]` or, for C = 1, float32 values `[B]`.

    Several labels, bool `[B, C]`, with `thresholds`: see several_metrics.

    Classes: `accuracy`, `macro_f1` (over classes that occur or were predicted), `loss` (mean cross-entropy in
    nats). Regression: `pearson`, `spearman` (0 where one side is constant), `rmse` and `loss`, its square.
    """
    if targets.dtype == np.bool_:
        return several_metrics(logits, targets, thresholds)
    if logits.shape[1] == 1:
        values = logits[:, 0].astype(np.float64)
        loss = float(np.mean((values - targets) ** 2))
        return {
            "pearson": pearson(values, targets),
            "spearman": spearman(values, targets),
            "rmse": loss**0.5,
            "loss": loss,
        }
    predicted = logits.argmax(axis=1)
    return {
        "accuracy": float(np.mean(predicted == targets)),
        "macro_f1": macro_f1(predicted, targets),
        "loss": cross_entropy(logits, targets),
    }


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """Mean of -log softmax at the target class, in nats."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_sums - shifted[np.arange(len(targets)), targets]))


def macro_f1(predicted: np.ndarray, targets: np.ndarray) -> float:
    """Mean over classes of the harmonic mean of precision and recall."""
    scores = []
    for label in np.union1d(predicted, targets):
        hits = np.sum((predicted == label) & (targets == label))
        scores.append(2 * hits / (np.sum(predicted == label) + np.sum(targets == label)))
    return float(np.mean(scores))


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Linear correlation; 0 where one side is constant."""
    a, b = a - np.mean(a, dtype=np.float64), b - np.mean(b, dtype=np.float64)
    norm = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / norm if norm else 0.0


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of ranks; equal values share the mean of their ranks."""
    return pearson(_ranks(a), _ranks(b))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def confusion(predicted: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 `[C, C]`: how many rows of class i were taken for class j."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (targets, predicted), 1)
    return counts


def reliability(logits: np.ndarray, targets: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """How often the likeliest class is right, by how likely it is said to be, in `bins` steps of equal width.

    Each step that has rows: `rows`, their mean `probability` (softmax) and their `accuracy`. Of several labels (targets
    bool `[B, C]`) every label of every row counts: how often it is right to give it, by its sigmoid.
    """
    if targets.dtype == np.bool_:
        return _steps(sigmoid(logits).ravel(), targets.ravel(), bins)
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probability = shifted.max(axis=1) / shifted.sum(axis=1)
    return _steps(probability, logits.argmax(axis=1) == targets, bins)


def _steps(probability: np.ndarray, right: np.ndarray, bins: int) -> list[dict[str, float]]:
    places = np.minimum((probability * bins).astype(np.int64), bins - 1)
    return [
        {
            "rows": int(here.sum()),
            "probability": float(probability[here].mean()),
            "accuracy": float(right[here].mean()),
        }
        for here in (places == place for place in range(bins))
        if here.any()
    ]
