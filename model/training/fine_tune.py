"""Fine-tuning a BertClassifier on labelled rows, and measuring one."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
import tensorflow as tf
import tf_keras

from model.network.classifier import BertClassifier, ClassificationHead
from model.network.encoder import INPUT_NAMES
from model.training.examples import Examples
from model.training.metrics import metrics_of
from model.training.optimizer import AdamW

# Shuffled rows are sorted by length within this many batches, which keeps padding low and the order random.
_WINDOW = 16

_INPUTS = {name: tf.TensorSpec([None, None], tf.int32) for name in INPUT_NAMES}

Forward = Callable[[dict[str, tf.Tensor]], tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How to fine-tune. The defaults suit a pretrained encoder.

    `learning_rate` is the peak: it rises over `warmup_share` of the steps and falls to 0. `patience` is the number
    of epochs without a better validation result after which training stops.
    """

    epochs: int = 4
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    patience: int = 2
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0, usually 2e-5 to 1e-3")
        if not 0 <= self.warmup_share < 1:
            raise ValueError(f"warmup_share is {self.warmup_share}; it is a share of the steps, in [0, 1)")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; it must not be negative")


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where training is after an epoch: counted from 1, mean training loss, validation metrics so far."""

    epoch: int
    epochs: int
    loss: float
    metrics: dict[str, float]


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What the restored best weights reach on the validation rows, and when they were found."""

    metrics: dict[str, float]
    best_epoch: int
    epochs_run: int


def fine_tune(
    classifier: BertClassifier,
    train: Examples,
    validation: Examples,
    options: TrainingOptions,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Trains `classifier` in place and leaves it with the weights of its best epoch.

    Classes: cross-entropy, best by macro F1 (then loss). Regression (`num_classes=1`): squared error, best by it.
    AdamW, gradients clipped to norm 1. The same seed, weights and rows give the same result on one machine.
    Raises ValueError for rows that do not fit the classifier.
    """
    _check(classifier, train, "training")
    _check(classifier, validation, "validation")
    tf_keras.utils.set_random_seed(options.seed)
    generator = np.random.default_rng(options.seed)
    scale = _TargetScale.of(classifier, train)
    scale.enter(classifier)
    train = dataclasses.replace(train, targets=scale.to_model(train.targets))
    forward = _forward(classifier)
    step = _train_step(classifier, options, steps=options.epochs * -(-len(train) // options.batch_size))

    best: tuple[float, float] | None = None
    best_epoch, best_weights = 0, classifier.get_weights()
    epoch = 0
    for epoch in range(1, options.epochs + 1):
        losses = [
            step({k: tf.constant(v) for k, v in train.padded(rows).items()}, tf.constant(train.targets[rows]))
            for rows in _batches(train.lengths, options.batch_size, generator)
        ]
        logits = scale.from_model(_predict(forward, validation))
        metrics = metrics_of(logits, validation.targets)
        if on_progress:
            on_progress(Progress(epoch, options.epochs, float(np.mean(losses)) * scale.spread**2, metrics))
        quality = (metrics.get("macro_f1", 0.0), -metrics["loss"])
        if best is None or quality > best:
            best, best_epoch, best_weights = quality, epoch, classifier.get_weights()
        elif epoch - best_epoch >= options.patience:
            break
    classifier.set_weights(best_weights)
    scale.leave(classifier)
    return TrainingResult(evaluate(classifier, validation), best_epoch, epoch)


def seed_everything(seed: int) -> None:
    """Makes the weights of models built from now on reproducible."""
    tf_keras.utils.set_random_seed(seed)


def evaluate(classifier: BertClassifier, examples: Examples) -> dict[str, float]:
    """Returns accuracy, macro_f1 and loss of a classifier; pearson, spearman, rmse and loss of a regressor."""
    _check(classifier, examples, "given")
    return metrics_of(predict(classifier, examples), examples.targets)


def predict(classifier: BertClassifier, examples: Examples, *, batch_tokens: int = 8192) -> np.ndarray:
    """Returns logits float32 `[B, C]` in the order of `examples`, in batches of `batch_tokens` padded tokens."""
    return _predict(_forward(classifier), examples, batch_tokens)


def _check(classifier: BertClassifier, examples: Examples, which: str) -> None:
    if not len(examples):
        raise ValueError(f"there are no {which} rows; give at least one")
    classes = classifier.num_classes
    if (examples.targets.dtype == np.float32) != (classes == 1):
        raise ValueError(
            f"the {which} targets are {examples.targets.dtype}, but the classifier has num_classes={classes}; "
            "one output goes with float32 values, several with int64 classes"
        )
    if classes > 1 and not 0 <= examples.targets.min() <= examples.targets.max() < classes:
        raise ValueError(
            f"the {which} targets run from {examples.targets.min()} to {examples.targets.max()}, but the "
            f"classifier's classes from 0 to {classes - 1}"
        )
    if classes == 1 and not np.isfinite(examples.targets).all():
        raise ValueError(f"a value of the {which} targets is not finite; leave such rows out")


def _forward(classifier: BertClassifier) -> Forward:
    forward: Forward = tf.function(
        lambda inputs: classifier(inputs, training=False), input_signature=[_INPUTS], autograph=False
    )
    return forward


def _predict(forward: Forward, examples: Examples, batch_tokens: int = 8192) -> np.ndarray:
    parts, order = [], np.argsort(-examples.lengths, kind="stable")
    start = 0
    while start < len(order):
        # Longest first: the first row of a batch says how wide it is.
        rows = order[start : start + max(1, batch_tokens // int(examples.lengths[order[start]]))]
        parts.append(forward({k: tf.constant(v) for k, v in examples.padded(rows).items()}).numpy())
        start += len(rows)
    logits = np.concatenate(parts)
    result = np.empty_like(logits)
    result[order] = logits
    return result


def _batches(lengths: np.ndarray, size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yields every row number once, in random order, rows of similar length together."""
    order = generator.permutation(len(lengths))
    batches: list[np.ndarray] = []
    for start in range(0, len(order), size * _WINDOW):
        window = order[start : start + size * _WINDOW]
        window = window[np.argsort(lengths[window], kind="stable")]
        batches += [window[i : i + size] for i in range(0, len(window), size)]
    for i in generator.permutation(len(batches)):
        yield batches[i]


@dataclasses.dataclass(frozen=True)
class _TargetScale:
    """Regression is trained on targets of mean 0 and spread 1, and the head then brought back to their units.

    Without this a learning rate that suits values around 1 would never reach values around 1000.
    """

    mean: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, classifier: BertClassifier, train: Examples) -> Self:
        # Only a head that ends in a plain dense layer can be brought back.
        if classifier.num_classes > 1 or not isinstance(classifier.classifier, ClassificationHead):
            return cls()
        return cls(float(train.targets.mean()), float(train.targets.std()) or 1.0)

    def enter(self, classifier: BertClassifier) -> None:
        if self == _TargetScale():
            return
        kernel, bias = classifier.classifier.out_proj.get_weights()
        # A head that was never trained knows no units yet.
        if bias.any():
            classifier.classifier.out_proj.set_weights([kernel / self.spread, (bias - self.mean) / self.spread])

    def leave(self, classifier: BertClassifier) -> None:
        if self == _TargetScale():
            return
        kernel, bias = classifier.classifier.out_proj.get_weights()
        classifier.classifier.out_proj.set_weights([kernel * self.spread, bias * self.spread + self.mean])

    def to_model(self, targets: np.ndarray) -> np.ndarray:
        return targets if self == _TargetScale() else ((targets - self.mean) / self.spread).astype(np.float32)

    def from_model(self, logits: np.ndarray) -> np.ndarray:
        return logits * np.float32(self.spread) + np.float32(self.mean)


def _train_step(classifier: BertClassifier, options: TrainingOptions, steps: int) -> Callable[..., tf.Tensor]:
    variables = classifier.trainable_variables
    optimizer = AdamW(
        variables,
        peak=options.learning_rate,
        warmup=int(steps * options.warmup_share),
        steps=steps,
        weight_decay=options.weight_decay,
    )
    regression = classifier.num_classes == 1

    target = tf.TensorSpec([None], tf.float32 if regression else tf.int64)

    @tf.function(input_signature=[_INPUTS, target], autograph=False)
    def step(inputs: dict[str, tf.Tensor], targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = classifier(inputs, training=True)
            if regression:
                loss = tf.reduce_mean(tf.square(logits[:, 0] - targets))
            else:
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))
        # A pooler that the head does not read has no gradient.
        optimizer.apply(tape.gradient(loss, variables))
        return loss

    return step  # type: ignore[no-any-return]
