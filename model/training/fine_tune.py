"""Fine-tuning a BertClassifier on labelled rows, and measuring one."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from model.network.classifier import BertClassifier
from model.network.encoder import INPUT_NAMES
from model.training.examples import Examples
from model.training.metrics import metrics_of
from model.training.objective import LOSSES, SCORES, check_targets, start_at_shares
from model.training.optimizer import AdamW
from model.training.schedule import ASKED, Schedule
from model.training.target_scale import TargetScale

# Shuffled rows are sorted by length within this many batches, which keeps padding low and the order random.
_WINDOW = 16

_INPUTS = {name: tf.TensorSpec([None, None], tf.int32) for name in INPUT_NAMES}

Forward = Callable[[dict[str, tf.Tensor]], tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How to fine-tune. The defaults suit a pretrained encoder of BERT-base's size.

    `learning_rate` is the peak; `epochs` is a cap, None one that a training is not meant to reach. `patience` is the
    number of epochs without progress on the validation rows after which the rate falls, and training ends: see
    Schedule.
    """

    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    patience: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0, usually 2e-5 to 1e-3")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; it must not be negative")


class DivergedError(ArithmeticError):
    """The loss of a training is not a finite number: `epoch` and `step` of `steps`, counted from 1, at `learning_rate`.

    `step` is 0 where it is the loss of the validation rows after the epoch.
    """

    def __init__(self, epoch: int, step: int, steps: int, learning_rate: float) -> None:
        super().__init__(f"the loss is not finite in epoch {epoch}, step {step} of {steps}")
        self.epoch, self.step, self.steps, self.learning_rate = epoch, step, steps, learning_rate


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where training is after an epoch: counted from 1, mean training loss, validation metrics, rate of its last step.

    `epochs` is the last one as far as one knows; `best_epoch` the best so far. Losses are in the targets' units.
    """

    epoch: int
    epochs: int
    loss: float
    metrics: dict[str, float]
    learning_rate: float
    best_epoch: int


@dataclasses.dataclass(frozen=True)
class Step:
    """Where training is after a step: `step` of `steps` of `epoch`, which is at most one of `epochs`.

    `done` is the last epoch that is through, None before there is one.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    done: Progress | None


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What the restored best weights reach on the validation rows, when they were found, and every epoch.

    `ended` says why training ended: PLATEAU, CAP (it still got better) or ASKED.
    """

    metrics: dict[str, float]
    best_epoch: int
    ended: str
    history: tuple[Progress, ...]

    @property
    def epochs_run(self) -> int:
        """How many epochs were trained to their end."""
        return len(self.history)


def fine_tune(
    classifier: BertClassifier,
    train: Examples,
    validation: Examples,
    options: TrainingOptions,
    on_progress: Callable[[Progress], None] | None = None,
    on_step: Callable[[Step], bool] | None = None,
) -> TrainingResult:
    """Trains `classifier` in place and leaves it with the weights of its best epoch.

    Classes: cross-entropy, best by macro F1 (then loss). Several labels: binary cross-entropy of each, best by average
    precision (then loss). Regression (`num_classes=1`): squared error, best by it.
    AdamW, gradients clipped to norm 1. The same seed, weights and rows give the same result on one machine. If
    `on_step` answers True after a step, the epochs that are through are all there will be; there must be one.
    Of rows with windows each window is learned from, those of a row together weigh as much as those of any other, and
    metrics are of rows.
    Raises ValueError for rows that do not fit the classifier, DivergedError for a loss that is not finite.
    """
    check_targets(classifier, train, "training")
    check_targets(classifier, validation, "validation")
    tf_keras.utils.set_random_seed(options.seed)
    generator = np.random.default_rng(options.seed)
    scale = TargetScale.of(classifier, train)
    scale.enter(classifier)
    start_at_shares(classifier, train.targets)
    weights = train.weights()
    train = dataclasses.replace(train, targets=scale.to_model(train.targets)).one_by_one()
    forward = _forward(classifier)
    train_step = _train_step(classifier, options, train.targets, weighted=weights is not None)
    steps = -(-len(train) // options.batch_size)
    schedule = Schedule(steps, peak=options.learning_rate, cap=options.epochs, patience=options.patience)

    best: tuple[float, float] | None = None
    best_epoch, best_weights, ended = 0, classifier.get_weights(), ""
    history: list[Progress] = []
    while len(history) < schedule.last_epoch and not ended:
        epoch, total, rate = len(history) + 1, 0.0, 0.0
        for number, rows in enumerate(_batches(train.lengths, options.batch_size, generator), 1):
            rate = schedule.rate((epoch - 1) * steps + number - 1)
            inputs = {name: tf.constant(array) for name, array in train.padded(rows).items()}
            counted = () if weights is None else (tf.constant(weights[rows]),)
            loss = float(train_step(inputs, tf.constant(train.targets[rows]), tf.constant(rate), *counted))
            if not np.isfinite(loss):
                raise DivergedError(epoch, number, steps, options.learning_rate)
            total += loss
            at = Step(epoch, schedule.last_epoch, number, steps, history[-1] if history else None)
            if on_step and on_step(at) and history:
                ended = ASKED
                break
        if ended:
            break
        metrics = metrics_of(scale.from_model(_predict(forward, validation)), validation.targets)
        if not np.isfinite(metrics["loss"]):
            raise DivergedError(epoch, 0, steps, options.learning_rate)
        quality = (metrics.get(SCORES.get(train.targets.dtype.type, ""), 0.0), -metrics["loss"])
        if best is None or quality > best:
            best, best_epoch, best_weights = quality, epoch, classifier.get_weights()
        schedule.epoch_done(epoch, loss=metrics["loss"], score=quality[0])
        mean = total / steps * scale.spread**2
        history.append(Progress(epoch, schedule.last_epoch, mean, metrics, rate, best_epoch))
        if on_progress:
            on_progress(history[-1])
    classifier.set_weights(best_weights)
    scale.leave(classifier)
    return TrainingResult(evaluate(classifier, validation), best_epoch, ended or schedule.ended, tuple(history))


def seed_everything(seed: int) -> None:
    """Makes the weights of models built from now on reproducible."""
    tf_keras.utils.set_random_seed(seed)


def evaluate(classifier: BertClassifier, examples: Examples, thresholds: tuple[float, ...] = ()) -> dict[str, float]:
    """Returns what metrics_of does of the logits."""
    check_targets(classifier, examples, "given")
    return metrics_of(predict(classifier, examples), examples.targets, thresholds)


def predict(classifier: BertClassifier, examples: Examples, *, batch_tokens: int = 8192) -> np.ndarray:
    """Returns logits float32 `[B, C]` in the order of `examples`, in batches of `batch_tokens` padded tokens.

    Of rows with windows those that their windows make.
    """
    return _predict(_forward(classifier), examples, batch_tokens)


def _forward(classifier: BertClassifier) -> Forward:
    forward: Forward = tf.function(
        lambda inputs: classifier(inputs, training=False), input_signature=[_INPUTS], autograph=False
    )
    return forward


def _predict(forward: Forward, examples: Examples, batch_tokens: int = 8192) -> np.ndarray:
    if examples.windows is not None:
        assert examples.folding is not None
        logits = _predict(forward, examples.one_by_one(), batch_tokens)
        return examples.folding(logits, examples.windows.offsets).logits
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


def _train_step(
    classifier: BertClassifier, options: TrainingOptions, targets: np.ndarray, *, weighted: bool
) -> Callable[..., tf.Tensor]:
    variables = classifier.trainable_variables
    optimizer = AdamW(variables, weight_decay=options.weight_decay)
    target, loss_of = LOSSES[targets.dtype.type]
    signature = [_INPUTS, target, tf.TensorSpec([], tf.float32)]
    signature += [tf.TensorSpec([None], tf.float32)] if weighted else []

    @tf.function(input_signature=signature, autograph=False)
    def step(
        inputs: dict[str, tf.Tensor], targets: tf.Tensor, rate: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = loss_of(classifier(inputs, training=True), targets)
            if weights is not None:
                # Of several labels there is a loss each.
                losses *= tf.reshape(weights, [-1, *[1] * (len(losses.shape) - 1)])
            loss = tf.reduce_mean(losses)
        # A pooler that the head does not read has no gradient.
        optimizer.apply(tape.gradient(loss, variables), rate)
        return loss

    return step  # type: ignore[no-any-return]
