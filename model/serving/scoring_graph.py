"""ScoringGraph: the function of a BertClassifier, rewritten for speed, as it is exported and served.

What differs from the Keras model, all of it exact up to rounding: one product makes queries, keys and values (three for
OpenVINO, which is faster so); the 1/sqrt(d) of attention is inside the query weights; products run on flat `[B*T, H]`
rows, where TensorFlow fuses bias, activation and residual into them; segment 0 is inside the position table; and the
last layer computes only the [CLS] row.
"""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from model.bundle import OPENVINO, TENSORFLOW
from model.network.classifier import BertClassifier
from model.network.config import BertConfig
from model.network.encoder import HEAD_FUNCTIONS
from model.network.weights import read_weights
from model.serving.exportable import check_activation, check_exportable, check_finite
from model.serving.fused_layers import XLA, Dense, Form, LastLayer, Layer, LayerNorm, Weights, constant

SIGNATURE = "score"
PRECISIONS = ("float32", "bfloat16", "float16")
COMPILED = ("bfloat16", "float16")
"""Precisions in which there is a signature compiled by XLA, for static shapes on a GPU."""
PADDED = "serving_default"
"""The signature that other runtimes read. OpenVINO takes the one with this name, and none where it is missing: it would
try to convert them all, and knows no bfloat16."""
ENGINES = (TENSORFLOW, OPENVINO)
"""What can compute an export."""

# Added to the attention score of padding, as in the reference.
_MASKED = -1e9

Outputs = dict[str, tf.Tensor]


class ScoringGraph(tf.Module):
    """The exported classifier: rows of tokens -> logits, probabilities or a value, and the embedding.

    Inputs of `score`: `tokens` int32 `[N]`, the rows' tokens one after the other, special tokens included, no
    padding; `lengths` int32 `[B]`, tokens of each row, at least 1; `first_segment` int32 `[B]`, how many of them
    have type id 0 (the rest has 1). Outputs: `logits` float32 `[B, C]`, and `probabilities` float32 `[B, C]` for
    C > 1 or `value` float32 `[B]` for C = 1, which is the logit or, with the activation sigmoid, its sigmoid in
    float32; and `embedding` float32 `[B, H]`, the vector of which the last product of the head makes the logits. B may
    be 0. InvalidArgumentError is raised for a row longer than the
    model's positions, lengths that do not add up to N and, on CPU, a token outside the vocabulary.

    The export has more signatures on the same float32 weights: `score_bfloat16` with the layers in bfloat16, and
    `compiled_<precision>` of padded rows, int32 `[B, T]`, which XLA compiles once for each B and T it meets; and
    `serving_default`, of padded rows too, in float32 and plain operations, for runtimes other than TensorFlow. None of
    those for padded rows checks anything.
    """

    def __init__(self, config: BertConfig, weights: Weights, activation: str | None = None) -> None:
        """`weights` are a BertClassifier's, by canonical name; `from_classifier` checks that they fit.

        `activation` None: softmax of several outputs, none of one. Raises ValueError for another that does not go with
        the number of outputs, and for weights that are not finite.
        """
        super().__init__(name="scoring_graph")
        check_finite(weights)
        self._config = config
        network = "_network/"
        types = weights[f"{network}_type_embedding_layer/embeddings"]
        positions = weights[f"{network}_position_embedding_layer/embeddings"]
        # A model with one segment type has no vector for a second: the reference adds zeros there.
        second = types[1] if len(types) > 1 else np.zeros_like(types[0])
        self._words = constant(weights[f"{network}_embedding_layer/embeddings"], "words")
        self._positions = constant(positions + types[0], "positions")
        self._second_segment = constant(second - types[0], "second_segment")
        self._embedding_norm = LayerNorm(weights, f"{network}_embedding_norm_layer")
        prefixes = [f"{network}_transformer_layers/{i}" for i in range(config.num_layers)]
        self._layers = [Layer(config, weights, prefix) for prefix in prefixes[:-1]]
        self._last_layer = LastLayer(config, weights, prefixes[-1])
        self._projection = None
        if config.width != config.hidden_size:
            self._projection = Dense.read(weights, f"{network}_embedding_projection")
        self._pooler = Dense.read(
            weights, f"{network}_pooler_layer" if config.use_encoder_pooler else "classifier/dense"
        )
        self._pooled = HEAD_FUNCTIONS[config.head_activation]
        # A plain Dense in place of the default head stands there itself.
        own_head = "classifier/kernel" in weights
        head = "classifier" if own_head else "classifier/out_proj"
        self._out = Dense.read(weights, head)
        self._activation = check_activation(activation, len(weights[f"{head}/bias"]))
        # Made here and not by a decorator: a decorated method holds its object only weakly.
        self.score = self._ragged(tf.float32)

    @property
    def embedding_width(self) -> int:
        """H of the output `embedding`."""
        return self._pooler.width

    @classmethod
    def from_classifier(
        cls, classifier: BertClassifier, config: BertConfig, activation: str | None = None
    ) -> "ScoringGraph":
        """Copies the weights of `classifier`; raises ValueError if it is not the model `config` describes.

        The head must be a ClassificationHead on the first token, or a linear Dense on the pooled output.
        """
        check_exportable(classifier, config)
        return cls(config, read_weights(classifier), activation)

    def _ragged(self, dtype: tf.DType) -> Any:
        def score(tokens: tf.Tensor, lengths: tf.Tensor, first_segment: tf.Tensor) -> Outputs:
            with tf.control_dependencies(self._check_lengths(tokens, lengths)):
                longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
            places = (tf.cumsum(lengths) - lengths)[:, tf.newaxis] + tf.range(longest)
            # Padding reads whatever token comes next: one that exists, and attention never sees it.
            padded = tf.gather(tokens, tf.minimum(places, tf.size(tokens) - 1))
            return self._outputs(self.embedding(padded, lengths, first_segment, Form(dtype)))

        return tf.function(score, input_signature=_signature([None]), autograph=False)

    def compiled(self, dtype: tf.DType) -> Any:
        """The function of the signature `compiled_<dtype>`. Nothing is checked: XLA drops all assertions."""
        return self._padded(Form(dtype, XLA), jit_compile=True)

    def padded(self) -> Any:
        """The function of the signature PADDED; nothing is checked."""
        return self._padded(Form(tf.float32, OPENVINO), jit_compile=None)

    def _padded(self, form: Form, jit_compile: bool | None) -> Any:
        def score(tokens: tf.Tensor, lengths: tf.Tensor, first_segment: tf.Tensor) -> Outputs:
            return self._outputs(self.embedding(tokens, lengths, first_segment, form))

        return tf.function(score, input_signature=_signature([None, None]), autograph=False, jit_compile=jit_compile)

    def logits(
        self, tokens: tf.Tensor, lengths: tf.Tensor, first_segment: tf.Tensor, dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        """The whole network on padded rows: int32 `[B, T]`, `[B]`, `[B]` -> float32 `[B, C]`; see `embedding`."""
        return self._out(self.embedding(tokens, lengths, first_segment, Form(dtype)))

    def embedding(
        self,
        tokens: tf.Tensor,
        lengths: tf.Tensor,
        first_segment: tf.Tensor,
        form: Form,
    ) -> tf.Tensor:
        """The network up to the last product of its head, on padded rows: int32 `[B, T]`, `[B]`, `[B]` -> `[B, H]`.

        The products of the layers are computed in the type of `form`, all else in float32. What stands in the
        padding does not matter as long as the vocabulary has it. Nothing in here depends on values, so that XLA can
        compile it for fixed B and T. In the form of another runtime than TensorFlow, T may be more than there are
        positions.
        """
        batch, time = tf.unstack(tf.shape(tokens))
        place = tf.range(time)
        is_second = tf.cast(place >= first_segment[:, tf.newaxis], tf.float32)[:, :, tf.newaxis]
        # Static widths are rounded up, so padding can stand behind the last position.
        last = self._positions.shape[0] - 1
        exact = form.runtime == TENSORFLOW
        positions = self._positions[:time] if exact else tf.gather(self._positions, tf.minimum(place, last))
        rows = tf.gather(self._words, tokens) + positions + is_second * self._second_segment
        rows = self._embedding_norm(tf.reshape(rows, [batch * time, self._config.width]), form)
        if self._projection is not None:
            rows = self._projection(rows)
        adder = tf.where(place < lengths[:, tf.newaxis], 0.0, _MASKED)[:, tf.newaxis, tf.newaxis, :]
        for layer in self._layers:
            rows = layer(rows, adder, form)
        return self._pooled(self._pooler(self._last_layer(rows, adder, form)))

    def _outputs(self, embedding: tf.Tensor) -> Outputs:
        logits = self._out(embedding)
        outputs = {"logits": logits, "embedding": embedding}
        if logits.shape[1] > 1:
            probabilities = tf.nn.softmax(logits) if self._activation == "softmax" else tf.sigmoid(logits)
            return {**outputs, "probabilities": probabilities}
        value = logits[:, 0]
        return {**outputs, "value": tf.sigmoid(value) if self._activation == "sigmoid" else value}

    def export(self, path: str | Path) -> None:
        """Writes a SavedModel whose signature "score" is `score`; it needs no code of ours to be loaded."""
        signatures = {SIGNATURE: self.score, f"{SIGNATURE}_bfloat16": self._ragged(tf.bfloat16)}
        signatures |= {f"compiled_{precision}": self.compiled(tf.as_dtype(precision)) for precision in COMPILED}
        signatures[PADDED] = self.padded()
        tf.saved_model.save(self, str(path), signatures=signatures)

    def _check_lengths(self, tokens: tf.Tensor, lengths: tf.Tensor) -> list[tf.Operation]:
        longest = self._config.max_sequence_length
        too_long = f"a row has more tokens than the {longest} positions of the model; truncate it before scoring"
        return [
            tf.debugging.assert_less_equal(lengths, longest, too_long, summarize=3),
            tf.debugging.assert_positive(lengths, "a row has no tokens; every row needs at least [CLS]"),
            tf.debugging.assert_equal(tf.reduce_sum(lengths), tf.size(tokens), "lengths must add up to tokens"),
        ]


def _signature(tokens: list[None]) -> list[tf.TensorSpec]:
    shapes = {"tokens": tokens, "lengths": [None], "first_segment": [None]}
    return [tf.TensorSpec(shape, tf.int32, name) for name, shape in shapes.items()]
