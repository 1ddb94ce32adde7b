"""What no checkpoint shows of its network is said by a flag, or by a file, but never by both otherwise."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml
from support.checkpoints.imports import ORACLE, hugging_face, job
from support.checkpoints.layouts import write_tf1
from support.checkpoints.networks import arrays_of
from support.commands import DATA

from model.checkpoints.checkpoint import build_from
from model.checkpoints.detect import load
from model.network.encoder import INPUT_NAMES
from pipeline.bundling.importing import import_model
from pipeline.bundling.networks.formula import with_formula
from pipeline.bundling.training import _classifier
from pipeline.bundling.training_job import training_job
from pipeline.errors import ConfigError

NORM_FIRST = DATA / "norm_first"
HUGGING_FACE = ORACLE / "hf" / "hf_cls3_gelu"


def logits(path: Path, tmp_path: Path, inputs: dict[str, np.ndarray], **flags: object) -> np.ndarray:
    return build_from(with_formula(job(path, tmp_path, **flags), load(path)))(inputs).numpy()


def off_by(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max())


def test_a_bare_checkpoint_with_norm_first_scores_as_model_garden_once_the_flag_says_it(tmp_path: Path) -> None:
    stored = arrays_of(NORM_FIRST / "inputs.npz")
    inputs, expected = {name: stored[name] for name in INPUT_NAMES}, arrays_of(NORM_FIRST / "outputs.npz")
    prefix = NORM_FIRST / "variables"
    assert off_by(logits(prefix, tmp_path, inputs, norm_first=True), expected["batch/outputs"]) < 1e-5
    assert off_by(logits(prefix, tmp_path, inputs), expected["batch/outputs"]) > 0.5


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Hugging Face case, whose GELU is the exact one, as a Model Garden checkpoint with nothing beside it."""
    folder = tmp_path_factory.mktemp("bare")
    tf.train.Checkpoint(model=build_from(load(HUGGING_FACE))).write(str(folder / "ckpt"))
    return folder


def test_a_bare_checkpoint_of_the_exact_gelu_scores_as_its_maker_once_the_flag_says_it(
    bare: Path, tmp_path: Path
) -> None:
    sets = arrays_of(ORACLE / "inputs.npz")
    inputs = {name: sets[f"main/{name}"] for name in INPUT_NAMES}
    expected = arrays_of(HUGGING_FACE / "hf_outputs_main.npz")["logits"]
    assert off_by(logits(bare, tmp_path, inputs, hidden_activation="gelu_erf"), expected) < 1e-5
    assert off_by(logits(bare, tmp_path, inputs), expected) > 1e-4
    assert off_by(logits(bare, tmp_path, inputs, hidden_activation="relu"), expected) > 1e-2


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        ({}, ["activation", "norm_first", "head"]),
        ({"hidden_activation": "gelu_tanh"}, ["norm_first", "head"]),
        ({"norm_first": False}, ["activation", "head"]),
        ({"hidden_activation": "relu", "norm_first": True}, ["head"]),
    ],
)
def test_what_a_flag_says_is_not_noted_as_assumed(
    bare: Path, tmp_path: Path, flags: dict[str, Any], left: list[str]
) -> None:
    found = with_formula(job(bare, tmp_path, **flags), load(bare))
    assert [note.split(":")[0] for note in found.notes] == left
    assert found.config.activation == flags.get("hidden_activation", "gelu_tanh")
    assert found.config.norm_first == flags.get("norm_first", False)


def with_params(bare: Path, tmp_path: Path, sizes: dict[str, Any]) -> Path:
    folder = Path(shutil.copytree(bare, tmp_path / "run"))
    content = {"task": {"model": {"encoder": {"type": "bert", "bert": sizes}}}}
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_a_flag_that_says_as_the_file_does_changes_nothing(bare: Path, tmp_path: Path) -> None:
    folder = with_params(bare, tmp_path, {"hidden_activation": "relu", "norm_first": True})
    flags = {"hidden_activation": "relu", "norm_first": True}
    assert with_formula(job(folder, tmp_path, **flags), load(folder)).config == load(folder).config


def test_a_file_that_says_one_of_the_two_leaves_the_other_to_the_flag(bare: Path, tmp_path: Path) -> None:
    folder = with_params(bare, tmp_path, {"hidden_activation": "relu"})
    found = with_formula(job(folder, tmp_path, norm_first=True), load(folder))
    assert (found.config.activation, found.config.norm_first) == ("relu", True)


@pytest.mark.parametrize(
    ("layout", "flags", "message"),
    [
        (
            "params",
            {"hidden_activation": "gelu_erf"},
            r"^--hidden-activation gelu_erf: activation of .*ckpt is gelu_tanh",
        ),
        ("params", {"norm_first": True}, r"^--norm-first: norm_first of .*ckpt is False by .*params\.yaml; leave"),
        ("pre-norm", {"norm_first": False}, r"^--no-norm-first: norm_first of .*ckpt is True by .*params\.yaml"),
        ("hf", {"hidden_activation": "gelu_tanh"}, r"activation of .* is gelu_erf by .*config\.json"),
        ("hf", {"norm_first": True}, r"norm_first of .* is False by Hugging Face's BERT"),
        ("tf1", {"hidden_activation": "relu"}, r"activation of .* is gelu_tanh by .*bert_config\.json"),
        ("tf1", {"norm_first": True}, r"norm_first of .* is False by google-research/bert"),
    ],
)
def test_a_flag_that_says_otherwise_than_the_files_or_the_makers_is_refused(
    bare: Path, tmp_path: Path, layout: str, flags: dict[str, Any], message: str
) -> None:
    if layout == "hf":
        folder = hugging_face(tmp_path)
    elif layout == "tf1":
        folder = write_tf1(tmp_path)
    else:
        folder = with_params(bare, tmp_path, {"hidden_activation": "gelu", "norm_first": layout == "pre-norm"})
    with pytest.raises(ConfigError, match=message):
        import_model(job(folder, tmp_path, **flags))
    assert not (tmp_path / "bundle").exists()


def test_a_google_checkpoint_whose_file_is_silent_takes_the_flag(tmp_path: Path) -> None:
    folder = write_tf1(tmp_path)
    file = folder / "bert_config.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "hidden_act"}))
    found = with_formula(job(folder, tmp_path, hidden_activation="relu"), load(folder))
    assert found.config.activation == "relu"
    assert [note.split(":")[0] for note in found.notes] == ["tokenizer", "head"]
    assert [note.split(":")[0] for note in load(folder).notes] == ["activation", "tokenizer", "head"]


def test_a_bundle_has_the_network_that_the_flags_say(bare: Path, tmp_path: Path) -> None:
    vocabulary = hugging_face(tmp_path) / "vocab.txt"
    flags = {"vocabulary": str(vocabulary), "labels": "a,b,c", "hidden_activation": "gelu_erf", "norm_first": True}
    bundle = import_model(job(bare, tmp_path, **flags)).bundle
    assert (bundle.model["activation"], bundle.model["norm_first"]) == ("gelu_erf", True)
    assert not [note for note in bundle.origin["notes"] if note.startswith(("activation", "norm_first"))]


def test_the_encoder_of_a_training_may_be_told_too_and_what_is_assumed_is_noted(bare: Path, tmp_path: Path) -> None:
    def built(**flags: Any) -> tuple[Any, Any, tuple[str, ...]]:
        given = {"input": ["x.csv"], "output": str(tmp_path / "b"), "name": "n", "max_tokens": 16, "encoder": str(bare)}
        return _classifier(training_job({**given, **flags}), 64, 3)

    config, _, notes = built()
    assert config.activation == "gelu_tanh"
    assert [note.split(":")[0] for note in notes] == ["activation", "norm_first"]
    config, classifier, notes = built(hidden_activation="gelu_erf", norm_first=False)
    assert (config.activation, notes) == ("gelu_erf", ())
    assert "gelu_erf" in classifier.network.get_config()["inner_activation"]
    with pytest.raises(ConfigError, match="--hidden-activation and --norm-first say what an --encoder is"):
        training_job({"input": ["x.csv"], "output": str(tmp_path / "b"), "name": "n", "norm_first": True})


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("activation", "gelu", "gelu is a function inside the encoder: --hidden-activation says it"),
        (
            "hidden_activation",
            "gelu",
            "gelu is gelu_tanh as Model Garden and google-research compute it",
        ),
    ],
)
def test_a_function_without_its_maker_is_asked_for(flag: str, value: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        job(tmp_path, tmp_path, **{flag: value})
