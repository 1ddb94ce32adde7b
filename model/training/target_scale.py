"""The units of a regression's values, which training does without."""

import dataclasses
from typing import Self

import numpy as np

from model.network.classifier import BertClassifier, ClassificationHead
from model.training.examples import Examples


@dataclasses.dataclass(frozen=True)
class TargetScale:
    """Regression is trained on targets of mean 0 and spread 1, and the head then brought back to their units.

    Without this a learning rate that suits values around 1 would never reach values around 1000.
    """

    mean: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, classifier: BertClassifier, train: Examples) -> Self:
        """The scale of the training rows; none for classes."""
        # Only a head that ends in a plain dense layer can be brought back.
        if classifier.num_classes > 1 or not isinstance(classifier.classifier, ClassificationHead):
            return cls()
        # In doubles: the squares of what a float32 can hold do not fit into one.
        targets = train.targets.astype(np.float64)
        return cls(float(targets.mean()), float(targets.std()) or 1.0)

    def enter(self, classifier: BertClassifier) -> None:
        """Brings the head of a trained regressor to the scale of training."""
        if self == TargetScale():
            return
        kernel, bias = classifier.classifier.out_proj.get_weights()
        # A head that was never trained knows no units yet.
        if bias.any():
            classifier.classifier.out_proj.set_weights([kernel / self.spread, (bias - self.mean) / self.spread])

    def leave(self, classifier: BertClassifier) -> None:
        """Brings the head back to the units of the targets."""
        if self == TargetScale():
            return
        kernel, bias = classifier.classifier.out_proj.get_weights()
        classifier.classifier.out_proj.set_weights([kernel * self.spread, bias * self.spread + self.mean])

    def to_model(self, targets: np.ndarray) -> np.ndarray:
        """Targets as the network learns them."""
        return targets if self == TargetScale() else ((targets - self.mean) / self.spread).astype(np.float32)

    def from_model(self, logits: np.ndarray) -> np.ndarray:
        """What the network says, in the units of the targets."""
        return logits if self == TargetScale() else logits * np.float32(self.spread) + np.float32(self.mean)
