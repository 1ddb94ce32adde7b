"""BertClassifier against the reference's numbers, names and checkpoints."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from support.checkpoints.networks import CONFIG, ORACLE, arrays_of

from model.checkpoints.checkpoint import assign
from model.network.classifier import BertClassifier, ClassificationHead, build_classifier
from model.network.encoder import INPUT_NAMES, BertEncoder

# Case -> what its classifier was built with.
CASES = {
    "cls3_pooler_v2": {"num_classes": 3},
    "reg1_pooler_v1": {"num_classes": 1},
    "cls3_nopooler_v1": {"num_classes": 3, "use_encoder_pooler": False},
    "headname_v1": {"num_classes": 2, "head_name": "mnli"},
    "head_dense_v1": {"num_classes": 3, "cls_head": 4},
    "output_range1_v1": {"num_classes": 3},
}
# BertEncoderV2 has other names of inputs and variables.
VERSION_1 = [case for case in CASES if case.endswith("_v1")]
SETS = ["main", "short", "full", "one", "main_pad16", "edge_allzero_mask", "edge_type_oob"]


def case_classifier(case: str) -> BertClassifier:
    """The network of a case, made once; no weight of it is that of an earlier test."""
    classifier = network_of(case)
    generator = np.random.default_rng()
    classifier.set_weights([generator.normal(size=array.shape) for array in classifier.get_weights()])
    return classifier


@functools.cache
def network_of(case: str) -> BertClassifier:
    arguments = dict(CASES[case])
    if "cls_head" in arguments:
        arguments["cls_head"] = tf_keras.layers.Dense(arguments["cls_head"], name="my_dense")
    output_range = 1 if case == "output_range1_v1" else None
    encoder = BertEncoder.from_bert_config(CONFIG, dict_outputs=case.endswith("_v2"), output_range=output_range)
    return BertClassifier(encoder, **arguments)


@functools.cache
def encoder_of(*, dict_outputs: bool) -> BertEncoder:
    """For tests that change no weight of it."""
    return BertEncoder.from_bert_config(CONFIG, dict_outputs=dict_outputs)


@functools.cache
def three_labels() -> BertClassifier:
    """The same with a head."""
    return build_classifier(CONFIG, 3)


def assert_equals_reference(classifier: BertClassifier, case: str) -> None:
    sets = arrays_of(ORACLE / "inputs.npz")
    for name in SETS:
        expected = arrays_of(ORACLE / case / f"outputs_{name}.npz")["logits"]
        logits = classifier({key: sets[f"{name}/{key}"] for key in INPUT_NAMES})
        assert logits.dtype == tf.float32
        np.testing.assert_allclose(logits, expected, atol=1e-5, err_msg=f"{case} {name}")


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_reference_with_weights_by_canonical_name(case: str) -> None:
    classifier = case_classifier(case)
    assign(classifier, arrays_of(ORACLE / case / "weights.npz"), origin=case)
    assert_equals_reference(classifier, case)


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_reference_with_its_own_checkpoint(case: str) -> None:
    classifier = case_classifier(case)
    status = tf.train.Checkpoint(model=classifier).read(str(ORACLE / case / "ckpt_model" / "ckpt"))
    status.assert_existing_objects_matched()
    status.expect_partial()
    assert_equals_reference(classifier, case)


@pytest.mark.parametrize("case", VERSION_1)
def test_a_checkpoint_has_the_keys_of_the_reference(case: str, tmp_path: Path) -> None:
    """Keys have the numbers that Keras gave the layers: one layer more, and they would not be the reference's."""
    tf.train.Checkpoint(model=case_classifier(case)).write(str(tmp_path / "ckpt"))
    ours, theirs = (
        tf.train.load_checkpoint(str(path)).get_variable_to_shape_map()
        for path in (tmp_path / "ckpt", ORACLE / case / "ckpt_model" / "ckpt")
    )
    assert ours == theirs


@pytest.mark.parametrize("case", ["reg1_pooler_v1", "cls3_pooler_v2"])
@pytest.mark.parametrize("dict_outputs", [False, True])
def test_checkpoints_of_both_encoders_of_the_reference_are_read_whatever_the_outputs(
    case: str, dict_outputs: bool
) -> None:
    encoder = BertEncoder.from_bert_config(CONFIG, dict_outputs=dict_outputs)
    classifier = BertClassifier(encoder, **CASES[case])
    status = tf.train.Checkpoint(model=classifier).read(str(ORACLE / case / "ckpt_model" / "ckpt"))
    status.assert_existing_objects_matched()
    status.expect_partial()
    assert_equals_reference(classifier, case)


@pytest.mark.parametrize("case", VERSION_1)
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
    classifier = BertClassifier(encoder_of(dict_outputs=dict_outputs), classes)
    symbolic = {name: tf_keras.layers.Input(shape=(8,), dtype=tf.int32) for name in INPUT_NAMES}
    assert classifier(symbolic).shape.as_list() == [None, classes]


def test_padding_does_not_change_a_row() -> None:
    classifier = three_labels()
    row = {"input_word_ids": [[2, 7, 24, 3]], "input_mask": [[1] * 4], "input_type_ids": [[0] * 4]}
    padded = {key: tf.pad(value, [[0, 0], [0, 9]]) for key, value in row.items()}
    row = {key: tf.constant(value) for key, value in row.items()}
    np.testing.assert_allclose(classifier(padded), classifier(row), atol=1e-6)


def test_an_empty_batch_gives_no_logits() -> None:
    empty = dict.fromkeys(INPUT_NAMES, np.zeros((0, 5), np.int32))
    assert three_labels()(empty).shape == (0, 3)


def test_config_round_trip_keeps_dropout_and_name() -> None:
    classifier = BertClassifier(encoder_of(dict_outputs=False), 4, initializer="zeros", dropout_rate=0.3, name="mine")
    again = BertClassifier.from_config(classifier.get_config())
    assert again.get_config() == classifier.get_config()
    assert (again.dropout_rate, again.name, again.network) == (0.3, "mine", classifier.network)
    assert json.loads(classifier.to_json())["config"]["num_classes"] == 4


def test_training_drops_units_and_scoring_does_not() -> None:
    classifier = build_classifier(CONFIG, 3, dropout_rate=0.5)
    batch = {key: np.ones((2, 6), np.int32) for key in INPUT_NAMES}
    assert np.array_equal(classifier(batch), classifier(batch))
    assert not np.array_equal(classifier(batch, training=True), classifier(batch, training=True))


# === Networks, heads and inputs of other shapes ===


class Network(tf_keras.layers.Layer):
    """What Model Garden's BertEncoderV2 looks like from outside: a layer with a dict of inputs."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self._inside = encoder_of(dict_outputs=False)
        self._kind = kind
        self.inputs = {name: tf_keras.layers.Input((None,), dtype=tf.int32) for name in INPUT_NAMES}

    def call(self, inputs: dict[str, tf.Tensor]) -> object:
        sequence, pooled = self._inside(inputs)
        if self._kind is dict:
            return {"pooled_output": pooled, "sequence_output": sequence}
        return self._kind([sequence, pooled])


class TwoHeads(tf_keras.layers.Layer):
    """A head that gives a dict."""

    def __init__(self) -> None:
        super().__init__(name="mc")
        self.one, self.other = tf_keras.layers.Dense(2), tf_keras.layers.Dense(3)

    @property
    def checkpoint_items(self) -> dict[str, tf_keras.layers.Layer]:
        return {"one": self.one, "other": self.other}

    def call(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"one": self.one(features), "other": self.other(features)}


def batch() -> dict[str, np.ndarray]:
    sets = arrays_of(ORACLE / "inputs.npz")
    return {key: sets[f"main/{key}"] for key in INPUT_NAMES}


@pytest.mark.parametrize("kind", [list, tuple, dict])
@pytest.mark.parametrize("pooler", [True, False])
def test_a_network_of_somebody_else_may_give_a_list_a_tuple_or_a_dict(kind: type, pooler: bool) -> None:
    network = Network(kind)
    classifier = BertClassifier(network, 3, use_encoder_pooler=pooler)
    sequence, pooled = network._inside(batch())
    expected = classifier.classifier(pooled if pooler else sequence)
    np.testing.assert_allclose(classifier(batch()), expected, atol=1e-6)
    assert classifier.checkpoint_items["encoder"] is network


def test_a_head_that_gives_a_dict_makes_a_classifier_that_does() -> None:
    classifier = BertClassifier(encoder_of(dict_outputs=False), 2, cls_head=TwoHeads())
    assert {name: logits.shape[-1] for name, logits in classifier(batch()).items()} == {"one": 2, "other": 3}
    assert classifier.output_names == ["mc", "mc_1"]
    assert set(classifier.checkpoint_items) == {"encoder", "mc.one", "mc.other"}


def test_a_head_of_ones_own_reads_its_own_token_with_its_own_activation() -> None:
    head = ClassificationHead(inner_dim=5, num_classes=2, cls_token_idx=1, activation="relu", name="mine")
    encoder = encoder_of(dict_outputs=False)
    classifier = BertClassifier(encoder, 9, use_encoder_pooler=False, cls_head=head)
    inner = tf.nn.relu(head.dense.kernel.numpy().T @ encoder(batch())[0][:, 1, :, tf.newaxis])[:, :, 0]
    np.testing.assert_allclose(classifier(batch()), inner @ head.out_proj.kernel, atol=1e-5)
    assert set(classifier.checkpoint_items) == {"encoder", "mine.pooler_dense"}
    again = BertClassifier.from_config(classifier.get_config())
    assert again.classifier is head


def test_all_layers_as_sequence_output_are_refused_without_pooler() -> None:
    encoder = BertEncoder.from_bert_config(CONFIG, return_all_encoder_outputs=True)
    with pytest.raises(ValueError, match="return_all_encoder_outputs"):
        BertClassifier(encoder, 2, use_encoder_pooler=False)


def test_call_takes_training_and_mask_and_predict_works() -> None:
    classifier = three_labels()
    tensors = {key: tf.constant(value) for key, value in batch().items()}
    np.testing.assert_array_equal(classifier.call(tensors, training=False, mask=None), classifier(batch()))
    np.testing.assert_allclose(classifier.predict(batch(), verbose=0), classifier(batch()), atol=1e-6)


def test_trap_5_a_positional_list_of_inputs_is_refused() -> None:
    classifier = three_labels()
    for kind in (list, tuple):
        with pytest.raises(TypeError, match="give a dict of input_word_ids"):
            classifier(kind(batch().values()))


def test_a_plain_saved_model_keeps_the_names_of_the_inputs(tmp_path: Path) -> None:
    classifier = three_labels()
    tf.saved_model.save(classifier, str(tmp_path))
    signature = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    (logits,) = signature(**{key: tf.constant(value) for key, value in batch().items()}).values()
    np.testing.assert_allclose(logits, classifier(batch()), atol=1e-6)


def test_trap_10_a_mask_value_other_than_0_and_1_is_refused() -> None:
    classifier = three_labels()
    wrong = batch() | {"input_mask": 2 * batch()["input_mask"]}
    for call in (classifier, lambda inputs: classifier.predict(inputs, verbose=0)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="input_mask has values other than 1"):
            call(wrong)


def test_trap_1_the_classifier_gives_logits_and_not_probabilities() -> None:
    for case, classes in (("cls3_pooler_v2", 3), ("reg1_pooler_v1", 1)):
        classifier = case_classifier(case)
        assign(classifier, arrays_of(ORACLE / case / "weights.npz"), origin=case)
        outputs = classifier(batch()).numpy()
        assert outputs.shape == (6, classes)
        assert (np.abs(outputs.sum(axis=1) - 1) > 1e-3).any()
        assert (outputs > 1).any()


def test_trap_7_the_config_keeps_the_dropout_rate() -> None:
    classifier = build_classifier(CONFIG, 3, dropout_rate=0.3)
    again = BertClassifier.from_config(classifier.get_config())
    assert {layer.rate for layer in again.layers if isinstance(layer, tf_keras.layers.Dropout)} == {0.3}
    assert again.classifier.dropout_rate == 0.3


# === The reference's own test cases (semantics document, section 4) ===


@functools.cache
def wide_encoder(*, dict_outputs: bool) -> BertEncoder:
    return BertEncoder(100, num_layers=2, dict_outputs=dict_outputs)


@pytest.mark.parametrize("classes", [1, 2])
def test_the_eager_call_of_the_reference_test(classes: int) -> None:
    inputs = ([[1, 1], [2, 2]], [[1, 1], [1, 0]], [[1, 1], [2, 2]])
    logits = BertClassifier(wide_encoder(dict_outputs=False), classes)(
        dict(zip(INPUT_NAMES, map(tf.constant, inputs), strict=True))
    )
    assert logits.shape == (2, classes)


@pytest.mark.parametrize(("classes", "dict_outputs"), [(1, False), (3, False), (3, True)])
def test_the_build_of_the_reference_test(classes: int, dict_outputs: bool) -> None:
    classifier = BertClassifier(wide_encoder(dict_outputs=dict_outputs), classes)
    symbolic = {name: tf_keras.layers.Input((512,), dtype=tf.int32) for name in INPUT_NAMES}
    assert classifier(symbolic).shape.as_list() == [None, classes]


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


@pytest.mark.parametrize(("inner_dim", "shape"), [(0, (4, 6)), (5, (4, 3, 6))])
def test_zeros_in_give_zeros_out(inner_dim: int, shape: tuple[int, ...]) -> None:
    head, features = ClassificationHead(inner_dim=inner_dim, num_classes=2), tf.zeros(shape)
    assert np.array_equal(head(features), np.zeros((4, 2)))
    assert head(features, only_project=True).shape == (4, inner_dim or 6)


def test_a_head_without_inner_dim_takes_pooled_features() -> None:
    head = ClassificationHead(inner_dim=0, num_classes=2, initializer="zeros")
    assert np.array_equal(head(tf.ones([3, 6])), np.zeros((3, 2)))
    assert len(head.weights) == 2
    assert head.checkpoint_items == {}


def test_a_head_survives_its_config() -> None:
    head = ClassificationHead(inner_dim=5, num_classes=2, cls_token_idx=1, dropout_rate=0.2, name="h")
    assert ClassificationHead.from_config(head.get_config()).get_config() == head.get_config()
