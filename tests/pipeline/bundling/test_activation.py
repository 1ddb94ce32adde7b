"""A model of one output shows what its maker shows: the raw output, or a sigmoid of it."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from support.checkpoints.imports import ORACLE, hugging_face, job
from support.checkpoints.networks import case_model, random_rows
from support.commands import invoke
from support.jobs import Score, write_parquet

from model.bundle import FORMAT, Bundle
from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.cross_encoder import read_activation
from model.checkpoints.detect import load
from model.network.encoder import INPUT_NAMES
from model.serving.scoring_graph import COMPILED, ScoringGraph
from pipeline.bundling.import_job import choose_activation
from pipeline.bundling.importing import import_model
from pipeline.errors import ConfigError

SIGMOID, IDENTITY = "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"
OLD_KEY = "sbert_ce_default_activation_function"
UNSAID = "activation: none, so the value is the raw output; nothing says what the model's maker shows."


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def one_output(tmp_path: Path, **config: Any) -> Path:
    """The Hugging Face case with a head of one output, and `config` in its config.json."""
    folder = hugging_face(tmp_path)
    weights = load_file(folder / "model.safetensors")
    head = {name: weights[name][:1].copy() for name in ("classifier.weight", "classifier.bias")}
    save_file(weights | head, folder / "model.safetensors")
    content = json.loads((folder / "config.json").read_text())
    content = {key: value for key, value in content.items() if key not in ("id2label", "label2id", "problem_type")}
    (folder / "config.json").write_text(json.dumps(content | {"id2label": {"0": "LABEL_0"}} | config))
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint of one output of which nothing says what becomes of it."""
    return load(one_output(tmp_path_factory.mktemp("plain")))


# === The graph ===


def test_every_signature_gives_the_sigmoid_of_the_keras_logit(tmp_path: Path) -> None:
    classifier, config = case_model("reg1_pooler_v1")
    ScoringGraph.from_classifier(classifier, config, "sigmoid").export(tmp_path)
    loaded = tf.saved_model.load(str(tmp_path))
    flat, padded = random_rows([16, 3, 9, 1, 12], seed=3)
    expected = sigmoid(classifier({name: tf.constant(padded[name]) for name in INPUT_NAMES}).numpy()[:, 0])
    assert np.ptp(expected) > 0.05
    outputs = loaded.signatures["score"](**flat)
    np.testing.assert_allclose(outputs["value"], expected, rtol=0, atol=1e-5)
    rows = {**flat, "tokens": tf.constant(padded["input_word_ids"])}
    found = {f"compiled_{name}": loaded.signatures[f"compiled_{name}"](**rows) for name in COMPILED}
    found["score_bfloat16"] = loaded.signatures["score_bfloat16"](**flat)
    for name, half in found.items():
        assert half["value"].dtype == tf.float32, name
        np.testing.assert_allclose(half["value"], sigmoid(half["logits"].numpy()[:, 0]), rtol=0, atol=1e-6)
        np.testing.assert_allclose(half["value"], expected, rtol=0, atol=2e-2)


@pytest.mark.parametrize(("case", "activation"), [("cls3_pooler_v2", "none"), ("reg1_pooler_v1", "softmax")])
def test_an_activation_that_does_not_go_with_the_outputs_is_refused(case: str, activation: str) -> None:
    with pytest.raises(ValueError, match=f"activation is '{activation}' with [13] outputs"):
        ScoringGraph.from_classifier(*case_model(case), activation)


# === What a folder says ===


@pytest.mark.parametrize(
    ("config", "newest", "expected"),
    [
        ({}, None, None),
        ({"sentence_transformers": {"version": "5.1.0"}}, None, None),
        ({"sentence_transformers": "5.1.0", OLD_KEY: None}, {"prompts": {}}, None),
        ({OLD_KEY: IDENTITY}, None, ("config.json: " + OLD_KEY, IDENTITY)),
        (
            {OLD_KEY: IDENTITY, "sentence_transformers": {"activation_fn": SIGMOID}},
            None,
            ("config.json: sentence_transformers.activation_fn", SIGMOID),
        ),
        (
            {"sentence_transformers": {"activation_fn": IDENTITY}},
            {"model_type": "CrossEncoder", "activation_fn": SIGMOID},
            ("config_sentence_transformers.json: activation_fn", SIGMOID),
        ),
        ({OLD_KEY: 5}, None, ("config.json: " + OLD_KEY, "5")),
    ],
)
def test_the_newest_place_that_names_an_activation_counts(
    tmp_path: Path,
    config: Mapping[str, Any],
    newest: Mapping[str, Any] | None,
    expected: tuple[str, str] | None,
) -> None:
    if newest is not None:
        (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(newest))
    wanted = expected and (f"{tmp_path}/{expected[0]}", expected[1])
    assert read_activation(tmp_path, config) == wanted


# === What becomes of it ===


@pytest.mark.parametrize(
    ("named", "flag", "expected", "note"),
    [
        (SIGMOID, None, "sigmoid", "activation: sigmoid, because file: key is torch.nn.modules.activation.Sigmoid"),
        ("torch.nn.Sigmoid", None, "sigmoid", "activation: sigmoid, because"),
        (IDENTITY, None, "none", "activation: none, because file: key is torch.nn.modules.linear.Identity"),
        (None, None, "none", UNSAID),
        (None, "none", "none", ""),
        (None, "sigmoid", "sigmoid", ""),
        (SIGMOID, "sigmoid", "sigmoid", ""),
        (SIGMOID, "none", "none", f"activation: none as asked, although file: key is {SIGMOID}"),
        (IDENTITY, "sigmoid", "sigmoid", f"activation: sigmoid as asked, although file: key is {IDENTITY}"),
        ("my.Tanh", "none", "none", "activation: none as asked, although file: key is my.Tanh"),
    ],
)
def test_one_output_is_shown_as_its_maker_or_the_flag_says(
    plain: Checkpoint, tmp_path: Path, named: str | None, flag: str | None, expected: str, note: str
) -> None:
    said = dataclasses.replace(plain, activation=named and ("file: key", named), activation_assumed=named is None)
    flags = {} if flag is None else {"activation": flag}
    found, notes = choose_activation(job(tmp_path, tmp_path, **flags), said, 1)
    assert found == expected
    assert len(notes) == bool(note)
    assert "".join(notes).startswith(note)


@pytest.mark.parametrize(
    ("named", "flag", "outputs", "message"),
    [
        (
            "torch.nn.modules.activation.Tanh",
            None,
            1,
            r"^file: key is 'torch.nn.modules.activation.Tanh'; only Sigmoid",
        ),
        ("torch.nn.modules.activation.Softmax", None, 1, "Softmax'; only Sigmoid and Identity"),
        (SIGMOID, None, 3, r"Sigmoid' with 3 outputs, .*several labels \(--task multilabel\)"),
        ("my.Function", None, 3, r"^file: key is 'my.Function' with 3 outputs"),
        (None, "sigmoid", 3, r"^--activation sigmoid: .* has 3 outputs, a classification"),
        (None, "none", 2, r"^--activation none: .* has 2 outputs, a classification"),
    ],
)
def test_what_no_bundle_can_show_is_refused_by_name(
    plain: Checkpoint, tmp_path: Path, named: str | None, flag: str | None, outputs: int, message: str
) -> None:
    said = dataclasses.replace(plain, activation=named and ("file: key", named))
    flags = {} if flag is None else {"activation": flag}
    with pytest.raises(ConfigError, match=message):
        choose_activation(job(tmp_path, tmp_path, **flags), said, outputs)


@pytest.mark.parametrize("named", [None, IDENTITY, "torch.nn.modules.activation.Softmax"])
def test_a_cross_encoder_of_classes_keeps_its_softmax(plain: Checkpoint, tmp_path: Path, named: str | None) -> None:
    said = dataclasses.replace(plain, activation=named and ("file: key", named))
    assert choose_activation(job(tmp_path, tmp_path), said, 3) == ("softmax", [])


@pytest.mark.parametrize("config", [{"problem_type": "regression"}, {OLD_KEY: IDENTITY}])
def test_where_a_file_says_that_the_value_is_raw_nothing_is_assumed(tmp_path: Path, config: dict[str, Any]) -> None:
    assert load(one_output(tmp_path, **config)).activation_assumed is False


def test_other_layouts_have_a_raw_value_by_definition(tmp_path: Path) -> None:
    checkpoint = load(ORACLE / "reg1_pooler_v1" / "ckpt_model")
    assert choose_activation(job(tmp_path, tmp_path), checkpoint, 1) == ("none", [])
    assert choose_activation(job(tmp_path, tmp_path, activation="sigmoid"), checkpoint, 1) == ("sigmoid", [])


def test_an_activation_that_does_not_exist_is_refused_by_flag(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--activation 'tanh'"):
        job(tmp_path, tmp_path, activation="tanh")


@pytest.mark.slow
def test_a_cross_encoder_scores_as_its_predict_does(run_job: Score, tmp_path: Path) -> None:
    folder = one_output(tmp_path, sentence_transformers={"activation_fn": SIGMOID, "version": "5.1.0"})
    done = import_model(job(folder, tmp_path, segments=2))
    bundle = Bundle.load(done.bundle.path)
    assert (bundle.task, bundle.activation, bundle.format) == ("regression", "sigmoid", FORMAT)
    assert f"sentence_transformers.activation_fn is {SIGMOID}" in "".join(done.report)
    # One letter is one token of this vocabulary: [CLS] first [SEP] second [SEP].
    firsts, seconds = ["a", "b", "c", "z"], ["d", "e", "a", "q"]
    file = write_parquet(tmp_path / "in.parquet", {"id": [*"0123"], "text": firsts, "other": seconds})
    rows = sorted(run_job(file, bundle=str(bundle.path), text_pair_column="other").rows(), key=lambda row: row["id"])
    ids = {letter: 5 + ord(letter) - ord("a") for letter in "abcdezq"}
    words = np.array([[2, ids[a], 3, ids[b], 3] for a, b in zip(firsts, seconds, strict=True)], np.int32)
    types = np.tile(np.array([0, 0, 0, 1, 1], np.int32), (4, 1))
    inputs = dict(zip(INPUT_NAMES, map(tf.constant, (words, np.ones_like(words), types)), strict=True))
    logits = done.classifier(inputs).numpy()[:, 0]
    assert np.ptp(logits) > 0.1
    np.testing.assert_allclose([row["value"] for row in rows], sigmoid(logits), rtol=0, atol=1e-5)
    _, out, _ = invoke("inspect", bundle.path)
    shown = dict(line.split(maxsplit=1) for line in out.splitlines() if len(line.split(maxsplit=1)) == 2)
    assert (shown["activation"].strip(), shown["format"].strip()) == ("sigmoid", str(FORMAT))
