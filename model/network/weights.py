"""Weights by name: which there are, of which shape, and those of a model."""

from typing import Any

import numpy as np
import tensorflow as tf

from model.network.classifier import BertClassifier
from model.network.config import BertConfig
from model.network.encoder import BertEncoder

ENCODER_PREFIX = "_network/"

# Keras numbers the layers of a functional model, and a head brought by the user hangs on two attributes.
_SECOND_NAMES = ("layer-", "layer_with_weights-", "_cls_head")


def encoder_shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """Returns canonical name -> shape of every variable of the encoder that `config` describes."""
    hidden, width, heads = config.hidden_size, config.width, config.num_attention_heads
    depth = hidden // heads
    sizes = {
        "_embedding_layer": config.vocab_size,
        "_position_embedding_layer": config.max_sequence_length,
        "_type_embedding_layer": config.type_vocab_size,
    }
    shapes: dict[str, tuple[int, ...]] = {f"{layer}/embeddings": (size, width) for layer, size in sizes.items()}
    shapes |= {f"_embedding_norm_layer/{leaf}": (width,) for leaf in ("gamma", "beta")}
    if width != hidden:
        shapes |= _dense("_embedding_projection", (width,), (hidden,))
    for i in range(config.num_layers):
        layer = f"_transformer_layers/{i}"
        for part in ("query", "key", "value"):
            shapes |= _dense(f"{layer}/_attention_layer/_{part}_dense", (hidden,), (heads, depth))
        shapes |= _dense(f"{layer}/_attention_layer/_output_dense", (heads, depth), (hidden,))
        shapes |= _dense(f"{layer}/_intermediate_dense", (hidden,), (config.inner_dim,))
        shapes |= _dense(f"{layer}/_output_dense", (config.inner_dim,), (hidden,))
        for norm in ("_attention_layer_norm", "_output_layer_norm"):
            shapes |= {f"{layer}/{norm}/{leaf}": (hidden,) for leaf in ("gamma", "beta")}
    shapes |= _dense("_pooler_layer", (hidden,), (hidden,))
    return {ENCODER_PREFIX + name: shape for name, shape in shapes.items()}


def _dense(layer: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{layer}/kernel": inputs + outputs, f"{layer}/bias": outputs}


def canonical_variables(model: BertClassifier | BertEncoder) -> dict[str, tf.Variable]:
    """Returns canonical name -> variable; an encoder alone has only the names below `_network/`."""
    view = tf.train.TrackableView(model)
    found: dict[str, tf.Variable] = {}
    seen: set[int] = set()

    def visit(node: Any, path: str) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, tf.Variable):
            found[path] = node
            return
        for name, child in view.children(node).items():
            if not name.startswith(_SECOND_NAMES):
                visit(child, f"{path}/{name}" if path else name)

    visit(model, "" if isinstance(model, BertClassifier) else ENCODER_PREFIX.rstrip("/"))
    return found


def read_weights(model: BertClassifier | BertEncoder) -> dict[str, np.ndarray]:
    """Returns canonical name -> array, a copy of the model's present weights."""
    return {name: variable.numpy() for name, variable in canonical_variables(model).items()}
