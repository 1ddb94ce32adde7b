"""What a bundle keeps of its training: training/history.json, and a drawing of it beside it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.training.fine_tune import TrainingResult
from model.training.metrics import confusion, reliability
from model.training.thresholds import label_metrics, sigmoid
from pipeline.bundling.labelled_rows import Classes
from pipeline.bundling.training_plot import drawing

FOLDER, HISTORY, PLOT = "training", "history.json", "plot.svg"
_SHOWN_VALUES = 300


@dataclass(frozen=True, kw_only=True)
class Record:
    """A training as its bundle tells it. No times of day and no durations: equal trainings make equal bundles.

    `rows` and `dropped` are by part (training, validation, test; train, test); `classes` is None for a regression.
    `logits` float32 `[B, C]` are those of the validation rows, whose `targets` are as Examples has them; `thresholds`
    are those of several labels, else empty.
    """

    result: TrainingResult
    rows: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]
    classes: Classes | None
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    logits: np.ndarray
    targets: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """The content of history.json."""
        result = self.result
        epochs = [
            {"epoch": at.epoch, "loss": at.loss, "learning_rate": at.learning_rate, "validation": at.metrics}
            for at in result.history
        ]
        found: dict[str, Any] = {
            "epochs": epochs,
            "best_epoch": result.best_epoch,
            "ended": result.ended,
            "rows": dict(self.rows),
            "dropped": {part: dict(codes) for part, codes in self.dropped.items()},
        }
        if self.classes is None:
            return {**found, "values": self._values()}
        found |= {"classes": dict(self.classes.rows), "rare_classes": self.classes.rare}
        found |= {"reliability": reliability(self.logits, self.targets)}
        if self.thresholds:
            return {**found, "rows_without_label": self.classes.without, "labels": self._labels()}
        return {**found, "confusion": confusion(self.logits.argmax(axis=1), self.targets, len(self.labels)).tolist()}

    def _labels(self) -> dict[str, dict[str, float]]:
        """How good each label is on the validation rows, on which its threshold was fitted."""
        each = zip(self.labels, sigmoid(self.logits).T, self.targets.T, self.thresholds, strict=True)
        return {label: label_metrics(shown, right, threshold) for label, shown, right, threshold in each}

    def _values(self) -> list[list[float]]:
        """Some validation rows: the value that is right, and the one that was predicted."""
        every = max(1, len(self.targets) // _SHOWN_VALUES)
        pairs = zip(self.targets[::every], self.logits[::every, 0], strict=True)
        return [[float(right), float(predicted)] for right, predicted in pairs]

    def write(self, bundle: Path) -> None:
        """Puts both files into the folder of a bundle that is not sealed yet."""
        folder, content = bundle / FOLDER, self.to_json()
        folder.mkdir()
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / HISTORY).write_text(text + "\n", encoding="utf-8")
        (folder / PLOT).write_text(drawing(content, self.labels), encoding="utf-8")
