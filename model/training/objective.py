"""What is learned, by the type of the targets: one class of several, any number of labels, or a value."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from model.network.classifier import BertClassifier, ClassificationHead
from model.training.examples import Examples

LOSSES: dict[type, tuple[tf.TensorSpec, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]] = {
    np.int64: (
        tf.TensorSpec([None], tf.int64),
        lambda logits, targets: tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits),
    ),
    np.bool_: (
        tf.TensorSpec([None, None], tf.bool),
        lambda logits, targets: tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(targets, tf.float32), logits),
    ),
    np.float32: (tf.TensorSpec([None], tf.float32), lambda logits, targets: tf.square(logits[:, 0] - targets)),
}
"""Type of the targets -> how they come, and the loss of logits [B, C]."""

SCORES: dict[type, str] = {np.int64: "macro_f1", np.bool_: "average_precision"}
"""Type of the targets -> the metric that tells which epoch is best. What is given of several labels depends on
thresholds, which are fitted after the training."""


def start_at_shares(classifier: BertClassifier, targets: np.ndarray) -> None:
    """Lets a head that was never trained begin with each label's share of the rows, where a row may have several.

    `targets` bool `[B, C]`. With a bias of 0 each label would be given to every second row, and the first epochs would
    go into unlearning that (Lin et al. 2017, section 4.1, does the same with rare classes).
    """
    if targets.dtype != np.bool_ or not isinstance(classifier.classifier, ClassificationHead):
        return
    kernel, bias = classifier.classifier.out_proj.get_weights()
    if not bias.any():
        share = (targets.sum(axis=0) + 1) / (len(targets) + 2)
        classifier.classifier.out_proj.set_weights([kernel, np.log(share / (1 - share)).astype(np.float32)])


def check_targets(classifier: BertClassifier, examples: Examples, which: str) -> None:
    """Raises ValueError if there are no examples, or their targets do not fit the classifier; `which` names them."""
    if not len(examples):
        raise ValueError(f"there are no {which} rows; give at least one")
    classes, targets = classifier.num_classes, examples.targets
    if (targets.dtype == np.float32) != (classes == 1):
        raise ValueError(
            f"the {which} targets are {targets.dtype}, but the classifier has num_classes={classes}; "
            "one output goes with float32 values, several with int64 classes or bool labels"
        )
    if targets.dtype == np.bool_:
        if targets.shape[1:] != (classes,):
            raise ValueError(f"the {which} targets are of {targets.shape[1:]} labels, the classifier of {classes}")
    elif classes > 1 and not 0 <= targets.min() <= targets.max() < classes:
        raise ValueError(
            f"the {which} targets run from {targets.min()} to {targets.max()}, but the "
            f"classifier's classes from 0 to {classes - 1}"
        )
    elif classes == 1 and not np.isfinite(targets).all():
        raise ValueError(f"a value of the {which} targets is not finite; leave such rows out")
