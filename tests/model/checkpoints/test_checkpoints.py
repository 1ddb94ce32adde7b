"""Loading weights: every tensor finds its place, and nothing is lost in silence."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.checkpoints.networks import arrays_of
from support.commands import DATA

from model.checkpoints.checkpoint import assign, build_from
from model.checkpoints.detect import load_encoder
from model.checkpoints.hugging_face import read_hugging_face
from model.errors import CheckpointError
from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.network.encoder import INPUT_NAMES, BertEncoder
from model.network.weights import canonical_variables, encoder_shapes, read_weights

ORACLE = DATA / "oracle"
HUGGING_FACE = ORACLE / "hf" / "hf_cls3_gelu"
CONFIG = BertConfig(
    vocab_size=64,
    hidden_size=16,
    num_layers=2,
    num_attention_heads=4,
    inner_dim=32,
    max_sequence_length=16,
)


@functools.cache
def three_labels() -> BertClassifier:
    """For tests that need no weights of their own."""
    return build_classifier(CONFIG, 3)


def main_inputs() -> dict[str, np.ndarray]:
    sets = arrays_of(ORACLE / "inputs.npz")
    return {key: sets[f"main/{key}"] for key in INPUT_NAMES}


def changed_folder(
    tmp_path: Path,
    *,
    config: dict[str, object] | None = None,
    rename: dict[str, str] | None = None,
    drop: tuple[str, ...] = (),
    add: dict[str, np.ndarray] | None = None,
    only: str = "",
) -> Path:
    """Copies the Hugging Face case with changes to its config and its tensors."""
    shutil.copytree(HUGGING_FACE, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | (config or {})))
    tensors = load_file(HUGGING_FACE / "model.safetensors")
    for old, new in (rename or {}).items():
        tensors = {key.replace(old, new): value for key, value in tensors.items()}
    tensors = {k: v for k, v in tensors.items() if k not in drop and k.startswith(only)}
    save_file(tensors | (add or {}), tmp_path / "model.safetensors")
    return tmp_path


def assert_scores_as_hugging_face(folder: Path) -> None:
    classifier = build_from(read_hugging_face(folder))
    expected = arrays_of(HUGGING_FACE / "hf_outputs_main.npz")["logits"]
    np.testing.assert_allclose(classifier(main_inputs()), expected, atol=1e-5)


# === The canonical tree ===


@pytest.mark.parametrize(("case", "pooler"), [("cls3_pooler_v2", True), ("cls3_nopooler_v1", False)])
def test_canonical_names_are_those_of_the_reference(case: str, pooler: bool) -> None:
    expected = arrays_of(ORACLE / case / "weights.npz")
    classifier = build_classifier(CONFIG.replace(use_encoder_pooler=pooler), 3)
    found = canonical_variables(classifier)
    assert {name: tuple(v.shape) for name, v in found.items()} == {k: expected[k].shape for k in expected}


@pytest.mark.parametrize("changes", [{}, {"embedding_width": 8, "num_layers": 1}, {"norm_first": True}])
def test_the_shapes_that_readers_expect_are_those_of_the_encoder(changes: dict[str, object]) -> None:
    config = CONFIG.replace(**changes)
    found = canonical_variables(BertEncoder.from_bert_config(config))
    assert {name: tuple(v.shape) for name, v in found.items()} == encoder_shapes(config)


def test_an_encoder_has_the_names_it_has_inside_a_classifier() -> None:
    encoder = BertEncoder.from_bert_config(CONFIG)
    classifier = build_classifier(CONFIG, 3, encoder=encoder)
    inside = {k: v for k, v in canonical_variables(classifier).items() if k.startswith("_network/")}
    assert inside.keys() == canonical_variables(encoder).keys()
    assert all(canonical_variables(encoder)[name] is variable for name, variable in inside.items())


def test_what_is_read_can_be_assigned() -> None:
    one, other = three_labels(), build_classifier(CONFIG, 3)
    assign(other, read_weights(one), origin="one")
    np.testing.assert_array_equal(one(main_inputs()), other(main_inputs()))


@pytest.mark.parametrize("fault", ["missing", "left over", "shape"])
def test_assign_refuses_weights_that_do_not_fit_and_changes_nothing(fault: str) -> None:
    classifier = three_labels()
    before = read_weights(classifier)
    weights = {name: array + 1 for name, array in before.items()}
    name = "classifier/out_proj/bias"
    if fault == "missing":
        del weights[name]
    elif fault == "left over":
        name = "classifier/dense/bias"
        weights[name] = np.zeros(16, np.float32)
    else:
        weights[name] = np.zeros(4, np.float32)
    with pytest.raises(CheckpointError, match=f"somewhere.*{name}"):
        assign(classifier, weights, origin="somewhere")
    for key, array in read_weights(classifier).items():
        np.testing.assert_array_equal(array, before[key])


def test_a_checkpoint_without_pooler_is_refused_by_a_model_with_one() -> None:
    weights = arrays_of(ORACLE / "cls3_nopooler_v1" / "weights.npz")
    with pytest.raises(CheckpointError, match=r"classifier/dense/.*use_encoder_pooler"):
        assign(three_labels(), weights, origin="x")


def test_a_checkpoint_with_more_layers_is_refused() -> None:
    weights = arrays_of(ORACLE / "cls3_pooler_v2" / "weights.npz")
    with pytest.raises(CheckpointError, match="_transformer_layers/1/"):
        assign(build_classifier(CONFIG.replace(num_layers=1), 3), weights, origin="x")


# === Hugging Face folders ===


def test_a_hugging_face_classifier_scores_the_same_here() -> None:
    checkpoint = read_hugging_face(HUGGING_FACE)
    assert checkpoint.config == CONFIG.replace(activation="gelu_erf")
    assert checkpoint.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert_scores_as_hugging_face(HUGGING_FACE)


def test_old_names_of_layer_norm_are_understood(tmp_path: Path) -> None:
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    assert_scores_as_hugging_face(changed_folder(tmp_path, rename=old))


def test_position_ids_and_pretraining_heads_are_ignored(tmp_path: Path) -> None:
    add = {
        "bert.embeddings.position_ids": np.arange(16)[np.newaxis],
        "cls.seq_relationship.bias": np.zeros(2, np.float32),
    }
    assert_scores_as_hugging_face(changed_folder(tmp_path, add=add))


def test_half_precision_is_widened(tmp_path: Path) -> None:
    halves = {k: v.astype(np.float16) for k, v in load_file(HUGGING_FACE / "model.safetensors").items()}
    weights = read_hugging_face(changed_folder(tmp_path, add=halves)).weights
    assert {w.dtype.name for w in weights.values()} == {"float32"}


@pytest.mark.parametrize("prefix", ["bert.", ""])
def test_an_encoder_loads_with_and_without_a_head_beside_it(tmp_path: Path, prefix: str) -> None:
    bare = {} if prefix else {"rename": {"bert.": ""}, "drop": ("classifier.weight", "classifier.bias")}
    _, encoder = load_encoder(changed_folder(tmp_path, **bare))
    expected = arrays_of(HUGGING_FACE / "hf_outputs_main.npz")["sequence_output"]
    mask = main_inputs()["input_mask"][:, :, np.newaxis]
    np.testing.assert_allclose(encoder(main_inputs())[0] * mask, expected * mask, atol=1e-5)


def test_labels_come_in_the_order_of_the_logits(tmp_path: Path) -> None:
    folder = changed_folder(tmp_path, config={"id2label": {"2": "c", "0": "a", "1": "b"}})
    assert read_hugging_face(folder).labels == ("a", "b", "c")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": ("classifier.weight", "classifier.bias")}, "without a trained head"),
        ({"drop": ("bert.pooler.dense.weight",)}, "has no bert.pooler.dense.weight"),
        (
            {"add": {"bert.encoder.layer.2.output.dense.bias": np.zeros(16, np.float32)}},
            "layer.2.*not be used",
        ),
        ({"add": {"classifier.bias": np.zeros(4, np.float32)}}, r"classifier.bias has shape \[4\]"),
        ({"config": {"num_hidden_layers": 3}}, "has no bert.encoder.layer.2"),
        ({"config": {"hidden_size": 32}}, r"\[64, 16\].*asks for \[64, 32\]"),
        ({"config": {"id2label": {"0": "a", "1": "b"}}}, "3 rows.*id2label"),
        ({"config": {"id2label": {"a": "0", "b": "1"}}}, "id2label is no mapping of numbers to labels"),
        ({"config": {"id2label": ["a", "b", "c"]}}, "id2label is no mapping of numbers to labels"),
        (
            {"config": {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 2, "b": 1, "c": 0}}},
            "id2label gives output 0 the label 'a', to which label2id gives 2",
        ),
        ({"config": {"architectures": ["BertForTokenClassification"]}}, "architectures is .'BertForTokenClassif"),
        ({"config": {"hidden_act": ["gelu"]}}, "hidden_act is .'gelu'.; supported are"),
        (
            {"add": {"embeddings.word_embeddings.weight": np.zeros((64, 16), np.float32)}},
            "has bert.embeddings.word_embeddings.weight twice",
        ),
        ({"add": {"bert.embeddings.LayerNorm.gamma": np.zeros(16, np.float32)}}, "LayerNorm.weight twice"),
        ({"config": {"problem_type": "token_classification"}}, "token_classification"),
        ({"config": {"model_type": "roberta"}}, "config.json: model_type is 'roberta'"),
        ({"add": {"classifier.bias": np.zeros(3, np.int32)}}, "classifier.bias has type I32"),
    ],
)
def test_a_folder_that_would_score_wrongly_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        build_from(read_hugging_face(changed_folder(tmp_path, **changes)))


def test_a_folder_without_safetensors_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not there.*save_pretrained"):
        read_hugging_face(tmp_path)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", None])
def test_safetensors_that_are_not_whole_are_refused(tmp_path: Path, content: bytes | None) -> None:
    file = changed_folder(tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is damaged, or no safetensors file"):
        read_hugging_face(tmp_path)


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff{}"])
def test_a_config_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (changed_folder(tmp_path) / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json: is not (JSON|a JSON object); restore it"):
        read_hugging_face(tmp_path)


def test_an_encoder_may_be_trained_whatever_its_architecture_is(tmp_path: Path) -> None:
    folder = changed_folder(tmp_path, config={"architectures": ["BertForTokenClassification"]})
    assert load_encoder(folder)[0].hidden_size == 16
