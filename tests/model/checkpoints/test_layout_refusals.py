"""Checkpoints that would mislead, or are not whole: refused with file, key, value and way out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text as tf_text
import tf_keras
import yaml
from support.checkpoints.layouts import (
    CONFIG,
    GOOGLE,
    ORACLE,
    assert_scores_as_reference,
    copied,
    oracle_classifier,
    write_params,
    write_tf1,
)

from model.checkpoints.checkpoint import assign, build_from
from model.checkpoints.detect import _export, detect, exported_case, load
from model.errors import CheckpointError
from model.network.classifier import build_classifier
from model.tokenizer.tokenization import SPECIAL_TOKENS

# === Silent traps and other refusals ===


def test_trap_4_a_variable_of_the_model_that_would_be_left_over_is_refused(tmp_path: Path) -> None:
    classifier = oracle_classifier()
    extra = tf.train.Checkpoint(kernel=tf.Variable([1.0]))
    tf.train.Checkpoint(model=classifier, adapter=extra).write(str(tmp_path / "ckpt"))
    with pytest.raises(CheckpointError, match=r"adapter/kernel/.*would not be used"):
        load(tmp_path)


def test_trap_4_a_model_without_pooler_never_gets_one(tmp_path: Path) -> None:
    checkpoint = load(ORACLE / "cls3_nopooler_v1" / "ckpt_model")
    with pytest.raises(CheckpointError, match="no place for classifier/dense/"):
        assign(build_classifier(CONFIG, 3), checkpoint.weights, origin=checkpoint.origin)


def test_trap_4_more_layers_than_the_config_says_are_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    write_params(folder, {"num_layers": 1})
    with pytest.raises(CheckpointError, match=r"num_layers is 1, but the checkpoint .* has 2"):
        load(folder)


def test_an_encoder_without_head_makes_no_classifier() -> None:
    with pytest.raises(CheckpointError, match=r"without a trained head.*train --encoder"):
        build_from(load(ORACLE / "cls3_nopooler_v1" / "ckpt_encoder_only"))


def test_trap_8_whole_model_files_are_refused_with_the_way_out(tmp_path: Path) -> None:
    for name in ("model.h5", "model.keras", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(CheckpointError, match=r"are not read; save the model with tf\.train\.Checkpoint"):
            detect(tmp_path / name)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: .*save_pretrained"):
        detect(tmp_path)


def test_what_is_no_model_is_refused_with_what_could_be_given(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Give a Hugging Face folder"):
        detect(tmp_path)
    tf.raw_ops.SaveV2(prefix=str(tmp_path / "x"), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)])
    with pytest.raises(CheckpointError, match="neither an object graph"):
        detect(tmp_path)
    other = tmp_path / "other"
    tf.train.Checkpoint(net=tf_keras.layers.Dense(2)).write(str(other / "x"))
    with pytest.raises(CheckpointError, match="no BERT encoder below model"):
        load(other)


# === Checkpoints that are not whole, and paths ===


def damage(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[2_000] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "ckpt.data-00000-of-00001").unlink(),
        lambda folder: damage(folder / "ckpt.data-00000-of-00001", 500),
        lambda folder: flip(folder / "ckpt.data-00000-of-00001"),
        lambda folder: damage(folder / "ckpt.index", 300),
        lambda folder: damage(folder / "ckpt.index", 0),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    folder = copied(tmp_path)
    spoil(folder)
    with pytest.raises(CheckpointError, match=r"ckpt: is damaged, or its \.index and \.data files are not all there"):
        load(folder)


def test_an_export_without_its_variables_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ORACLE / "text" / "saved_model_text", tmp_path / "export"))
    shutil.rmtree(folder / "variables")
    with pytest.raises(CheckpointError, match="variables: is damaged, or its"):
        load(folder)


@pytest.mark.parametrize("content", [b"garbage ]]", b"\xff\xfe"])
@pytest.mark.filterwarnings("ignore")
def test_a_state_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = copied(tmp_path)
    (folder / "checkpoint").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint: cannot be read; give the checkpoint's own path"):
        detect(folder)


def test_a_path_that_tensorflow_takes_for_a_pattern_is_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path).rename(tmp_path / "run[1]")
    with pytest.raises(CheckpointError, match=r"run\[1\]/ckpt: TensorFlow takes .* for a pattern; rename or move"):
        load(folder)


def test_the_folder_one_stands_in_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied(tmp_path))
    assert_scores_as_reference(Path("."), "cls3_pooler_v2")


def test_variables_that_are_no_floating_point_numbers_are_refused(tmp_path: Path) -> None:
    folder = write_tf1(tmp_path, add={"bert/pooler/dense/bias": np.zeros(16, np.int8)})
    with pytest.raises(CheckpointError, match="bert/pooler/dense/bias has type int8, which is no weight"):
        load(folder)


# === What may mislead ===


def test_an_encoder_with_layers_that_no_bert_has_is_refused_although_every_weight_fits(tmp_path: Path) -> None:
    # Funnel pools between its layers, without a weight of its own.
    classifier = oracle_classifier()
    children = tf.train.TrackableView(classifier.network).children(classifier.network)
    kept = {name: part for name, part in children.items() if not name.startswith("layer")}
    pools = {"_att_input_pool_layers": tf.train.Checkpoint(pool=tf_keras.layers.MaxPooling1D(2))}
    holder = tf.train.Checkpoint(_network=tf.train.Checkpoint(**kept, **pools), classifier=classifier.classifier)
    tf.train.Checkpoint(model=holder).write(str(tmp_path / "ckpt"))
    with pytest.raises(CheckpointError, match="its encoder has _att_input_pool_layers, a part that no BERT has"):
        load(tmp_path)


@pytest.mark.parametrize("lower_case", [True, False])
def test_an_export_with_the_fast_tokenizer_does_not_say_whether_it_folds_case(tmp_path: Path, lower_case: bool) -> None:
    tokenizer = tf_text.FastBertTokenizer([*SPECIAL_TOKENS, "a"], lower_case_nfd_strip_accents=lower_case)
    module = tf.Module()
    module.serve = tf.function(
        lambda texts: tokenizer.tokenize(texts).to_tensor(), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.serve})
    assert exported_case(_export(tmp_path)) is None


def test_two_configurations_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "bert_config.json").write_text(json.dumps({**GOOGLE, "hidden_dropout_prob": 0.3}))
    write_params(folder, {"hidden_activation": "gelu", "dropout_rate": 0.0})
    assert load(folder).config.activation == "gelu_tanh"
    write_params(folder, {"hidden_activation": "relu"})
    with pytest.raises(CheckpointError, match=r"activation is 'gelu_tanh', but params\.yaml beside it says 'relu'"):
        load(folder)


def test_tokenizer_files_that_contradict_the_training_are_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load(folder).lower_case is False
    (folder / "params.yaml").write_text(yaml.safe_dump({"task": {"train_data": {"lower_case": True}}}))
    with pytest.raises(CheckpointError, match=r"lower case\? Its files say False, the training .* says True"):
        load(folder)


def test_what_was_taken_from_the_folder_above_is_said(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "a"]) + "\n")
    write_params(tmp_path, {"hidden_activation": "gelu", "norm_first": False}, use_encoder_pooler=True)
    notes = load(folder).notes
    assert [note.split(":")[0] for note in notes] == ["settings", "vocabulary"]
    assert all(str(tmp_path) in note and "folder above" in note for note in notes)


def test_google_research_tokenizes_by_rules_of_its_own(tmp_path: Path) -> None:
    assert load(write_tf1(tmp_path)).flavour == "google_research"
    assert load(ORACLE / "cls3_pooler_v2" / "ckpt_model").flavour == "model_garden"
