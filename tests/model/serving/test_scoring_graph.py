"""ScoringGraph computes what the Keras classifier computes, and refuses what it cannot."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st
from support.checkpoints.networks import CASES, CONFIG, ORACLE, arrays_of, case_model, ragged, random_rows, rows

from model.checkpoints.checkpoint import build_from
from model.checkpoints.hugging_face import read_hugging_face
from model.network.classifier import BertClassifier, ClassificationHead, build_classifier
from model.network.config import BertConfig
from model.network.encoder import INPUT_NAMES, BertEncoder
from model.serving.scoring_graph import ScoringGraph

# The all-zero mask and type ids out of range have no ragged form.
SETS = ["main", "short", "full", "one", "main_pad16"]


@pytest.mark.parametrize("case", CASES)
def test_the_exported_graph_equals_the_reference(case: str, exports: Callable[[str], Path]) -> None:
    score = tf.saved_model.load(str(exports(case))).signatures["score"]
    sets = arrays_of(ORACLE / "inputs.npz")
    for name in SETS:
        expected = arrays_of(ORACLE / case / f"outputs_{name}.npz")
        outputs = score(**ragged({key: sets[f"{name}/{key}"] for key in INPUT_NAMES}))
        np.testing.assert_allclose(outputs["logits"], expected["logits"], atol=1e-5)
        if CASES[case][0] > 1:
            assert set(outputs) == {"logits", "probabilities", "embedding"}
            np.testing.assert_allclose(outputs["probabilities"], expected["probs"], atol=1e-6)
        else:
            assert set(outputs) == {"logits", "value", "embedding"}
            np.testing.assert_array_equal(outputs["value"], outputs["logits"][:, 0])


def test_the_exact_gelu_of_hugging_face_is_kept() -> None:
    folder = ORACLE / "hf" / "hf_cls3_gelu"
    checkpoint = read_hugging_face(folder)
    sets = arrays_of(ORACLE / "inputs.npz")
    outputs = ScoringGraph.from_classifier(build_from(checkpoint), checkpoint.config).score(
        **ragged({key: sets[f"main/{key}"] for key in INPUT_NAMES})
    )
    expected = arrays_of(folder / "hf_outputs_main.npz")["logits"]
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5)


@functools.cache
def both(case: str) -> tuple[BertClassifier, ScoringGraph]:
    classifier, config = case_model(case)
    return classifier, ScoringGraph.from_classifier(classifier, config)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    case=st.sampled_from(sorted(CASES)),
    lengths=st.lists(st.integers(1, 16), min_size=1, max_size=9),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_rows_score_as_with_keras(case: str, lengths: list[int], seed: int) -> None:
    classifier, graph = both(case)
    flat, padded = random_rows(lengths, seed)
    np.testing.assert_allclose(graph.score(**flat)["logits"], classifier(padded), atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": 1},
        {"num_attention_heads": 1},
        {"type_vocab_size": 1},
        {"type_vocab_size": 3},
        {"activation": "relu"},
        {"norm_first": True},
        {"embedding_width": 8},
        {"norm_first": True, "embedding_width": 24, "num_layers": 1, "use_encoder_pooler": False},
    ],
)
def test_unusual_sizes_score_as_with_keras(changes: dict[str, object]) -> None:
    config = CONFIG.replace(initializer_range=0.5, **changes)
    classifier = build_classifier(config, 2)
    flat, padded = random_rows([1, 16, 7, 2], seed=1)
    outputs = ScoringGraph.from_classifier(classifier, config).score(**flat)
    np.testing.assert_allclose(outputs["logits"], classifier(padded), atol=1e-5)


@pytest.mark.parametrize("zeroed", ["input_mask", "input_type_ids"])
def test_trap_6_types_come_from_the_segments_and_the_mask_from_the_lengths(zeroed: str) -> None:
    """Serving of the Model Garden zeroes all type ids and takes the mask from ids != 0 by default."""
    classifier, graph = both("cls3_pooler_v2")
    words = np.array([[2, 7, 0, 24, 3, 9, 0, 11, 3]], np.int32)
    types = np.array([[0, 0, 0, 0, 0, 1, 1, 1, 1]], np.int32)
    inputs = dict(zip(INPUT_NAMES, (words, np.ones_like(words), types), strict=True))
    logits = graph.score(**rows(words[0], [9], [5]))["logits"]
    np.testing.assert_allclose(logits, classifier(inputs), atol=1e-5)
    served = {"input_mask": (words != 0).astype(np.int32), "input_type_ids": np.zeros_like(words)}
    assert np.abs(classifier(inputs | {zeroed: served[zeroed]}) - logits).max() > 0.05


def test_no_rows_give_no_logits() -> None:
    outputs = both("cls3_pooler_v2")[1].score(**rows([], [], []))
    assert outputs["logits"].shape == outputs["probabilities"].shape == (0, 3)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (rows([2, 64], [2], [2]), "64 is not in"),
        (rows([2, -1], [2], [2]), "-1 is not in"),
        (rows([2] * 17, [17], [17]), "more tokens than the 16 positions"),
        (rows([2, 3], [2, 0], [2, 0]), "no tokens"),
        (rows([2, 3], [1], [1]), "add up"),
    ],
)
def test_rows_that_cannot_be_scored_raise(batch: dict[str, tf.Tensor], message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        both("cls3_pooler_v2")[1].score(**batch)


def test_the_export_holds_the_weights_once_and_nothing_to_train(tmp_path: Path) -> None:
    config = BertConfig.preset("tiny")
    graph = ScoringGraph.from_classifier(build_classifier(config, 3), config)
    graph.export(tmp_path)
    size = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert size < 1.05 * 4 * sum(variable.shape.num_elements() for variable in graph.variables)
    assert sorted(tf.saved_model.load(str(tmp_path)).signatures) == [
        "compiled_bfloat16",
        "compiled_float16",
        "score",
        "score_bfloat16",
        "serving_default",
    ]


def test_a_classifier_that_is_not_what_the_config_says_is_refused() -> None:
    classifier = build_classifier(CONFIG, 3)
    for changes in ({"num_layers": 3}, {"activation": "gelu_erf"}, {"use_encoder_pooler": False}):
        with pytest.raises(ValueError, match=next(iter(changes)).replace("activation", "inner_activation")):
            ScoringGraph.from_classifier(classifier, CONFIG.replace(**changes))


def own_head(**arguments: object) -> BertClassifier:
    head = ClassificationHead(num_classes=3, **arguments)
    return BertClassifier(BertEncoder.from_bert_config(CONFIG), 3, use_encoder_pooler=False, cls_head=head)


def test_what_the_graph_does_not_compute_is_refused() -> None:
    network = BertEncoder.from_bert_config(CONFIG, norm_first=True)
    with pytest.raises(ValueError, match="norm_first=True"):
        ScoringGraph.from_classifier(BertClassifier(network, 3), CONFIG)
    network = BertEncoder.from_bert_config(CONFIG)
    dense = tf_keras.layers.Dense(3, activation="relu")
    with pytest.raises(ValueError, match="head of its own"):
        ScoringGraph.from_classifier(BertClassifier(network, 3, cls_head=dense), CONFIG)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"inner_dim": 8, "cls_token_idx": 1}, "cls_token_idx=1"),
        ({"inner_dim": 8, "activation": "relu"}, "activation 'relu'"),
        ({"inner_dim": 0}, "only one of the two may pool"),
    ],
)
def test_a_head_the_graph_does_not_compute_is_refused(head: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScoringGraph.from_classifier(own_head(**head), CONFIG.replace(use_encoder_pooler=False))


def test_a_head_with_an_inner_layer_of_its_own_width_is_computed() -> None:
    classifier = own_head(inner_dim=8)
    flat, padded = random_rows([1, 16, 7, 2], seed=1)
    outputs = ScoringGraph.from_classifier(classifier, CONFIG.replace(use_encoder_pooler=False)).score(**flat)
    np.testing.assert_allclose(outputs["logits"], classifier(padded), atol=1e-5)
