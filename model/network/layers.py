"""The layers of BERT, with the attribute names of Model Garden's: TensorFlow checkpoints are matched by them."""

from typing import Any

import tensorflow as tf
import tf_keras

from model.network.config import LAYER_NORM_EPSILON


def fresh(initializer: Any) -> Any:
    """Returns a copy: one initializer object used for two variables would draw the same numbers twice, or warn."""
    return type(initializer).from_config(initializer.get_config())


def layer_norm(name: str) -> tf_keras.layers.LayerNormalization:
    """LayerNorm over the last axis with the reference's epsilon."""
    return tf_keras.layers.LayerNormalization(axis=-1, epsilon=LAYER_NORM_EPSILON, dtype=tf.float32, name=name)


class PositionEmbedding(tf_keras.layers.Layer):
    """One learnt vector a position: `[B, S, W]` -> `[1, S, W]`; S above `max_length` is an error."""

    def __init__(self, max_length: int, initializer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._max_length = max_length
        self._initializer = initializer

    def build(self, input_shape: tf.TensorShape) -> None:
        self.embeddings = self.add_weight(
            "embeddings", shape=[self._max_length, input_shape[-1]], initializer=self._initializer
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        length = tf.shape(inputs)[1]
        message = f"a row has more tokens than the {self._max_length} positions of the model"
        with tf.control_dependencies([tf.debugging.assert_less_equal(length, self._max_length, message)]):
            return self.embeddings[tf.newaxis, :length]


class TypeEmbedding(tf_keras.layers.Layer):
    """One learnt vector a segment: int32 `[B, S]` -> `[B, S, W]`; an id out of range gives zeros."""

    def __init__(self, type_vocab_size: int, width: int, initializer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shape = (type_vocab_size, width)
        self._initializer = initializer

    def build(self, input_shape: tf.TensorShape) -> None:
        self.embeddings = self.add_weight("embeddings", shape=self._shape, initializer=self._initializer)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # The product, not a look-up, is the reference's rule for ids out of range.
        return tf.one_hot(inputs, self._shape[0], dtype=self.compute_dtype) @ self.embeddings


class TransformerLayer(tf_keras.layers.Layer):
    """Self-attention and feed-forward, each with a residual and a LayerNorm: `[B, S, H]` -> `[B, S, H]`.

    `norm_first` normalises the input of each half instead of its sum. With `output_range=n` only the
    first n rows of S are computed; they still attend to all.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        inner_dim: int,
        inner_activation: Any,
        output_dropout: float,
        attention_dropout: float,
        initializer: Any,
        norm_first: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._norm_first = norm_first
        self._attention_layer = tf_keras.layers.MultiHeadAttention(
            num_heads=num_attention_heads,
            key_dim=hidden_size // num_attention_heads,
            dropout=attention_dropout,
            kernel_initializer=fresh(initializer),
            name="self_attention",
        )
        self._attention_layer_norm = layer_norm("self_attention_layer_norm")
        self._intermediate_dense = tf_keras.layers.Dense(
            inner_dim, activation=inner_activation, kernel_initializer=fresh(initializer), name="intermediate"
        )
        self._output_dense = tf_keras.layers.Dense(hidden_size, kernel_initializer=fresh(initializer), name="output")
        self._output_layer_norm = layer_norm("output_layer_norm")
        self._dropout = tf_keras.layers.Dropout(output_dropout)

    def call(self, inputs: tf.Tensor, mask: tf.Tensor, output_range: int | None = None) -> tf.Tensor:
        normed = self._attention_layer_norm(inputs) if self._norm_first else inputs
        attended = self._attention_layer(normed[:, :output_range], normed, attention_mask=mask[:, tf.newaxis])
        rows = inputs[:, :output_range] + self._dropout(attended)
        if not self._norm_first:
            rows = self._attention_layer_norm(rows)
        inner = self._intermediate_dense(self._output_layer_norm(rows) if self._norm_first else rows)
        # Under a mixed precision policy the norms stay float32, and with them the sums.
        outputs = rows + tf.cast(self._dropout(self._output_dense(inner)), rows.dtype)
        return outputs if self._norm_first else self._output_layer_norm(outputs)
