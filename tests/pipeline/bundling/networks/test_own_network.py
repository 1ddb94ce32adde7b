"""A Keras classifier around any network becomes a bundle from a script: fused where that computes it, else as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from support.checkpoints.exports import VOCABULARY, write_words
from support.checkpoints.imports import probabilities
from support.jobs import Score, write_parquet

from model.bundle import AS_EXPORTED, FUSED, Bundle
from model.errors import CheckpointError
from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.network.encoder import BertEncoder
from pipeline.bundling.networks.own_network import bundle_network
from pipeline.errors import ConfigError

NAMES = ("input_word_ids", "input_mask", "input_type_ids")
WIDTH = 8
LABELS = ("a", "b", "c")
SIZES = {"hidden_size": 16, "num_layers": 2, "num_attention_heads": 2, "inner_dim": 32, "max_sequence_length": 24}


class Gated(tf_keras.Model):
    """A network that is no BERT: word and type vectors behind a gate, and their masked mean."""

    def __init__(self, form: str, names: tuple[str, ...] = NAMES, vocabulary: int = VOCABULARY) -> None:
        ids, mask, types = (tf_keras.Input((None,), dtype=tf.int32, name=name) for name in names)
        words = tf_keras.layers.Embedding(vocabulary, WIDTH, embeddings_initializer="random_normal", name="words")
        rows = words(ids) * 20 + tf_keras.layers.Embedding(2, WIDTH, name="kinds")(types)
        rows = rows * tf_keras.layers.Dense(WIDTH, activation="sigmoid")(rows)
        weights = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
        pooled = tf.reduce_sum(rows * weights, 1) / tf.reduce_sum(weights, 1)
        rows = tf_keras.layers.Dropout(0.5)(rows)
        outputs: Any = {
            "dict": {"sequence_output": rows, "pooled_output": pooled},
            "list": [rows, pooled],
            "tuple": (rows, pooled),
        }[form]
        super().__init__(inputs=[ids, mask, types], outputs=outputs)
        self._words = words

    def get_embedding_table(self) -> tf.Variable:
        return self._words.embeddings


def classifier(form: str = "dict", outputs: int = 3, **settings: Any) -> BertClassifier:
    tf_keras.utils.set_random_seed(11)
    names = settings.pop("names", NAMES)
    network = Gated(form, names, settings.pop("vocabulary", VOCABULARY))
    return BertClassifier(network, outputs, initializer="random_normal", **settings)


def bert(**settings: Any) -> BertClassifier:
    tf_keras.utils.set_random_seed(12)
    return build_classifier(BertConfig(vocab_size=VOCABULARY, initializer_range=0.3, **SIZES), 3, **settings)


@pytest.fixture
def bundled(tmp_path: Path) -> Callable[..., Bundle]:
    def make(model: BertClassifier, **settings: Any) -> Bundle:
        given = {"labels": LABELS, "vocabulary": str(write_words(tmp_path)), "name": "own", **settings}
        return bundle_network(model, output=str(tmp_path / "bundle"), **given).bundle

    return make


ROWS = [[2, 7, 9, 3], [2, 59, 3], [2, *range(5, 25), 3]]


def plain(model: BertClassifier, names: tuple[str, ...] = NAMES, name: str | None = None) -> np.ndarray:
    """Each row alone, by Keras."""
    found = []
    for row in ROWS:
        ids = tf.constant([row], tf.int32)
        given = dict(zip(names, (ids, tf.ones_like(ids), tf.zeros_like(ids)), strict=True))
        outputs = model(given, training=False)
        found.append(np.asarray(outputs if name is None else outputs[name])[0])
    return np.array(found)


def scored(bundle: Bundle, name: str = "logits") -> np.ndarray:
    lengths = tf.constant([len(row) for row in ROWS], tf.int32)
    score = tf.saved_model.load(bundle.scoring).signatures["score"]
    flat = tf.constant(np.concatenate(ROWS), tf.int32)
    return np.asarray(score(tokens=flat, lengths=lengths, first_segment=lengths)[name])


SLOW = pytest.mark.slow


@pytest.mark.parametrize("form", ["dict", "tuple", pytest.param("list", marks=SLOW)])
def test_a_network_of_ones_own_scores_as_keras_does(form: str, bundled: Callable[..., Bundle]) -> None:
    model = classifier(form)
    bundle = bundled(model, max_tokens=24)
    assert (bundle.graph, bundle.labels, bundle.max_tokens) == (AS_EXPORTED, LABELS, 24)
    np.testing.assert_allclose(scored(bundle), plain(model), rtol=0, atol=1e-5)
    assert np.ptp(scored(bundle), axis=0).min() > 0.01
    assert bundle.origin["weights"] == model.name


class ByKeys(tf_keras.Model):
    """As Model Garden's BertEncoderV2: its inputs are a dict, and the layers behind them have no names of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.words = tf_keras.layers.Embedding(VOCABULARY, WIDTH, embeddings_initializer="random_normal")
        self.inputs = {name: tf_keras.Input((None,), dtype=tf.int32) for name in sorted(NAMES)}

    def call(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        weights = tf.cast(inputs["input_mask"], tf.float32)[:, :, tf.newaxis]
        rows = (
            30 * self.words(inputs["input_word_ids"]) + tf.cast(inputs["input_type_ids"], tf.float32)[:, :, tf.newaxis]
        )
        return {"sequence_output": rows, "pooled_output": tf.reduce_sum(rows * weights, 1) / tf.reduce_sum(weights, 1)}

    def get_embedding_table(self) -> tf.Variable:
        return self.words.embeddings


def test_inputs_that_are_a_dict_are_known_by_its_keys(bundled: Callable[..., Bundle]) -> None:
    tf_keras.utils.set_random_seed(13)
    model = BertClassifier(ByKeys(), 3, initializer="random_normal")
    bundle = bundled(model, max_tokens=24)
    np.testing.assert_allclose(scored(bundle), plain(model), rtol=0, atol=1e-5)
    assert np.ptp(scored(bundle), axis=0).min() > 0.01


HEADS: dict[str, Callable[[], tf_keras.layers.Layer]] = {
    "two layers": lambda: tf_keras.Sequential(
        [tf_keras.layers.Dense(5, activation="tanh"), tf_keras.layers.Dropout(0.5), tf_keras.layers.Dense(3)]
    ),
    "one layer": lambda: tf_keras.layers.Dense(3),
}


@pytest.mark.parametrize("head", HEADS)
def test_a_head_of_ones_own_is_scored_as_it_is(head: str, bundled: Callable[..., Bundle]) -> None:
    model = classifier("list", cls_head=HEADS[head]())
    bundle = bundled(model, max_tokens=24)
    assert bundle.graph == AS_EXPORTED
    np.testing.assert_allclose(scored(bundle), plain(model), rtol=0, atol=1e-5)


def test_of_a_head_with_several_outputs_one_is_named(bundled: Callable[..., Bundle]) -> None:
    class Both(tf_keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.topic, self.tone = tf_keras.layers.Dense(3), tf_keras.layers.Dense(2)

        def call(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"topic": self.topic(features), "tone": self.tone(features)}

    model = classifier("dict", cls_head=Both())
    with pytest.raises(CheckpointError, match="say which one has the scores, and what they are"):
        bundled(model, max_tokens=24)
    bundle = bundled(model, max_tokens=24, outputs_are="tone=logits", labels=("x", "y"))
    np.testing.assert_allclose(scored(bundle), plain(model, name="tone"), rtol=0, atol=1e-5)


def test_inputs_with_names_of_their_own_are_told(bundled: Callable[..., Bundle]) -> None:
    names = ("tokens", "there", "part")
    model = classifier("dict", names=names)
    with pytest.raises(CheckpointError, match="these names do not say which has the token ids"):
        bundled(model, max_tokens=24)
    bundle = bundled(model, max_tokens=24, inputs=dict(zip(("ids", "mask", "types"), names, strict=True)))
    np.testing.assert_allclose(scored(bundle), plain(model, names), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bert(),
        pytest.param(
            lambda: BertClassifier(BertEncoder(VOCABULARY, type_vocab_size=2, **SIZES), 3, use_encoder_pooler=False),
            marks=SLOW,
        ),
        pytest.param(
            lambda: BertClassifier(
                BertEncoder(VOCABULARY, inner_activation="relu", **SIZES), 3, cls_head=HEADS["one layer"]()
            ),
            marks=SLOW,
        ),
    ],
    ids=["as build_classifier makes it", "a head that pools", "relu and one layer"],
)
def test_what_the_fused_graph_computes_is_computed_by_it(
    make: Callable[[], BertClassifier], bundled: Callable[..., Bundle]
) -> None:
    model = make()
    bundle = bundled(model)
    assert (bundle.graph, "bfloat16" in bundle.precisions, bundle.max_tokens) == (FUSED, True, 24)
    np.testing.assert_allclose(scored(bundle), plain(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bert(cls_head=HEADS["two layers"]()),
        pytest.param(lambda: BertClassifier(BertEncoder(VOCABULARY, inner_activation="elu", **SIZES), 3), marks=SLOW),
    ],
    ids=["another head", "another function"],
)
def test_a_bert_with_what_the_fused_graph_lacks_is_scored_as_it_is(
    make: Callable[[], BertClassifier], bundled: Callable[..., Bundle]
) -> None:
    model = make()
    bundle = bundled(model)
    # Its positions are found by trying.
    assert (bundle.graph, bundle.max_tokens) == (AS_EXPORTED, 24)
    np.testing.assert_allclose(scored(bundle), plain(model), rtol=0, atol=1e-5)


def test_a_whole_job_scores_a_value_of_pairs(bundled: Callable[..., Bundle], run_job: Score, tmp_path: Path) -> None:
    model = classifier("dict", 1)
    bundle = bundled(model, labels=(), segments=2, max_tokens=16, activation="sigmoid")
    assert (bundle.task, bundle.activation) == ("regression", "sigmoid")
    left, right = ["waa wab", "wac"], ["wad", "waa wae waf"]
    file = write_parquet(tmp_path / "in.parquet", {"id": ["0", "1"], "text": left, "other": right})
    found = run_job(file, bundle=str(bundle.path), text_pair_column="other", max_dead_fraction=0.0)
    for row in found.rows():
        first, second = (side[int(row["id"])].split() for side in (left, right))
        ids = [2, *(5 + ord(word[2]) - 97 for word in first), 3, *(5 + ord(word[2]) - 97 for word in second), 3]
        types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
        given = dict(zip(NAMES, ([ids], [[1] * len(ids)], [types]), strict=True))
        logit = model({name: tf.constant(value, tf.int32) for name, value in given.items()})
        assert row["value"] == pytest.approx(float(tf.sigmoid(logit)[0, 0]), abs=1e-6)


def test_a_whole_job_scores_texts(bundled: Callable[..., Bundle], run_job: Score, tmp_path: Path) -> None:
    model = classifier("tuple")
    bundle = bundled(model, max_tokens=24)
    rows = [[2, 5, 6, 3], [2, 30, 3], [2, 7, 8, 9, 10, 3]]
    texts = [" ".join(f"w{chr(97 + (i - 5) // 26)}{chr(97 + (i - 5) % 26)}" for i in row[1:-1]) for row in rows]
    file = write_parquet(tmp_path / "in.parquet", {"id": ["0", "1", "2"], "text": texts})
    outcome = run_job(file, bundle=str(bundle.path), max_dead_fraction=0.0)
    wanted = []
    for row in rows:
        ids = tf.constant([row], tf.int32)
        given = dict(zip(NAMES, (ids, tf.ones_like(ids), tf.zeros_like(ids)), strict=True))
        wanted.append(tf.nn.softmax(model(given))[0].numpy())
    np.testing.assert_allclose(probabilities(outcome.rows(), LABELS), wanted, rtol=0, atol=1e-6)


def test_what_is_unsound_is_refused_and_leaves_nothing(bundled: Callable[..., Bundle], tmp_path: Path) -> None:
    class Centred(tf_keras.layers.Layer):
        def call(self, features: tf.Tensor) -> tf.Tensor:
            return (features - tf.reduce_mean(features, 0))[:, :3]

    with pytest.raises(CheckpointError, match="the rows of a batch change each other's scores"):
        bundled(classifier("dict", cls_head=Centred()), max_tokens=24)
    with pytest.raises(ConfigError, match=r"vocabulary: 60 tokens, but the embedding table of .* has 40 rows"):
        bundled(classifier("dict", vocabulary=40), max_tokens=24)
    with pytest.raises(ConfigError, match="colour"):
        bundled(classifier("dict"), colour="red")
    assert not (tmp_path / "bundle").exists()
