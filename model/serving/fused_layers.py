"""The layers of the ScoringGraph, on flat rows: `[B*T, H]`.

Rows, sums and norms are float32; products and activations are computed in the type `dtype` of their factors.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from model.bundle import OPENVINO, TENSORFLOW
from model.network.config import LAYER_NORM_EPSILON, BertConfig
from model.network.encoder import ACTIVATION_FUNCTIONS

Weights = Mapping[str, np.ndarray]
Product = tuple[np.ndarray, np.ndarray]  # kernel [I, O], bias [O]
XLA = "xla"
"""A runtime, beside the engines of model.bundle: TensorFlow's compiler."""


class Form(NamedTuple):
    """How the layers compute: products in `dtype`, by kernels of TensorFlow's own, of XLA or of OpenVINO."""

    dtype: tf.DType = tf.float32
    runtime: str = TENSORFLOW


class Dense(tf.Module):
    """`[R, I]` -> `[R, O]`, in the type of the rows."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self._kernel = constant(kernel, "kernel")
        self._bias = constant(bias, "bias")

    @classmethod
    def read(cls, weights: Weights, prefix: str) -> "Dense":
        return cls(weights[f"{prefix}/kernel"], weights[f"{prefix}/bias"])

    @property
    def width(self) -> int:
        """O."""
        return int(self._bias.shape[0])

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        # bias_add, not +: TensorFlow fuses it and the activation that follows into the product.
        kernel, bias = (tf.cast(weights, rows.dtype) for weights in (self._kernel, self._bias))
        return tf.nn.bias_add(tf.matmul(rows, kernel), bias)

    def separately(self, rows: tf.Tensor, count: int) -> list[tf.Tensor]:
        """The same of rows of any rank, its columns cut into `count` parts, each by a product of its own."""
        parts = zip(tf.split(self._kernel, count, axis=1), tf.split(self._bias, count), strict=True)
        return [tf.nn.bias_add(tf.matmul(rows, kernel), bias) for kernel, bias in parts]


class LayerNorm(tf.Module):
    """float32 `[R, H]` -> `[R, H]`."""

    def __init__(self, weights: Weights, prefix: str) -> None:
        super().__init__()
        self._gamma = constant(weights[f"{prefix}/gamma"], "gamma")
        self._beta = constant(weights[f"{prefix}/beta"], "beta")

    def __call__(self, rows: tf.Tensor, form: Form) -> tf.Tensor:
        normed = _normed_by_batch_norm(rows) if form.runtime == TENSORFLOW else _normed_in_two_passes(rows)
        return normed * self._gamma + self._beta


def _normed_by_batch_norm(rows: tf.Tensor) -> tf.Tensor:
    count = tf.shape(rows)[0]
    # Normalising each row as a channel of one image is the only form that TensorFlow makes oneDNN's LayerNorm of.
    normed = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(rows, [1, count, rows.shape[-1], 1]),
        scale=tf.ones([count]),
        offset=tf.zeros([count]),
        mean=tf.constant([], tf.float32),
        variance=tf.constant([], tf.float32),
        epsilon=LAYER_NORM_EPSILON,
        data_format="NCHW",
        is_training=True,
    ).y
    return tf.reshape(normed, tf.shape(rows))


def _normed_in_two_passes(rows: tf.Tensor) -> tf.Tensor:
    # XLA takes the variance of a batch norm as the mean of squares less the square of the mean: nothing is left of it
    # where a row's mean is large against its spread. OpenVINO makes one operation of these.
    centred = rows - tf.reduce_mean(rows, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * tf.math.rsqrt(variance + LAYER_NORM_EPSILON)


class Layer(tf.Module):
    """One transformer layer on flat rows: `[B*T, H]`, mask adder `[B, 1, 1, T]` -> `[B*T, H]`."""

    def __init__(self, config: BertConfig, weights: Weights, prefix: str) -> None:
        super().__init__()
        self._heads = config.num_attention_heads
        self._hidden = config.hidden_size
        self._norm_first = config.norm_first
        self._activation = ACTIVATION_FUNCTIONS[config.activation]
        self._make_projections(*_projections(weights, f"{prefix}/_attention_layer"))
        self._one = constant(np.ones([], np.float32), "one")
        attended = f"{prefix}/_attention_layer/_output_dense"
        kernel = weights[f"{attended}/kernel"].reshape(self._hidden, self._hidden)
        self._attended = Dense(kernel, weights[f"{attended}/bias"])
        self._attention_norm = LayerNorm(weights, f"{prefix}/_attention_layer_norm")
        self._intermediate = Dense.read(weights, f"{prefix}/_intermediate_dense")
        self._output = Dense.read(weights, f"{prefix}/_output_dense")
        self._output_norm = LayerNorm(weights, f"{prefix}/_output_layer_norm")

    def _make_projections(self, query: Product, key: Product, value: Product) -> None:
        self._query_key_value = _joined(query, key, value)

    def __call__(self, rows: tf.Tensor, adder: tf.Tensor, form: Form) -> tf.Tensor:
        normed = self._attention_norm(rows, form) if self._norm_first else rows
        query, key, value = self._by_head(tf.cast(normed, form.dtype), adder, form)
        return self._rest(rows, self._attend(query, key, value, adder, form), form)

    def _by_head(self, rows: tf.Tensor, adder: tf.Tensor, form: Form) -> list[tf.Tensor]:
        """`[B*T, H]` -> queries, keys and values, each `[B, heads, T, D]`."""
        batch, time = tf.shape(adder)[0], tf.shape(adder)[3]
        heads = [self._heads, self._hidden // self._heads]
        if form.runtime == OPENVINO:
            # Three products of `[B, T, H]` take it 4 to 6 % less time for the network than one of flat rows.
            parts = self._query_key_value.separately(tf.reshape(rows, [batch, time, self._hidden]), 3)
            return [tf.transpose(tf.reshape(part, [batch, time, *heads]), [0, 2, 1, 3]) for part in parts]
        joined = tf.reshape(self._query_key_value(rows), [batch, time, 3, *heads])
        return list(tf.unstack(tf.transpose(joined, [2, 0, 3, 1, 4])))

    def _attend(self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, adder: tf.Tensor, form: Form) -> tf.Tensor:
        scores = tf.matmul(query, key, transpose_b=True)
        if form == Form(tf.float32, TENSORFLOW):
            # TensorFlow adds the mask inside the product, but only behind one with a number. A constant 1 it removes.
            scores *= self._one
        weights = _attention(scores, adder)
        return tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])

    def _rest(self, rows: tf.Tensor, attended: tf.Tensor, form: Form) -> tf.Tensor:
        # With this very shape TensorFlow knows that both sums have equal shapes, and adds inside the product.
        projected = self._attended(tf.reshape(attended, tf.shape(rows)))
        rows += tf.cast(projected, tf.float32)
        if self._norm_first:
            return rows + self._feed_forward(self._output_norm(rows, form), form)
        rows = self._attention_norm(rows, form)
        return self._output_norm(rows + self._feed_forward(rows, form), form)

    def _feed_forward(self, rows: tf.Tensor, form: Form) -> tf.Tensor:
        return tf.cast(self._output(self._activation(self._intermediate(tf.cast(rows, form.dtype)))), tf.float32)


class LastLayer(Layer):
    """The layer whose only row of interest is [CLS]: `[B*T, H]`, mask adder `[B, 1, 1, T]` -> `[B, H]`.

    One query a row needs no keys and values of the other tokens. With x the tokens' vectors, the score q·(Wx + b) is
    (Wᵀq)·x plus what softmax does not see, and the mean of the values is V times the mean of x, plus their bias.
    """

    def _make_projections(self, query: Product, key: Product, value: Product) -> None:
        heads = [self._hidden, self._heads, self._hidden // self._heads]
        self._query = Dense(*query)
        self._key_kernel = constant(key[0].reshape(heads).transpose(1, 2, 0), "key")  # [N, D, H]
        self._value_kernel = constant(value[0].reshape(heads).transpose(1, 0, 2), "value")  # [N, H, D]
        self._value_bias = constant(value[1], "value_bias")

    def __call__(self, rows: tf.Tensor, adder: tf.Tensor, form: Form) -> tf.Tensor:
        batch, time = tf.shape(adder)[0], tf.shape(adder)[3]
        shape = [batch, time, self._hidden]
        first = tf.reshape(rows, shape)[:, 0]
        normed = self._attention_norm(rows, form) if self._norm_first else rows
        tokens = tf.cast(tf.reshape(normed, shape), form.dtype)
        query = tf.reshape(self._query(tokens[:, 0]), [batch, self._heads, self._hidden // self._heads])
        wanted = tf.matmul(tf.transpose(query, [1, 0, 2]), tf.cast(self._key_kernel, form.dtype))
        wanted = tf.transpose(wanted, [1, 0, 2])
        weights = _attention(tf.matmul(wanted, tokens, transpose_b=True), adder[:, 0])
        mean = tf.transpose(tf.matmul(weights, tokens), [1, 0, 2])
        attended = tf.transpose(tf.matmul(mean, tf.cast(self._value_kernel, form.dtype)), [1, 0, 2])
        attended = tf.reshape(attended, [batch, self._hidden]) + tf.cast(self._value_bias, form.dtype)
        return self._rest(first, attended, form)


def _attention(scores: tf.Tensor, adder: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32) + adder), scores.dtype)


def _projections(weights: Weights, prefix: str) -> list[Product]:
    """The products that make queries (scaled already), keys and values, each `[H, H]`."""
    products = []
    for part in ("query", "key", "value"):
        kernel, bias = weights[f"{prefix}/_{part}_dense/kernel"], weights[f"{prefix}/_{part}_dense/bias"]
        scale = np.float32(1 / np.sqrt(kernel.shape[-1]) if part == "query" else 1)
        products.append((kernel.reshape(len(kernel), -1) * scale, bias.reshape(-1) * scale))
    return products


def _joined(*products: Product) -> Dense:
    kernels, biases = zip(*products, strict=True)
    return Dense(np.concatenate(kernels, axis=1), np.concatenate(biases))


def constant(array: np.ndarray, name: str) -> tf.Variable:
    return tf.Variable(array, trainable=False, name=name)
