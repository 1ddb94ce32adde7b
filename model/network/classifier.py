"""BertClassifier: an encoder with a classification or regression head, as a Keras model.

Arguments, defaults and attribute names follow `tfm.nlp.models.BertClassifier` (tf-models-official 2.20).
"""

from typing import Any

import tensorflow as tf
import tf_keras

from model.network.config import BertConfig
from model.network.encoder import HEAD_FUNCTIONS, BertEncoder, require_names, save_by_name


@tf_keras.utils.register_keras_serializable(package="bert_batch")
class ClassificationHead(tf_keras.layers.Layer):
    """Logits of a row: `[B, S, H]` with `inner_dim` above 0, else `[B, H]` -> `[B, num_classes]`.

    With `inner_dim` the head pools for itself: a dense layer on the token at `cls_token_idx`. `only_project`
    returns that layer's output `[B, inner_dim]`.
    """

    def __init__(
        self,
        inner_dim: int,
        num_classes: int,
        cls_token_idx: int = 0,
        activation: Any = "tanh",
        dropout_rate: float = 0.0,
        initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.inner_dim = inner_dim
        self.num_classes = num_classes
        self.cls_token_idx = cls_token_idx
        self.activation = tf_keras.activations.get(activation)
        self.dropout_rate = dropout_rate
        self.initializer = tf_keras.initializers.get(initializer)
        if inner_dim:
            self.dense = tf_keras.layers.Dense(
                inner_dim, activation=self.activation, kernel_initializer=self._draw(), name="pooler_dense"
            )
        self.dropout = tf_keras.layers.Dropout(dropout_rate)
        self.out_proj = tf_keras.layers.Dense(num_classes, kernel_initializer=self._draw(), name="logits")

    def _draw(self) -> Any:
        return type(self.initializer).from_config(self.initializer.get_config())

    def call(self, features: tf.Tensor, only_project: bool = False) -> tf.Tensor:
        if self.inner_dim:
            features = self.dense(features[:, self.cls_token_idx])
        if only_project:
            return features
        return self.out_proj(self.dropout(features))

    @property
    def checkpoint_items(self) -> dict[str, tf_keras.layers.Layer]:
        """The parts that Model Garden's trainer stores under names of their own."""
        return {self.dense.name: self.dense} if self.inner_dim else {}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, serialised as Keras does it."""
        return {
            **super().get_config(),
            "inner_dim": self.inner_dim,
            "num_classes": self.num_classes,
            "cls_token_idx": self.cls_token_idx,
            "activation": tf_keras.activations.serialize(self.activation),
            "dropout_rate": self.dropout_rate,
            "initializer": tf_keras.initializers.serialize(self.initializer),
        }


@tf_keras.utils.register_keras_serializable(package="bert_batch")
class BertClassifier(tf_keras.Model):
    """Logits of a row of tokens: the network's inputs -> float32 `[B, num_classes]`.

    Never probabilities: softmax is the caller's; `num_classes=1` is regression and its one logit is the value.
    `network` is a BertEncoder or any network with `.inputs` (a list or dict of Keras tensors; Model Garden's are), and
    as output a list or tuple (sequence, pooled) or a dict with `sequence_output` and `pooled_output`.
    `use_encoder_pooler` selects the pooled output; otherwise the head pools the sequence output itself. `cls_head`
    takes the place of the default head and reads the same output; if it gives a dict, so does the classifier, and
    `num_classes`, `initializer` and `head_name` are only remembered. The initializer is for the head alone.
    """

    def __init__(
        self,
        network: tf_keras.Model,
        num_classes: int,
        initializer: Any = "glorot_uniform",
        dropout_rate: float = 0.1,
        use_encoder_pooler: bool = True,
        head_name: str = "sentence_prediction",
        cls_head: tf_keras.layers.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        inputs = network.inputs
        outputs = network({i.name: i for i in inputs} if isinstance(network, BertEncoder) else inputs)
        position, key = (1, "pooled_output") if use_encoder_pooler else (0, "sequence_output")
        features = outputs[position] if isinstance(outputs, list | tuple) else outputs[key]
        if isinstance(features, list | tuple):
            raise ValueError(
                "the network gives the outputs of all layers as its sequence output (return_all_encoder_outputs=True); "
                "a head without the encoder's pooler needs the last layer alone: leave that argument out"
            )
        head = (
            cls_head
            if cls_head is not None
            else ClassificationHead(
                inner_dim=0 if use_encoder_pooler else features.shape[-1],
                num_classes=num_classes,
                initializer=initializer,
                dropout_rate=dropout_rate,
                name=head_name,
            )
        )
        if use_encoder_pooler:
            # A second dropout beside the head's own; the reference trains with both.
            features = tf_keras.layers.Dropout(dropout_rate)(features)
        # Keras allows attributes only after this call, which makes `self` a functional model.
        super().__init__(inputs=inputs, outputs=head(features), **kwargs)
        if isinstance(network, BertEncoder):
            save_by_name(self, inputs)
        self._network = network
        self._cls_head = cls_head
        self.classifier = head
        self.num_classes = num_classes
        self.head_name = head_name
        self.initializer = initializer
        self.dropout_rate = dropout_rate
        self.use_encoder_pooler = use_encoder_pooler

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Logits for inputs given by name; raises TypeError for a list of them."""
        require_names(inputs, "BertClassifier")
        return super().call(inputs, training=training, mask=mask)

    @property
    def network(self) -> tf_keras.Model:
        """The encoder."""
        return self._network

    @property
    def checkpoint_items(self) -> dict[str, tf_keras.layers.Layer]:
        """What Model Garden's trainer stores beside `model`: the encoder and the head's named parts."""
        parts = getattr(self.classifier, "checkpoint_items", {})
        return {
            "encoder": self._network,
            **{f"{self.classifier.name}.{name}": part for name, part in parts.items()},
        }

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; network and head are the live objects."""
        return {
            "network": self._network,
            "num_classes": self.num_classes,
            "initializer": self.initializer,
            "dropout_rate": self.dropout_rate,
            "use_encoder_pooler": self.use_encoder_pooler,
            "head_name": self.head_name,
            "cls_head": self._cls_head,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "BertClassifier":
        """Builds a classifier around the network in `config`, which both then share."""
        with tf_keras.utils.custom_object_scope(custom_objects or {}):
            return cls(**config)


def build_classifier(
    config: BertConfig,
    num_classes: int,
    *,
    encoder: BertEncoder | None = None,
    dropout_rate: float = 0.1,
    cls_head: tf_keras.layers.Layer | None = None,
) -> BertClassifier:
    """Builds the classifier that `config` describes; weights are fresh, the given `encoder`'s apart."""
    if cls_head is None and config.head_activation != "tanh":
        cls_head = ClassificationHead(
            config.hidden_size,
            num_classes,
            activation=HEAD_FUNCTIONS[config.head_activation],
            dropout_rate=dropout_rate,
            name="sentence_prediction",
        )
    return BertClassifier(
        encoder or BertEncoder.from_bert_config(config),
        num_classes,
        dropout_rate=dropout_rate,
        use_encoder_pooler=config.use_encoder_pooler,
        cls_head=cls_head,
    )
