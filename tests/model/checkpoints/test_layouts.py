"""Whatever layout a checkpoint has: it scores as its makers', or is refused with file, key, value and way out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import yaml
from support.checkpoints.layouts import (
    CONFIG,
    GOOGLE,
    ORACLE,
    assert_scores_as_reference,
    copied,
    main_inputs,
    oracle_classifier,
    write_params,
    write_tf1,
)
from support.checkpoints.networks import arrays_of

from model.checkpoints.checkpoint import build_encoder_from, build_from
from model.checkpoints.detect import detect, load, load_encoder, load_vocabulary
from model.errors import CheckpointError
from model.network.classifier import build_classifier
from model.network.encoder import BertEncoder
from model.network.weights import canonical_variables

# === Layouts of Model Garden ===


STORED = sorted(
    path.relative_to(ORACLE).as_posix()
    for layout in ("ckpt_model", "ckpt_trainer")
    for path in ORACLE.glob(f"*/{layout}")
    if path.parent.name != "text"
)


@pytest.mark.parametrize("stored", STORED)
def test_every_stored_classifier_scores_as_the_reference(stored: str) -> None:
    assert_scores_as_reference(ORACLE / stored, stored.split("/")[0])


def test_the_prefix_and_the_files_of_a_checkpoint_stand_for_it() -> None:
    folder = ORACLE / "cls3_pooler_v2" / "ckpt_model"
    for name in ("ckpt", "ckpt.index"):
        assert detect(folder / name).path == folder / "ckpt"


def test_the_trainer_layout_says_what_it_leaves_out() -> None:
    checkpoint = load(ORACLE / "reg1_pooler_v1" / "ckpt_trainer")
    assert checkpoint.layout == "Model Garden classifier at model, trainer layout"
    assert {key.split("/")[0] for key in checkpoint.ignored} == {"global_step", "save_counter"}


def test_an_optimizer_in_the_checkpoint_is_left_out_by_name(tmp_path: Path) -> None:
    classifier = oracle_classifier()
    optimizer = tf_keras.optimizers.Adam()
    optimizer.build(classifier.trainable_variables)
    parts = {**classifier.checkpoint_items, "optimizer": optimizer, "global_step": tf.Variable(0)}
    tf.train.Checkpoint(model=classifier, **parts).save(str(tmp_path / "ckpt"))
    assert_scores_as_reference(tmp_path, "cls3_pooler_v2")
    assert "state of the optimizer" in load(tmp_path).ignored.values()


def test_slots_of_an_old_optimizer_are_left_out_by_name(tmp_path: Path) -> None:
    classifier = oracle_classifier()
    optimizer = tf_keras.optimizers.legacy.Adam()
    optimizer.apply_gradients([(tf.zeros_like(v), v) for v in classifier.trainable_variables[:2]])
    tf.train.Checkpoint(model=classifier, optimizer=optimizer).write(str(tmp_path / "ckpt"))
    slots = [key for key in load(tmp_path).ignored if "/.OPTIMIZER_SLOT/" in key]
    assert len(slots) == 4


def test_save_weights_and_a_checkpoint_of_the_model_itself_are_read(tmp_path: Path) -> None:
    classifier = oracle_classifier()
    classifier.save_weights(str(tmp_path / "one" / "w"))
    tf.train.Checkpoint(classifier).write(str(tmp_path / "two" / "w"))
    for folder in ("one", "two"):
        assert_scores_as_reference(tmp_path / folder, "cls3_pooler_v2")


def test_the_variables_of_a_saved_model_are_read() -> None:
    exported = load(ORACLE / "text" / "saved_model_text")
    trained = load(ORACLE / "text" / "ckpt_model")
    assert exported.layout == "Model Garden classifier at model, SavedModel"
    assert exported.weights.keys() == trained.weights.keys()
    for name, array in trained.weights.items():
        np.testing.assert_array_equal(exported.weights[name], array)
    assert len(exported.vocabulary) == 92


def test_the_vocabulary_of_an_encoder_to_train_is_found_in_any_layout() -> None:
    assert load_vocabulary(ORACLE / "text" / "saved_model_text")[3] == "[CLS]"
    assert len(load_vocabulary(ORACLE / "text" / "ckpt_model" / "ckpt")) == 92
    with pytest.raises(CheckpointError, match=r"vocab\.txt: not there; give the vocabulary with --vocabulary"):
        load_vocabulary(ORACLE / "reg1_pooler_v1" / "ckpt_model")


def test_the_newest_checkpoint_is_the_one_the_state_file_names(tmp_path: Path) -> None:
    folder = copied(tmp_path, "cls3_nopooler_v1", "ckpt_trainer")
    for file in sorted(folder.glob("ckpt-1.*")):
        shutil.copy(file, folder / file.name.replace("ckpt-1", "ckpt-2"))
    assert detect(folder).path.name == "ckpt-1"
    # As it comes from another machine.
    (folder / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/run/ckpt-2"\n')
    assert detect(folder).path.name == "ckpt-2"
    (folder / "checkpoint").write_text('model_checkpoint_path: "ckpt-7"\n')
    with pytest.raises(CheckpointError, match="names 'ckpt-7', which is not there"):
        detect(folder)
    (folder / "checkpoint").unlink()
    with pytest.raises(CheckpointError, match="has 2 checkpoints and no file named checkpoint"):
        detect(folder)


@pytest.mark.parametrize("root", ["encoder", "model", "itself"])
def test_an_encoder_alone_is_read_wherever_it_stands(root: str, tmp_path: Path) -> None:
    classifier = oracle_classifier("reg1_pooler_v1", 1)
    holder = tf.train.Checkpoint(classifier.network)
    if root != "itself":
        holder = tf.train.Checkpoint(**{root: classifier.network})
    holder.write(str(tmp_path / "bert_model.ckpt"))
    config, encoder = load_encoder(tmp_path)
    assert config == CONFIG
    expected = arrays_of(ORACLE / "reg1_pooler_v1" / "outputs_main.npz")["sequence_output"]
    np.testing.assert_allclose(encoder(main_inputs())[0], expected, atol=1e-5)


def test_the_published_encoder_layout_of_the_oracle_is_read() -> None:
    checkpoint = load(ORACLE / "cls3_nopooler_v1" / "ckpt_encoder_only")
    assert checkpoint.outputs is None
    expected = arrays_of(ORACLE / "cls3_nopooler_v1" / "outputs_main.npz")["sequence_output"]
    np.testing.assert_allclose(build_encoder_from(checkpoint)(main_inputs())[0], expected, atol=1e-5)


def test_the_encoder_of_a_pretrainer_is_read_without_its_heads(tmp_path: Path) -> None:
    encoder, dense = BertEncoder.from_bert_config(CONFIG), tf_keras.layers.Dense(3)
    dense.build((None, 16))
    pretrainer = tf.train.Checkpoint(encoder_network=encoder, masked_lm=dense, classification_heads=[dense])
    pooler = {"next_sentence.pooler_dense": dense}
    tf.train.Checkpoint(model=pretrainer, encoder=encoder, masked_lm=dense, **pooler).write(str(tmp_path / "ckpt"))
    checkpoint = load(tmp_path)
    assert checkpoint.outputs is None
    assert set(checkpoint.ignored.values()) <= {"head of pretraining"}
    assert checkpoint.weights.keys() == canonical_variables(encoder).keys()


def test_the_pooler_of_a_pretrainer_is_that_of_its_next_sentence_head(tmp_path: Path) -> None:
    encoder, dense, words = BertEncoder.from_bert_config(CONFIG), tf_keras.layers.Dense(16), tf_keras.layers.Dense(64)
    for layer in (dense, words):
        layer.build((None, 16))
    pretrainer = tf.train.Checkpoint(encoder_network=encoder, masked_lm=words)
    parts = {"encoder": encoder, "masked_lm": words, "next_sentence.pooler_dense": dense}
    tf.train.Checkpoint(model=pretrainer, **parts).write(str(tmp_path / "ckpt"))
    _, found = load_encoder(tmp_path)
    sequence, pooled = found(main_inputs())
    np.testing.assert_allclose(sequence, encoder(main_inputs())[0], atol=1e-6)
    np.testing.assert_allclose(pooled, tf.tanh(dense(sequence[:, 0])), atol=1e-6)
    assert "the encoder's own pooler, which pretraining did not use" in load(tmp_path).ignored.values()


def numbered(layers: list[tf_keras.layers.Layer]) -> tf.train.Checkpoint:
    return tf.train.Checkpoint(**{f"layer_with_weights-{i}": layer for i, layer in enumerate(layers)})


@pytest.mark.parametrize("with_head", [True, False])
@pytest.mark.parametrize("width", [None, 8])
def test_an_old_checkpoint_with_numbered_layers_only_is_read(
    with_head: bool, width: int | None, tmp_path: Path
) -> None:
    config = CONFIG.replace(embedding_width=width)
    classifier = build_classifier(config, 3)
    network = classifier.network
    projection = [network._embedding_projection] if width else []
    layers = [
        network._embedding_layer,
        network._position_embedding_layer,
        network._type_embedding_layer,
        network._embedding_norm_layer,
        *projection,
        *network.transformer_layers,
        network.pooler_layer,
    ]
    model = numbered([numbered(layers), classifier.classifier]) if with_head else numbered(layers)
    tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    checkpoint = load(tmp_path)
    assert checkpoint.config.embedding_width == width
    if with_head:
        np.testing.assert_array_equal(build_from(checkpoint)(main_inputs()), classifier(main_inputs()))
    else:
        found = build_encoder_from(checkpoint)(main_inputs())[1]
        np.testing.assert_array_equal(found, network(main_inputs())[1])


# === What the file beside the checkpoint says ===


def test_sizes_and_formula_come_from_the_checkpoint_and_its_params(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    assert [note.split(":")[0] for note in load(folder).notes] == ["activation", "norm_first", "head"]
    sizes = {"hidden_activation": "relu", "norm_first": True, "dropout_rate": 0.2, "embedding_size": 16}
    write_params(folder, sizes, use_encoder_pooler=True)
    checkpoint = load(folder)
    assert checkpoint.config == CONFIG.replace(activation="relu", norm_first=True, output_dropout=0.2)
    assert checkpoint.notes == ()
    assert checkpoint.said_by == dict.fromkeys(("activation", "norm_first"), str(folder / "params.yaml"))


@pytest.mark.parametrize(
    ("case", "form"),
    [
        ("cls3_pooler_v2", "assumed to read the encoder's pooled output, as BertClassifier's own does"),
        ("cls3_nopooler_v1", "assumed to have a pooling layer of its own, which reads the first token and ends with"),
        ("head_dense_v1", "one Dense layer, assumed to read the encoder's pooled output and to have no activation"),
    ],
)
def test_what_a_head_computes_is_noted_unless_a_task_says_it(tmp_path: Path, case: str, form: str) -> None:
    folder = copied(tmp_path, case)
    write_params(folder, {"hidden_activation": "gelu", "norm_first": False})
    (note,) = load(folder).notes
    assert note.startswith(f"head: {form}")
    write_params(
        folder, {"hidden_activation": "gelu", "norm_first": False}, use_encoder_pooler=case != "cls3_nopooler_v1"
    )
    assert len(load(folder).notes) == (case == "head_dense_v1")
    assert load(folder, head=False).notes == ()


def test_trap_2_gelu_of_google_is_the_tanh_form_and_gelu_of_hugging_face_the_exact_one(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    write_params(folder, {"hidden_activation": "gelu"})
    assert load(folder).config.activation == "gelu_tanh"
    (folder / "params.yaml").unlink()
    (folder / "bert_config.json").write_text(json.dumps(GOOGLE))
    assert load(folder).config.activation == "gelu_tanh"
    assert load(ORACLE / "hf" / "hf_cls3_gelu").config.activation == "gelu_erf"
    (folder / "bert_config.json").write_text((ORACLE / "hf" / "hf_cls3_gelu" / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"bert_config\.json: is a Hugging Face configuration"):
        load(folder)


def test_trap_3_whether_the_head_pools_comes_from_the_checkpoint(tmp_path: Path) -> None:
    assert load(ORACLE / "cls3_nopooler_v1" / "ckpt_model").config.use_encoder_pooler is False
    assert load(ORACLE / "cls3_pooler_v2" / "ckpt_model").config.use_encoder_pooler is True
    folder = copied(tmp_path)
    write_params(folder, {}, use_encoder_pooler=False)
    with pytest.raises(CheckpointError, match=r"params\.yaml: use_encoder_pooler is False.*has True"):
        load(folder)


@pytest.mark.parametrize(
    ("encoder", "model", "message"),
    [
        ({"num_layers": 3}, {}, "num_layers is 3, but the checkpoint .* has 2"),
        ({"type_vocab_size": 16}, {}, "type_vocab_size is 16"),
        ({"hidden_activation": "swish"}, {}, "hidden_activation is 'swish'; supported are gelu"),
        ({"position_embedding_type": "relative"}, {}, "position_embedding_type is 'relative'"),
        ({"layer_norm_eps": 1e-6}, {}, "layer_norm_eps is 1e-06"),
        ({}, {"num_classes": 2}, "num_classes is 2, but the head in .* has 3 outputs"),
        ({}, {"encoder": {"type": "albert"}}, "encoder.type is 'albert'"),
    ],
)
def test_params_that_do_not_fit_the_checkpoint_are_refused(
    tmp_path: Path, encoder: dict[str, object], model: dict[str, object], message: str
) -> None:
    folder = copied(tmp_path)
    task = {"model": {"encoder": {"type": "bert", "bert": encoder}, **model}}
    (folder / "params.yaml").write_text(yaml.safe_dump({"task": task}))
    with pytest.raises(CheckpointError, match=rf"params\.yaml: {message}"):
        load(folder)


# === TF1 ===


def test_a_tf1_checkpoint_scores_as_the_reference_with_its_head_transposed(tmp_path: Path) -> None:
    folder = write_tf1(tmp_path)
    assert_scores_as_reference(folder, "cls3_pooler_v2")
    checkpoint = load(folder)
    assert checkpoint.config == CONFIG
    assert [note.split(":")[0] for note in checkpoint.notes] == ["tokenizer", "head"]
    assert checkpoint.said_by == {
        "activation": str(folder / "bert_config.json"),
        "norm_first": "google-research/bert",
    }
    assert set(checkpoint.ignored.values()) == {
        "state of the optimizer",
        "counter of the training",
        "head of pretraining",
    }


def test_a_tf1_encoder_has_no_outputs(tmp_path: Path) -> None:
    folder = write_tf1(tmp_path, drop="output_")
    assert load(folder).outputs is None
    assert [note.split(":")[0] for note in load(folder).notes] == ["tokenizer"]
    assert load_encoder(folder)[0] == CONFIG


def without_config(folder: Path) -> None:
    (folder / "bert_config.json").unlink()


def with_three_layers(folder: Path) -> None:
    (folder / "bert_config.json").write_text(json.dumps({**GOOGLE, "num_hidden_layers": 3}))


def with_one_layer(folder: Path) -> None:
    (folder / "bert_config.json").write_text(json.dumps({**GOOGLE, "num_hidden_layers": 1}))


def with_wide_layers(folder: Path) -> None:
    (folder / "bert_config.json").write_text(json.dumps({**GOOGLE, "intermediate_size": 64}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_config, r"bert_config\.json: not there.*num_attention_heads"),
        (with_three_layers, "has no bert/encoder/layer_2"),
        (with_one_layer, "bert/encoder/layer_1/.* would not be used"),
        (with_wide_layers, r"intermediate/dense/kernel has shape \[16, 32\].*asks for \[16, 64\]"),
    ],
)
def test_a_tf1_checkpoint_without_its_own_config_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    folder = write_tf1(tmp_path)
    spoil(folder)
    with pytest.raises(CheckpointError, match=message):
        load(folder)
