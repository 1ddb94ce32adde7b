"""Weights that somebody else trained -> our models, with nothing missing and nothing left over.

Every layout is mapped onto one set of names, the canonical tree: the attribute path of a variable below a
BertClassifier, such as `_network/_transformer_layers/0/_intermediate_dense/kernel`. A reader (`hugging_face`,
`model_garden`, `tf1`) returns a Checkpoint with these names; `build_from` does the rest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tf_keras

from model.errors import CheckpointError
from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.network.encoder import BertEncoder
from model.network.weights import ENCODER_PREFIX, canonical_variables


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a reader found: `weights` by canonical name (float32), `config` with the sizes, and what became of the rest.

    `origin` is the file that errors name. `ignored` maps each stored key that is not used to the reason; `notes` are
    sentences on what had to be assumed. `said_by` maps `activation` and `norm_first`, which no shape shows, to who says
    them; one that is missing there is assumed. `labels` are in the order of the logits, None if the source does not
    say; `vocabulary` (tokens by id), `lower_case` and `seq_length` are None where the source does not say,
    `strip_accents` also where accents go with the case. `text_fields` are the names of the texts of a row in training,
    if it says. `flavour_assumed` means that nothing says how the training
    tokenized. `truncator` is how pairs were cut. `activation` is where a function after the one or more outputs is
    named, and its name there; `activation_assumed` means that nothing says what becomes of the one output. Without
    `has_pooler` the encoder was never trained with one, and its weights for it are zero. `several`: a text may have any
    number of the labels.
    """

    origin: str
    layout: str
    config: BertConfig
    weights: Mapping[str, np.ndarray]
    ignored: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    said_by: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    vocabulary: tuple[str, ...] | None = None
    lower_case: bool | None = None
    strip_accents: bool | None = None
    seq_length: int | None = None
    text_fields: tuple[str, ...] = ()
    flavour: str = "model_garden"
    flavour_assumed: bool = False
    truncator: str = "round_robin"
    activation: tuple[str, str] | None = None
    activation_assumed: bool = False
    has_pooler: bool = True
    several: bool = False

    def check_segments(self, segments: int) -> None:
        """Raises CheckpointError if the model was trained on fewer segment types than `segments`."""
        types = self.config.type_vocab_size
        if types < segments:
            raise CheckpointError(
                f"{self.origin}: type_vocab_size is {types}, but a pair of texts needs {segments}: nothing the model "
                "learned tells the second text from the first. Bring a model of pairs, or use this one for single texts"
            )

    @property
    def outputs(self) -> int | None:
        """Number of logits; None for an encoder without a head."""
        for name in ("classifier/out_proj/bias", "classifier/bias"):
            if name in self.weights:
                return len(self.weights[name])
        return None

    @property
    def encoder_weights(self) -> dict[str, np.ndarray]:
        """The weights below the encoder."""
        return {name: array for name, array in self.weights.items() if name.startswith(ENCODER_PREFIX)}


def build_from(checkpoint: Checkpoint) -> BertClassifier:
    """Builds the classifier of a checkpoint with a head; raises CheckpointError unless every weight finds its place."""
    if checkpoint.outputs is None:
        raise CheckpointError(
            f"{checkpoint.origin}: is an encoder without a trained head; fine-tune it on labelled rows "
            "(`bert-batch train --encoder`)"
        )
    head = tf_keras.layers.Dense(checkpoint.outputs) if "classifier/kernel" in checkpoint.weights else None
    classifier = build_classifier(checkpoint.config, checkpoint.outputs, cls_head=head)
    assign(classifier, checkpoint.weights, origin=checkpoint.origin)
    return classifier


def build_encoder_from(checkpoint: Checkpoint, *, output_range: int | None = None) -> BertEncoder:
    """Builds the encoder of a checkpoint, without its head if it has one; raises CheckpointError."""
    encoder = BertEncoder.from_bert_config(checkpoint.config, output_range=output_range)
    assign(encoder, checkpoint.encoder_weights, origin=checkpoint.origin)
    return encoder


def assign(model: BertClassifier | BertEncoder, weights: Mapping[str, np.ndarray], *, origin: str) -> None:
    """Sets every variable of `model` from `weights`, or raises CheckpointError and changes nothing.

    `weights` maps canonical names to arrays of exactly the variables' shapes; `origin` is the name errors give
    to the source.
    """
    variables = canonical_variables(model)
    if missing := sorted(variables.keys() - weights.keys()):
        raise CheckpointError(
            f"{origin}: has no weights for {some(missing)}. The model would score with random weights there; save the "
            "whole model, or build one with the layers, head and use_encoder_pooler of the checkpoint"
        )
    if left_over := sorted(weights.keys() - variables.keys()):
        raise CheckpointError(
            f"{origin}: the model has no place for {some(left_over)}, so the scores would be wrong; save a plain "
            "BertClassifier, or build one with the layers, head and use_encoder_pooler of the checkpoint"
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != weights[name].shape:
            raise CheckpointError(
                f"{origin}: {name} has shape {list(weights[name].shape)}, the model's is {list(variable.shape)}; "
                "save the whole model again, or build one with the sizes of the checkpoint"
            )
    for name, variable in variables.items():
        variable.assign(weights[name])


def as_weights(origin: str, key: str, stored: np.ndarray) -> np.ndarray:
    """`stored` as float32; raises CheckpointError if a weight is not finite, or too large for float32."""
    with np.errstate(over="ignore"):
        weights = np.asarray(stored, np.float32)
    if odd := weights.size - int(np.isfinite(weights).sum()):
        raise CheckpointError(
            f"{origin}: {key} has {odd:,} of {weights.size:,} weights that are NaN or infinite, so the scores would be "
            "too; the training went wrong or the file is damaged: bring an earlier checkpoint, or copy the file again"
        )
    return weights


def some(names: Iterable[str]) -> str:
    """The first three names and how many more there are."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
