"""BertClassifier against the reference's numbers, names and checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from model.checkpoints import assign
from model.classifier import BertClassifier, ClassificationHead, build_classifier
from model.config import BertConfig
from model.encoder import INPUT_NAMES, BertEncoder

ORACLE = Path(__file__).parent / "data" / "oracle"
CONFIG = BertConfig(
    vocab_size=64,
    hidden_size=16,
    num_layers=2,
    num_attention_heads=4,
    inner_dim=32,
    max_sequence_length=16,
)
# Case -> what its classifier was built with.
CASES = {
    "cls3_pooler_v2": {"num_classes": 3},
    "reg1_pooler_v1": {"num_classes": 1},
    "cls3_nopooler_v1": {"num_classes": 3, "use_encoder_pooler": False},
    "headname_v1": {"num_classes": 2, "head_name": "mnli"},
    "head_dense_v1": {"num_classes": 3, "cls_head": 4},
}
SETS = ["main", "short", "full", "one", "main_pad16", "edge_allzero_mask", "edge_type_oob"]


def case_classifier(case: str) -> BertClassifier:
    arguments = dict(CASES[case])
    if "cls_head" in arguments:
        arguments["cls_head"] = tf_keras.layers.Dense(arguments["cls_head"], name="my_dense")
    encoder = BertEncoder.from_bert_config(CONFIG, dict_outputs=case.endswith("_v2"))
    return BertClassifier(encoder, **arguments)


def assert_equals_reference(classifier: BertClassifier, case: str) -> None:
    sets = np.load(ORACLE / "inputs.npz")
    for name in SETS:
        expected = np.load(ORACLE / case / f"outputs_{name}.npz")["logits"]
        logits = classifier({key: sets[f"{name}/{key}"] for key in INPUT_NAMES})
        assert logits.dtype == tf.float32
        np.testing.assert_allclose(logits, expected, atol=1e-5, err_msg=f"{case} {name}")


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_reference_with_weights_by_canonical_name(case: str) -> None:
    classifier = case_classifier(case)
    assign(classifier, dict(np.load(ORACLE / case / "weights.npz")), origin=case)
    assert_equals_reference(classifier, case)


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_reference_with_its_own_checkpoint(case: str) -> None:
    classifier = case_classifier(case)
    status = tf.train.Checkpoint(model=classifier).read(str(ORACLE / case / "ckpt_model" / "ckpt"))
    status.assert_existing_objects_matched()
    status.expect_partial()
    assert_equals_reference(classifier, case)


@pytest.mark.parametrize("case", ["reg1_pooler_v1", "cls3_nopooler_v1", "headname_v1", "head_dense_v1"])
def test_variables_layers_and_checkpoint_items_have_the_reference_names(case: str) -> None:
    expected = json.loads((ORACLE / "manifest.json").read_text())["cases"][case]
    classifier = case_classifier(case)
    assert [w.name for w in classifier.weights] == expected["weight_names"]
    assert set(classifier.checkpoint_items) == set(expected["checkpoint_items"])
    assert classifier.count_params() == expected["n_params"]
    assert [i.name for i in classifier.inputs] == expected["input_names"]
    assert classifier.output_names == expected["output_names"]


@pytest.mark.parametrize(("classes", "dict_outputs"), [(1, False), (3, False), (3, True)])
def test_symbolic_inputs_give_one_logit_a_class(classes: int, dict_outputs: bool) -> None:
    classifier = BertClassifier(BertEncoder.from_bert_config(CONFIG, dict_outputs=dict_outputs), classes)
    symbolic = {name: tf_keras.layers.Input(shape=(8,), dtype=tf.int32) for name in INPUT_NAMES}
    assert classifier(symbolic).shape.as_list() == [None, classes]


def test_padding_does_not_change_a_row() -> None:
    classifier = build_classifier(CONFIG, 3)
    row = {"input_word_ids": [[2, 7, 24, 3]], "input_mask": [[1] * 4], "input_type_ids": [[0] * 4]}
    padded = {key: tf.pad(value, [[0, 0], [0, 9]]) for key, value in row.items()}
    row = {key: tf.constant(value) for key, value in row.items()}
    np.testing.assert_allclose(classifier(padded), classifier(row), atol=1e-6)


def test_an_empty_batch_gives_no_logits() -> None:
    empty = dict.fromkeys(INPUT_NAMES, np.zeros((0, 5), np.int32))
    assert build_classifier(CONFIG, 3)(empty).shape == (0, 3)


def test_config_round_trip_keeps_dropout_and_name() -> None:
    classifier = BertClassifier(
        BertEncoder.from_bert_config(CONFIG), 4, initializer="zeros", dropout_rate=0.3, name="mine"
    )
    again = BertClassifier.from_config(classifier.get_config())
    assert again.get_config() == classifier.get_config()
    assert (again.dropout_rate, again.name, again.network) == (0.3, "mine", classifier.network)
    assert json.loads(classifier.to_json())["config"]["num_classes"] == 4


def test_training_drops_units_and_scoring_does_not() -> None:
    classifier = build_classifier(CONFIG, 3, dropout_rate=0.5)
    batch = {key: np.ones((2, 6), np.int32) for key in INPUT_NAMES}
    assert np.array_equal(classifier(batch), classifier(batch))
    assert not np.array_equal(classifier(batch, training=True), classifier(batch, training=True))


# === ClassificationHead ===


def test_a_head_with_inner_dim_pools_the_token_asked_for() -> None:
    head = ClassificationHead(inner_dim=5, num_classes=2, cls_token_idx=1)
    features = tf.random.stateless_uniform([3, 4, 6], seed=(1, 2))
    logits = head(features)
    assert logits.shape == (3, 2)
    assert len(head.weights) == 4
    assert set(head.checkpoint_items) == {"pooler_dense"}
    inner = tf.tanh(features[:, 1] @ head.dense.kernel)
    np.testing.assert_allclose(head(features, only_project=True), inner, atol=1e-6)
    np.testing.assert_allclose(logits, inner @ head.out_proj.kernel, atol=1e-6)


def test_a_head_without_inner_dim_takes_pooled_features() -> None:
    head = ClassificationHead(inner_dim=0, num_classes=2, initializer="zeros")
    assert np.array_equal(head(tf.ones([3, 6])), np.zeros((3, 2)))
    assert len(head.weights) == 2
    assert head.checkpoint_items == {}


def test_a_head_survives_its_config() -> None:
    head = ClassificationHead(inner_dim=5, num_classes=2, cls_token_idx=1, dropout_rate=0.2, name="h")
    assert ClassificationHead.from_config(head.get_config()).get_config() == head.get_config()
