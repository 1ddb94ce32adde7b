"""BertEncoder: the BERT network as a Keras model.

Arguments, defaults, input and output names follow `tfm.nlp.networks.BertEncoder` (tf-models-official 2.20).
So do the names of attributes, private ones included: TensorFlow checkpoints are matched by them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf
import tf_keras

from model.network.config import BertConfig
from model.network.layers import PositionEmbedding, TransformerLayer, TypeEmbedding, fresh, layer_norm

INPUT_NAMES = ("input_word_ids", "input_mask", "input_type_ids")


def save_by_name(model: tf_keras.Model, inputs: list[Any]) -> None:
    """Makes `tf.saved_model.save` trace the call with a dict of inputs; Keras would trace the order of `inputs`."""
    model._saved_model_inputs_spec = None
    specs = {i.name: tf.TensorSpec(i.shape, i.dtype, i.name) for i in inputs}
    tf_keras.layers.Layer._set_save_spec(model, specs, [], {})


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


HEAD_FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "tanh": tf_keras.activations.tanh,
    "relu": tf_keras.activations.relu,
    "gelu_erf": gelu_erf,
}


def require_names(inputs: Any, owner: str) -> None:
    """Raises TypeError unless `inputs` are given by name."""
    if not isinstance(inputs, Mapping):
        raise TypeError(
            f"{owner} got its inputs as {type(inputs).__name__}; give a dict of {', '.join(INPUT_NAMES)}. A list has "
            "no safe order: one version of the reference reads (words, mask, types), the other (mask, types, words)"
        )


def check_mask(mask: tf.Tensor) -> None:
    """Raises InvalidArgumentError unless every value of `mask` is 0 or 1: a 2 would add 1e9 to an attention score."""
    values = tf.cast(mask, tf.float32)
    wrong = tf.gather_nd(values, tf.where((values != 0) & (values != 1)))
    problem = "input_mask has values other than 1 (text) and 0 (padding); give int32 with these two. The first are:"
    tf.debugging.Assert(tf.equal(tf.size(wrong), 0), [problem, wrong], summarize=3)


@tf_keras.utils.register_keras_serializable(package="bert_batch")
class BertEncoder(tf_keras.Model):
    """BERT without a head: token ids -> one vector a token and one vector a row.

    Inputs, a dict of int32 `[B, S]`: `input_word_ids`; `input_mask`, 1 for text and 0 for padding;
    `input_type_ids`, the segment. Outputs `[sequence_output [B, S, H], pooled_output [B, H]]`; the first is a
    list with one tensor a layer under `return_all_encoder_outputs`. With `dict_outputs` a dict of
    `sequence_output`, `pooled_output` and `encoder_outputs` (list).

    `inner_activation` may be a callable or a Keras name; the name 'gelu' is the exact form, while the
    default is the tanh approximation. A mask value that is not 0 or 1 raises InvalidArgumentError, and so does, on CPU,
    a token id outside the vocabulary.
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
        # The names of older versions of the reference; it takes both.
        inner_dim = kwargs.pop("intermediate_size", inner_dim)
        inner_activation = kwargs.pop("activation", inner_activation)
        output_dropout = kwargs.pop("dropout_rate", output_dropout)
        attention_dropout = kwargs.pop("attention_dropout_rate", attention_dropout)
        if max_sequence_length is None:
            raise ValueError("max_sequence_length is None; give the number of positions, usually 512")
        arguments = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        activation = tf_keras.activations.get(inner_activation)
        initializer = tf_keras.initializers.get(initializer or tf_keras.initializers.TruncatedNormal(stddev=0.02))
        width = embedding_width or hidden_size
        words, mask, types = (tf_keras.layers.Input(shape=(None,), dtype=tf.int32, name=name) for name in INPUT_NAMES)

        embed = embedding_layer or tf_keras.layers.Embedding(
            vocab_size, width, embeddings_initializer=fresh(initializer), name="word_embeddings"
        )
        positions = PositionEmbedding(max_sequence_length, fresh(initializer), name="position_embedding")
        segments = TypeEmbedding(type_vocab_size, width, fresh(initializer), name="type_embeddings")
        embedding_norm = layer_norm("embeddings/layer_norm")
        projection = None
        word_vectors = embed(words)
        data = embedding_norm(word_vectors + positions(word_vectors) + segments(types))
        data = tf_keras.layers.Dropout(output_dropout, name="embeddings/dropout")(data)
        if width != hidden_size:
            projection = tf_keras.layers.Dense(
                hidden_size, kernel_initializer=fresh(initializer), name="embedding_projection"
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
            hidden_size, activation="tanh", kernel_initializer=fresh(initializer), name="pooler_transform"
        )
        pooled = pooler(data[:, 0])

        outputs: Any = [all_outputs if return_all_encoder_outputs else data, pooled]
        if dict_outputs:
            outputs = {"sequence_output": data, "pooled_output": pooled, "encoder_outputs": all_outputs}
        # Keras allows attributes only after this call, which makes `self` a functional model.
        super().__init__(inputs=[words, mask, types], outputs=outputs, **kwargs)
        save_by_name(self, [words, mask, types])
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

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool | None = None, mask: Any = None) -> Any:
        """Runs the network on inputs given by name; raises TypeError for a list of them."""
        require_names(inputs, "BertEncoder")
        # Here and not in a layer: one layer more would shift the numbers by which TensorFlow matches checkpoints.
        check_mask(inputs["input_mask"])
        return super().call(inputs, training=training, mask=mask)

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
            **{"norm_first": config.norm_first, "embedding_width": config.embedding_width, **kwargs},
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
