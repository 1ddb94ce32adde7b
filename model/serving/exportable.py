"""Which classifiers the ScoringGraph computes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tf_keras

from model.bundle import ACTIVATIONS
from model.network.classifier import BertClassifier, ClassificationHead
from model.network.config import BertConfig
from model.network.encoder import HEAD_FUNCTIONS, BertEncoder

# How Keras writes the activations that compute ours.
_KERAS_NAMES = {
    "gelu_tanh": ("bert_batch>gelu_tanh",),
    "gelu_erf": ("bert_batch>gelu_erf", "gelu"),
    "relu": ("relu",),
}

_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_layers",
    "num_attention_heads",
    "inner_dim",
    "max_sequence_length",
    "type_vocab_size",
    "norm_first",
)


def check_exportable(classifier: BertClassifier, config: BertConfig) -> None:
    """Raises ValueError, with the reason, unless the ScoringGraph of `config` has the scores of `classifier`."""
    _check_head(classifier, config)
    if not isinstance(classifier.network, BertEncoder):
        raise ValueError(
            f"the network is a {type(classifier.network).__name__}, whose arguments cannot be compared with a config: "
            "save its weights with tf.train.Checkpoint(model=classifier) and use `bert-batch import` on them"
        )
    network = classifier.network.get_config()
    wanted = {name: getattr(config, name) for name in _SIZES}
    wanted |= {"embedding_width": config.width}
    found = {**network, "embedding_width": network["embedding_width"] or network["hidden_size"]}
    for name, value in wanted.items():
        if found[name] != value:
            raise ValueError(f"the encoder has {name}={found[name]!r}, but the config to export needs {value!r}")
    if found["inner_activation"] not in _KERAS_NAMES[config.activation]:
        raise ValueError(
            f"the encoder's inner_activation is {found['inner_activation']!r}, the config's is {config.activation!r}"
        )
    if classifier.use_encoder_pooler != config.use_encoder_pooler:
        raise ValueError(
            f"the classifier has use_encoder_pooler={classifier.use_encoder_pooler}, the config has "
            f"{config.use_encoder_pooler}; set it in the config with replace(use_encoder_pooler=…)"
        )


def fused_config(classifier: tf_keras.Model) -> BertConfig:
    """The config of which the ScoringGraph has the scores of `classifier`; raises ValueError, with the reason."""
    if type(classifier) is not BertClassifier or type(classifier.network) is not BertEncoder:
        raise ValueError(f"{classifier.name} is no BertClassifier around a BertEncoder, which a ScoringGraph computes")
    encoder = classifier.network
    if type(encoder.get_embedding_layer()) is not tf_keras.layers.Embedding:
        raise ValueError("the encoder has an embedding layer of its own, which no ScoringGraph computes")
    found = encoder.get_config()
    known: list[Any] = [ours for ours, theirs in _KERAS_NAMES.items() if found["inner_activation"] in theirs]
    own = getattr(classifier.classifier, "activation", None)
    heads: list[Any] = [name for name, function in HEAD_FUNCTIONS.items() if function is own]
    config = BertConfig(
        **{name: found[name] for name in (*_SIZES, "embedding_width")},
        activation=known[0] if known else "gelu_tanh",
        use_encoder_pooler=classifier.use_encoder_pooler,
        head_activation=heads[0] if heads and not classifier.use_encoder_pooler else "tanh",
    )
    check_exportable(classifier, config)
    return config


def check_activation(activation: str | None, outputs: int) -> str:
    """The activation of a model with so many outputs, None the usual one; raises ValueError if they do not fit."""
    known = ACTIVATIONS if outputs == 1 else ("softmax", "sigmoid")
    if activation not in (None, *known):
        raise ValueError(f"activation is {activation!r} with {outputs} outputs; it must be {' or '.join(known)}")
    return activation or known[0]


def check_finite(weights: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError naming the first of `weights` that has NaN or infinity: every score would be NaN too."""
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ValueError(
                f"the model's weights {name} are not finite (NaN or infinity), so its scores would not be either. "
                "After a training: lower the learning rate, and look for labels far larger than the others"
            )


def _check_head(classifier: BertClassifier, config: BertConfig) -> None:
    head, pooled = classifier.classifier, classifier.use_encoder_pooler
    if isinstance(head, ClassificationHead):
        problem = None
        if bool(head.inner_dim) == pooled:
            problem = f"inner_dim={head.inner_dim} with use_encoder_pooler={pooled}; only one of the two may pool"
        elif head.inner_dim and head.cls_token_idx != 0:
            problem = f"cls_token_idx={head.cls_token_idx}; only token 0 is computed"
        elif head.inner_dim and head.activation is not HEAD_FUNCTIONS[config.head_activation]:
            found = tf_keras.activations.serialize(head.activation)
            problem = f"activation {found!r}; the config to export has {config.head_activation!r}"
        if problem:
            raise ValueError(f"the classifier's head has {problem}")
    elif not (
        type(head) is tf_keras.layers.Dense
        and pooled
        and head.use_bias
        and head.activation is tf_keras.activations.linear
    ):
        raise ValueError(
            f"the classifier has a head of its own ({type(head).__name__}, use_encoder_pooler={pooled}); only a "
            "ClassificationHead, or a linear Dense with bias on the encoder's pooled output, can be exported"
        )
