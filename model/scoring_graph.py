"""ScoringGraph: the function of a BertClassifier, rewritten for speed, as it is exported and served.

What differs from the Keras model, all of it exact up to rounding: one product makes queries, keys and values;
the 1/sqrt(d) of attention is inside the query weights; products run on flat `[B*T, H]` rows, where TensorFlow
fuses bias and activation into them; segment 0 is inside the position table; and the last layer computes only
the [CLS] row after its keys and values.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from model.checkpoints import read_weights
from model.classifier import BertClassifier
from model.config import LAYER_NORM_EPSILON, BertConfig
from model.encoder import ACTIVATION_FUNCTIONS
from model.exportable import check_exportable

SIGNATURE = "score"

# Added to the attention score of padding, as in the reference.
_MASKED = -1e9

Weights = Mapping[str, np.ndarray]
Product = tuple[np.ndarray, np.ndarray]  # kernel [I, O], bias [O]


class ScoringGraph(tf.Module):
    """The exported classifier: rows of tokens -> logits and probabilities, or logits and a value.

    Inputs of `score`: `tokens` int32 `[N]`, the rows' tokens one after the other, special tokens included, no
    padding; `lengths` int32 `[B]`, tokens of each row, at least 1; `first_segment` int32 `[B]`, how many of them
    have type id 0 (the rest has 1). Outputs: `logits` float32 `[B, C]`, and `probabilities` float32 `[B, C]` for
    C > 1 or `value` float32 `[B]` for C = 1. B may be 0. InvalidArgumentError is raised for a row longer than the
    model's positions, lengths that do not add up to N and, on CPU, a token outside the vocabulary.
    """

    def __init__(self, config: BertConfig, weights: Weights) -> None:
        """`weights` are a BertClassifier's, by canonical name; `from_classifier` checks that they fit."""
        super().__init__(name="scoring_graph")
        self._config = config
        network = "_network/"
        types = weights[f"{network}_type_embedding_layer/embeddings"]
        positions = weights[f"{network}_position_embedding_layer/embeddings"]
        # A model with one segment type has no vector for a second: the reference adds zeros there.
        second = types[1] if len(types) > 1 else np.zeros_like(types[0])
        self._words = _constant(weights[f"{network}_embedding_layer/embeddings"], "words")
        self._positions = _constant(positions + types[0], "positions")
        self._second_segment = _constant(second - types[0], "second_segment")
        self._embedding_norm = _LayerNorm(weights, f"{network}_embedding_norm_layer")
        prefixes = [f"{network}_transformer_layers/{i}" for i in range(config.num_layers)]
        self._layers = [_Layer(config, weights, prefix) for prefix in prefixes[:-1]]
        self._last_layer = _LastLayer(config, weights, prefixes[-1])
        self._projection = None
        if config.width != config.hidden_size:
            self._projection = _Dense.read(weights, f"{network}_embedding_projection")
        self._pooler = _Dense.read(
            weights, f"{network}_pooler_layer" if config.use_encoder_pooler else "classifier/dense"
        )
        # A plain Dense in place of the default head stands there itself.
        own_head = "classifier/kernel" in weights
        self._out = _Dense.read(weights, "classifier" if own_head else "classifier/out_proj")
        # Made here and not by a decorator: a decorated method holds its object only weakly.
        signature = [tf.TensorSpec([None], tf.int32, name) for name in ("tokens", "lengths", "first_segment")]
        self.score = tf.function(self._score, input_signature=signature, autograph=False)

    @classmethod
    def from_classifier(cls, classifier: BertClassifier, config: BertConfig) -> "ScoringGraph":
        """Copies the weights of `classifier`; raises ValueError if it is not the model `config` describes.

        The head must be a ClassificationHead on the first token, or a linear Dense on the pooled output.
        """
        check_exportable(classifier, config)
        return cls(config, read_weights(classifier))

    def _score(self, tokens: tf.Tensor, lengths: tf.Tensor, first_segment: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies(self._check_lengths(tokens, lengths)):
            longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
        places = (tf.cumsum(lengths) - lengths)[:, tf.newaxis] + tf.range(longest)
        # Padding reads whatever token comes next: one that exists, and attention never sees it.
        padded = tf.gather(tokens, tf.minimum(places, tf.size(tokens) - 1))
        logits = self.logits(padded, lengths, first_segment)
        if logits.shape[-1] == 1:
            return {"logits": logits, "value": logits[:, 0]}
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    def logits(self, tokens: tf.Tensor, lengths: tf.Tensor, first_segment: tf.Tensor) -> tf.Tensor:
        """The network itself on padded rows: int32 `[B, T]`, `[B]`, `[B]` -> float32 `[B, C]`.

        What stands in the padding does not matter as long as the vocabulary has it. Nothing in here depends on
        values, so that XLA can compile it for fixed B and T.
        """
        batch, time = tf.unstack(tf.shape(tokens))
        place = tf.range(time)
        is_second = tf.cast(place >= first_segment[:, tf.newaxis], tf.float32)[:, :, tf.newaxis]
        rows = tf.gather(self._words, tokens) + self._positions[:time] + is_second * self._second_segment
        rows = self._embedding_norm(tf.reshape(rows, [batch * time, self._config.width]))
        if self._projection is not None:
            rows = self._projection(rows)
        adder = tf.where(place < lengths[:, tf.newaxis], 0.0, _MASKED)[:, tf.newaxis, tf.newaxis, :]
        for layer in self._layers:
            rows = layer(rows, adder)
        first = self._last_layer(rows, adder)
        return self._out(tf.tanh(self._pooler(first)))

    def export(self, path: str | Path) -> None:
        """Writes a SavedModel whose signature "score" is `score`; it needs no code of ours to be loaded."""
        tf.saved_model.save(self, str(path), signatures={SIGNATURE: self.score})

    def _check_lengths(self, tokens: tf.Tensor, lengths: tf.Tensor) -> list[tf.Operation]:
        longest = self._config.max_sequence_length
        too_long = f"a row has more tokens than the {longest} positions of the model; truncate it before scoring"
        return [
            tf.debugging.assert_less_equal(lengths, longest, too_long, summarize=3),
            tf.debugging.assert_positive(lengths, "a row has no tokens; every row needs at least [CLS]"),
            tf.debugging.assert_equal(tf.reduce_sum(lengths), tf.size(tokens), "lengths must add up to tokens"),
        ]


class _Dense(tf.Module):
    """`[R, I]` -> `[R, O]`."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self._kernel = _constant(kernel, "kernel")
        self._bias = _constant(bias, "bias")

    @classmethod
    def read(cls, weights: Weights, prefix: str) -> "_Dense":
        return cls(weights[f"{prefix}/kernel"], weights[f"{prefix}/bias"])

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        # bias_add, not +: TensorFlow fuses it and the activation that follows into the product.
        return tf.nn.bias_add(tf.matmul(rows, self._kernel), self._bias)


class _LayerNorm(tf.Module):
    """`[R, H]` -> `[R, H]`."""

    def __init__(self, weights: Weights, prefix: str) -> None:
        super().__init__()
        self._gamma = _constant(weights[f"{prefix}/gamma"], "gamma")
        self._beta = _constant(weights[f"{prefix}/beta"], "beta")

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        centred = rows - tf.reduce_mean(rows, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        return centred * tf.math.rsqrt(variance + LAYER_NORM_EPSILON) * self._gamma + self._beta


class _Layer(tf.Module):
    """One transformer layer on flat rows: `[B*T, H]`, mask adder `[B, 1, 1, T]` -> `[B*T, H]`."""

    def __init__(self, config: BertConfig, weights: Weights, prefix: str) -> None:
        super().__init__()
        self._heads = config.num_attention_heads
        self._hidden = config.hidden_size
        self._norm_first = config.norm_first
        self._activation = ACTIVATION_FUNCTIONS[config.activation]
        self._make_projections(*_projections(weights, f"{prefix}/_attention_layer"))
        attended = f"{prefix}/_attention_layer/_output_dense"
        kernel = weights[f"{attended}/kernel"].reshape(self._hidden, self._hidden)
        self._attended = _Dense(kernel, weights[f"{attended}/bias"])
        self._attention_norm = _LayerNorm(weights, f"{prefix}/_attention_layer_norm")
        self._intermediate = _Dense.read(weights, f"{prefix}/_intermediate_dense")
        self._output = _Dense.read(weights, f"{prefix}/_output_dense")
        self._output_norm = _LayerNorm(weights, f"{prefix}/_output_layer_norm")

    def _make_projections(self, query: Product, key: Product, value: Product) -> None:
        self._query_key_value = _joined(query, key, value)

    def __call__(self, rows: tf.Tensor, adder: tf.Tensor) -> tf.Tensor:
        normed = self._attention_norm(rows) if self._norm_first else rows
        query, key, value = self._split(self._query_key_value(normed), 3, adder)
        return self._rest(rows, self._attend(query, key, value, adder))

    def _split(self, rows: tf.Tensor, parts: int, adder: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """`[B*T, parts*H]` -> as many of `[B, heads, T, D]`."""
        batch, time = tf.shape(adder)[0], tf.shape(adder)[3]
        shape = [batch, time, parts, self._heads, self._hidden // self._heads]
        return tuple(tf.unstack(tf.transpose(tf.reshape(rows, shape), [2, 0, 3, 1, 4])))

    def _attend(self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, adder: tf.Tensor) -> tf.Tensor:
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + adder)
        return tf.reshape(tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3]), [-1, self._hidden])

    def _rest(self, rows: tf.Tensor, attended: tf.Tensor) -> tf.Tensor:
        rows += self._attended(attended)
        if self._norm_first:
            return rows + self._feed_forward(self._output_norm(rows))
        rows = self._attention_norm(rows)
        return self._output_norm(rows + self._feed_forward(rows))

    def _feed_forward(self, rows: tf.Tensor) -> tf.Tensor:
        return self._output(self._activation(self._intermediate(rows)))


class _LastLayer(_Layer):
    """The layer whose only row of interest is [CLS]: `[B*T, H]`, mask adder `[B, 1, 1, T]` -> `[B, H]`."""

    def _make_projections(self, query: Product, key: Product, value: Product) -> None:
        self._query = _Dense(*query)
        self._key_value = _joined(key, value)

    def __call__(self, rows: tf.Tensor, adder: tf.Tensor) -> tf.Tensor:
        batch, time = tf.shape(adder)[0], tf.shape(adder)[3]
        first = tf.reshape(rows, [batch, time, self._hidden])[:, 0]
        normed, normed_first = rows, first
        if self._norm_first:
            normed, normed_first = self._attention_norm(rows), self._attention_norm(first)
        query = tf.reshape(self._query(normed_first), [batch, self._heads, 1, self._hidden // self._heads])
        key, value = self._split(self._key_value(normed), 2, adder)
        return self._rest(first, self._attend(query, key, value, adder))


def _projections(weights: Weights, prefix: str) -> list[Product]:
    """The products that make queries (scaled already), keys and values, each `[H, H]`."""
    products = []
    for part in ("query", "key", "value"):
        kernel, bias = weights[f"{prefix}/_{part}_dense/kernel"], weights[f"{prefix}/_{part}_dense/bias"]
        scale = np.float32(1 / np.sqrt(kernel.shape[-1]) if part == "query" else 1)
        products.append((kernel.reshape(len(kernel), -1) * scale, bias.reshape(-1) * scale))
    return products


def _joined(*products: Product) -> _Dense:
    kernels, biases = zip(*products, strict=True)
    return _Dense(np.concatenate(kernels, axis=1), np.concatenate(biases))


def _constant(array: np.ndarray, name: str) -> tf.Variable:
    return tf.Variable(array, trainable=False, name=name)
