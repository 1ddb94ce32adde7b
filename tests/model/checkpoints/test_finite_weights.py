"""Weights that are NaN or infinite are refused by the name of the tensor, before anything is sealed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from support.checkpoints.imports import hugging_face, job
from support.checkpoints.layouts import ORACLE, oracle_classifier, write_tf1
from support.checkpoints.networks import arrays_of, case_model

from model.checkpoints.checkpoint import as_weights
from model.checkpoints.detect import load, load_encoder
from model.errors import CheckpointError
from model.serving.scoring_graph import ScoringGraph
from pipeline.bundling.importing import import_model
from pipeline.bundling.training import train
from pipeline.bundling.training_job import training_job

KEY = "bert.encoder.layer.1.output.dense.bias"


def spoiled(tmp_path: Path, value: float, kind: type = np.float32, key: str = KEY) -> Path:
    """The Hugging Face case with one weight changed."""
    folder = hugging_face(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    array = tensors[key].astype(kind)
    array.reshape(-1)[3] = value
    save_file(tensors | {key: array}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.nan, np.float32),
        (np.inf, np.float32),
        (-np.inf, np.float64),
        (np.inf, np.float16),
        # Finite as it is stored, and infinite in float32.
        (1e300, np.float64),
    ],
)
def test_a_hugging_face_folder_is_refused_and_nothing_sealed(tmp_path: Path, value: float, kind: type) -> None:
    folder = spoiled(tmp_path, value, kind)
    with pytest.raises(
        CheckpointError, match=rf"model\.safetensors: {KEY} has 1 of 16 weights that are NaN or infinite"
    ):
        import_model(job(folder, tmp_path))
    assert not (tmp_path / "bundle").exists()


def test_a_head_is_looked_at_too_unless_it_is_trained_anew(tmp_path: Path) -> None:
    folder = spoiled(tmp_path, np.nan, key="classifier.weight")
    with pytest.raises(CheckpointError, match=r"classifier\.weight has 1 of 48 weights"):
        load(folder)
    load_encoder(folder)


def test_no_encoder_is_trained_from_them(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\na,x\nb,y\n")
    given = {"input": [str(rows)], "output": str(tmp_path / "b"), "name": "n", "max_tokens": 16}
    with pytest.raises(CheckpointError, match=rf"{KEY} has 1 of 16 weights"):
        train(training_job({**given, "encoder": str(spoiled(tmp_path, np.nan))}))


def model_garden(tmp_path: Path) -> Path:
    classifier = oracle_classifier()
    words = classifier.network.trainable_variables[0]
    words.assign(tf.fill(words.shape, np.nan))
    tf.train.Checkpoint(model=classifier).write(str(tmp_path / "ckpt"))
    return tmp_path / "ckpt"


def google(tmp_path: Path) -> Path:
    bias = np.full(16, np.inf, np.float32)
    return write_tf1(tmp_path, add={"bert/pooler/dense/bias": bias})


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            model_garden,
            r"ckpt: model/.*/\.ATTRIBUTES/VARIABLE_VALUE has 1,024 of 1,024 weights that are NaN",
        ),
        (google, r"bert_model\.ckpt: bert/pooler/dense/bias has 16 of 16 weights that are NaN or infinite"),
    ],
)
def test_tensorflow_checkpoints_are_refused(tmp_path: Path, write: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(write(tmp_path))


def test_what_is_not_used_may_hold_anything(tmp_path: Path) -> None:
    moment = {"bert/pooler/dense/bias/adam_m": np.full(16, np.nan, np.float32)}
    assert load(write_tf1(tmp_path, add=moment)).outputs == 3


def test_no_graph_is_made_of_them_wherever_they_come_from(request: pytest.FixtureRequest) -> None:
    classifier, config = case_model("reg1_pooler_v1")
    bias = classifier.classifier.out_proj.bias
    before = bias.numpy()
    bias.assign([np.inf])
    request.addfinalizer(lambda: bias.assign(before))
    with pytest.raises(ValueError, match=r"weights classifier/out_proj/bias are not finite"):
        ScoringGraph.from_classifier(classifier, config)


def test_finite_weights_are_what_they_were() -> None:
    stored = arrays_of(ORACLE / "cls3_pooler_v2" / "weights.npz")
    for name in stored:
        np.testing.assert_array_equal(as_weights("file", name, stored[name]), stored[name])
