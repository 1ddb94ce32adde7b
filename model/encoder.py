"""BertEncoder: the BERT network as a Keras model.

Arguments, defaults, input and output names follow `tfm.nlp.networks.BertEncoder` (tf-models-official 2.20).
So do the names of attributes, private ones included: TensorFlow checkpoints are matched by them.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import tensorflow as tf
import tf_keras

from model.config import LAYER_NORM_EPSILON, BertConfig

INPUT_NAMES = ("input_word_ids", "input_mask", "input_type_ids")


@tf_keras.utils.register_keras_serializable(package="bert_batch")
def gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    """GELU in its tanh approximation, the form Google BERT was trained with."""
    return tf.nn.gelu(x, approximate=True)


@tf_keras.utils.register_keras_serializable(package="bert_batch")
def gelu_erf(x: tf.Tensor) -> tf.Tensor:
    """GELU in its exact form, which Hugging Face and Keras call `gelu`."""
    return tf.nn.gelu(x, approximate=False)


ACTIVATION_FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "gelu_tanh": gelu_tanh,
    "gelu_erf": gelu_erf,
    "relu": tf_keras.activations.relu,
}


def _copy(initializer: Any) -> Any:
    # One initializer object used for two variables would draw the same numbers twice, or warn.
    return type(initializer).from_config(initializer.get_config())


def _layer_norm(name: str) -> tf_keras.layers.LayerNormalization:
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
            kernel_initializer=_copy(initializer),
            name="self_attention",
        )
        self._attention_layer_norm = _layer_norm("self_attention_layer_norm")
        self._intermediate_dense = tf_keras.layers.Dense(
            inner_dim, activation=inner_activation, kernel_initializer=_copy(initializer), name="intermediate"
        )
        self._output_dense = tf_keras.layers.Dense(hidden_size, kernel_initializer=_copy(initializer), name="output")
        self._output_layer_norm = _layer_norm("output_layer_norm")
        self._dropout = tf_keras.layers.Dropout(output_dropout)

    def call(self, inputs: tf.Tensor, mask: tf.Tensor, output_range: int | None = None) -> tf.Tensor:
        normed = self._attention_layer_norm(inputs) if self._norm_first else inputs
        attended = self._attention_layer(normed[:, :output_range], normed, attention_mask=mask[:, tf.newaxis])
        rows = inputs[:, :output_range] + self._dropout(attended)
        if not self._norm_first:
            rows = self._attention_layer_norm(rows)
        inner = self._intermediate_dense(self._output_layer_norm(rows) if self._norm_first else rows)
        outputs = rows + self._dropout(self._output_dense(inner))
        return outputs if self._norm_first else self._output_layer_norm(outputs)


@tf_keras.utils.register_keras_serializable(package="bert_batch")
class BertEncoder(tf_keras.Model):
    """BERT without a head: token ids -> one vector a token and one vector a row.

    Inputs, a dict of int32 `[B, S]`: `input_word_ids`; `input_mask`, 1 for text and 0 for padding;
    `input_type_ids`, the segment. Outputs `[sequence_output [B, S, H], pooled_output [B, H]]`; the first is a
    list with one tensor a layer under `return_all_encoder_outputs`. With `dict_outputs` a dict of
    `sequence_output`, `pooled_output` and `encoder_outputs` (list).

    `inner_activation` may be a callable or a Keras name; the name 'gelu' is the exact form, while the
    default is the tanh approximation. A token id outside the vocabulary raises InvalidArgumentError on CPU.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int = 768,
        num_layers: int = 12,
        num_attention_heads: int = 12,
        max_sequence_length: int = 512,
        type_vocab_size: int = 16,
        inner_dim: int = 3072,
        inner_activation: Any = gelu_tanh,
        output_dropout: float = 0.1,
        attention_dropout: float = 0.1,
        initializer: Any = None,
        output_range: int | None = None,
        embedding_width: int | None = None,
        embedding_layer: tf_keras.layers.Layer | None = None,
        norm_first: bool = False,
        dict_outputs: bool = False,
        return_all_encoder_outputs: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        activation = tf_keras.activations.get(inner_activation)
        initializer = tf_keras.initializers.get(initializer or tf_keras.initializers.TruncatedNormal(stddev=0.02))
        width = embedding_width or hidden_size
        words, mask, types = (tf_keras.layers.Input(shape=(None,), dtype=tf.int32, name=name) for name in INPUT_NAMES)

        embed = embedding_layer or tf_keras.layers.Embedding(
            vocab_size, width, embeddings_initializer=_copy(initializer), name="word_embeddings"
        )
        positions = PositionEmbedding(max_sequence_length, _copy(initializer), name="position_embedding")
        segments = TypeEmbedding(type_vocab_size, width, _copy(initializer), name="type_embeddings")
        embedding_norm = _layer_norm("embeddings/layer_norm")
        projection = None
        word_vectors = embed(words)
        data = embedding_norm(word_vectors + positions(word_vectors) + segments(types))
        data = tf_keras.layers.Dropout(output_dropout, name="embeddings/dropout")(data)
        if width != hidden_size:
            projection = tf_keras.layers.Dense(
                hidden_size, kernel_initializer=_copy(initializer), name="embedding_projection"
            )
            data = projection(data)

        layers, all_outputs = [], []
        for i in range(num_layers):
            layer = TransformerLayer(
                hidden_size=hidden_size,
                num_attention_heads=num_attention_heads,
                inner_dim=inner_dim,
                inner_activation=activation,
                output_dropout=output_dropout,
                attention_dropout=attention_dropout,
                initializer=initializer,
                norm_first=norm_first,
                name=f"transformer/layer_{i}",
            )
            data = layer(data, mask=mask, output_range=output_range if i == num_layers - 1 else None)
            layers.append(layer)
            all_outputs.append(data)
        pooler = tf_keras.layers.Dense(
            hidden_size, activation="tanh", kernel_initializer=_copy(initializer), name="pooler_transform"
        )
        pooled = pooler(data[:, 0])

        outputs: Any = [all_outputs if return_all_encoder_outputs else data, pooled]
        if dict_outputs:
            outputs = {"sequence_output": data, "pooled_output": pooled, "encoder_outputs": all_outputs}
        # Keras allows attributes only after this call, which makes `self` a functional model.
        super().__init__(inputs=[words, mask, types], outputs=outputs, **kwargs)
        # A plain dict would become part of the checkpoint.
        self._config = MappingProxyType(arguments)
        self._embedding_layer = embed
        self._position_embedding_layer = positions
        self._type_embedding_layer = segments
        self._embedding_norm_layer = embedding_norm
        if projection is not None:
            self._embedding_projection = projection
        self._transformer_layers = layers
        self._pooler_layer = pooler

    @classmethod
    def from_bert_config(cls, config: BertConfig, **kwargs: Any) -> "BertEncoder":
        """Builds the encoder that `config` describes, with freshly drawn weights."""
        return cls(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_layers=config.num_layers,
            num_attention_heads=config.num_attention_heads,
            max_sequence_length=config.max_sequence_length,
            type_vocab_size=config.type_vocab_size,
            inner_dim=config.inner_dim,
            inner_activation=ACTIVATION_FUNCTIONS[config.activation],
            output_dropout=config.output_dropout,
            attention_dropout=config.attention_dropout,
            initializer=tf_keras.initializers.TruncatedNormal(stddev=config.initializer_range),
            **kwargs,
        )

    def get_embedding_table(self) -> tf.Variable:
        """Returns the word embeddings, float32 `[vocab_size, W]`."""
        return self._embedding_layer.embeddings

    def get_embedding_layer(self) -> tf_keras.layers.Layer:
        """Returns the word embedding layer, for another network to share."""
        return self._embedding_layer

    @property
    def transformer_layers(self) -> list[TransformerLayer]:
        """The transformer layers, first to last."""
        return list(self._transformer_layers)

    @property
    def pooler_layer(self) -> tf_keras.layers.Dense:
        """The layer that makes `pooled_output` of the first token's vector."""
        return self._pooler_layer

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, serialised as Keras does it."""
        config = dict(self._config)
        config["inner_activation"] = tf_keras.activations.serialize(
            tf_keras.activations.get(config["inner_activation"]), use_legacy_format=True
        )
        if config["initializer"] is not None:
            config["initializer"] = tf_keras.initializers.serialize(tf_keras.initializers.get(config["initializer"]))
        return {**config, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "BertEncoder":
        """Builds an encoder from `get_config()`, with freshly drawn weights."""
        with tf_keras.utils.custom_object_scope(custom_objects or {}):
            return cls(**config)
