"""`bert-batch import`: from somebody's model to a bundle that scores as its makers would."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  the export has its ops
from support.checkpoints.imports import EXPORT, ORACLE, TEXT, TEXTS, hugging_face, job, probabilities, softmax
from support.commands import invoke
from support.jobs import Score, write_parquet

from model.bundle import Bundle
from model.checkpoints.detect import load
from model.errors import CheckpointError
from model.network.encoder import INPUT_NAMES
from model.tokenizer.flavours import FLAVOURS
from pipeline.bundling.import_job import choose_labels, choose_tokenizer, label_notes
from pipeline.bundling.importing import import_model
from pipeline.errors import ConfigError
from transforms.featurize.step import TransformGraph


@pytest.fixture(scope="module", params=["saved_model_text", "ckpt_model"])
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The text export of Model Garden as a bundle, and the checkpoint that it was exported from."""
    flags = {"labels": "a,b,c", "lower_case": True} if request.param == "ckpt_model" else {"labels": "a,b,c"}
    return import_model(job(TEXT / request.param, tmp_path_factory.mktemp("imported"), **flags)).bundle


def test_a_bundle_of_a_text_export_scores_as_serving_json_says(
    imported: Bundle, run_job: Score, tmp_path: Path
) -> None:
    serving = json.loads((TEXT / "serving.json").read_text())
    # The last text is empty, which is a dead letter here.
    file = write_parquet(tmp_path / "in.parquet", {"id": ["0", "1"], "text": serving["text_a"][:2]})
    found = probabilities(run_job(file, bundle=str(imported.path)).rows(), imported.labels)
    expected = np.array(serving["text_fields=['a'] inputs_only=True"]["outputs"][:2])
    np.testing.assert_allclose(found, softmax(expected), atol=1e-6)


def test_a_bundle_of_a_text_export_scores_as_the_export_itself(
    imported: Bundle, run_job: Score, tmp_path: Path
) -> None:
    tokens = TransformGraph(str(imported.path))(np.array([text.encode() for text in TEXTS], object))
    rows = tf.RaggedTensor.from_row_splits(tokens.values, tokens.offsets)
    ids = tf.cast(rows.to_tensor(), tf.int32)
    inputs = dict(zip(INPUT_NAMES, (ids, tf.cast(ids != 0, tf.int32), tf.zeros_like(ids)), strict=True))
    expected = tf.saved_model.load(str(EXPORT)).signatures["serving_default"](**inputs)["outputs"].numpy()
    names = [str(i) for i in range(len(TEXTS))]
    file = write_parquet(tmp_path / "in.parquet", {"id": names, "text": TEXTS})
    found = probabilities(run_job(file, bundle=str(imported.path)).rows(), imported.labels)
    np.testing.assert_allclose(found, softmax(expected), atol=1e-6)
    graph = tf.saved_model.load(imported.scoring).signatures["score"]
    lengths = tf.cast(rows.row_lengths(), tf.int32)
    logits = graph(tokens=tokens.values, lengths=lengths, first_segment=lengths)["logits"]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_an_imported_bundle_says_where_it_comes_from_and_what_was_assumed(imported: Bundle) -> None:
    assert imported.labels == ("a", "b", "c")
    assert imported.tokenizer == {"flavour": "model_garden", "lower_case": True}
    assert imported.max_tokens == 16
    assert imported.quality == {}
    assert imported.origin["layout"].startswith("Model Garden classifier")
    assert [note.split(":")[0] for note in imported.origin["notes"]][:2] == ["activation", "norm_first"]


def test_the_export_itself_says_that_it_folds_case(tmp_path: Path) -> None:
    # Its vocabulary has capitals: without the graph of the export one would take it for a cased one.
    assert import_model(job(EXPORT, tmp_path, labels="a,b,c")).bundle.tokenizer["lower_case"] is True


def test_a_hugging_face_folder_becomes_a_bundle_with_its_labels(tmp_path: Path) -> None:
    done = import_model(job(hugging_face(tmp_path), tmp_path))
    assert done.bundle.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    flavour = "huggingface" if "huggingface" in FLAVOURS else "model_garden"
    assert done.bundle.tokenizer == {"flavour": flavour, "lower_case": True}
    assert any(note.startswith("note     tokenizer:") for note in done.report) == (flavour == "model_garden")
    assert done.bundle.model["activation"] == "gelu_erf"


def test_labels_come_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("no\nperhaps\nyes\n")
    done = import_model(job(hugging_face(tmp_path), tmp_path, labels_file=str(tmp_path / "labels.txt")))
    assert done.bundle.labels == ("no", "perhaps", "yes")


def test_a_regressor_becomes_a_bundle_of_values(run_job: Score, tmp_path: Path) -> None:
    vocabulary = hugging_face(tmp_path) / "vocab.txt"
    folder = ORACLE / "reg1_pooler_v1" / "ckpt_trainer"
    done = import_model(job(folder, tmp_path, vocabulary=str(vocabulary)))
    assert (done.bundle.task, done.bundle.labels) == ("regression", ())
    file = write_parquet(tmp_path / "in.parquet", {"id": ["0"], "text": ["a bb c"]})
    (row,) = run_job(file, bundle=str(done.bundle.path)).rows()
    assert np.isfinite(row["value"])


def test_an_untrained_head_is_made_only_on_request_and_the_bundle_says_so(tmp_path: Path) -> None:
    vocabulary = str(hugging_face(tmp_path) / "vocab.txt")
    folder = ORACLE / "cls3_nopooler_v1" / "ckpt_encoder_only"
    with pytest.raises(ConfigError, match=r"without a trained head.*train --encoder.*--new-head"):
        import_model(job(folder, tmp_path, vocabulary=vocabulary))
    done = import_model(job(folder, tmp_path, vocabulary=vocabulary, new_head=2, labels="no,yes"))
    assert done.bundle.origin["weights"] == "untrained head"
    assert any("untrained" in line for line in done.report)
    with pytest.raises(ConfigError, match=r"--new-head 2: .* has a trained head with 3 outputs"):
        import_model(job(TEXT / "ckpt_model", tmp_path / "x", new_head=2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "has 3 outputs and does not name them; give --labels with 3 labels"),
        ({"labels": "a,b"}, r"2 labels \(2 different\) for 3 outputs"),
        ({"labels": "a,b,a"}, r"3 labels \(2 different\)"),
        ({"labels": "a,b,c", "task": "regression"}, "--task regression: .* has 3 outputs"),
        ({"labels": "a,b,c", "max_tokens": 17}, "--max-tokens 17: the model has 16 positions"),
        ({"labels": "a,b,c", "vocabulary": "nowhere.txt"}, "--vocabulary nowhere.txt: not there"),
        ({"labels_file": "nowhere.txt"}, "--labels-file nowhere.txt: cannot be read"),
        ({"labels": "a,b,c", "tokenizer": "sentencepiece"}, "--tokenizer 'sentencepiece': Input should be 'mod"),
    ],
)
def test_flags_that_do_not_fit_the_model_are_refused(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        import_model(job(TEXT / "ckpt_model", tmp_path, **settings))
    assert not (tmp_path / "bundle").exists()


def test_a_checkpoint_without_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has neither vocab\.txt nor tokenizer\.json beside it; give the vocab"):
        import_model(job(ORACLE / "reg1_pooler_v1" / "ckpt_model", tmp_path))


def test_a_vocabulary_that_is_too_long_is_refused(tmp_path: Path) -> None:
    flags = {"labels": "a,b,c", "vocabulary": str(TEXT / "vocab.txt")}
    with pytest.raises(CheckpointError, match=r"92 tokens, the model's embedding table 64 rows"):
        import_model(job(ORACLE / "cls3_pooler_v2" / "ckpt_model", tmp_path, **flags))


def test_the_command_prints_what_was_loaded_and_ends_with_0_or_2(tmp_path: Path) -> None:
    common = ["--name", "n", "--output", tmp_path / "bundle"]
    code, _, err = invoke("import", TEXT / "ckpt_model", *common)
    assert (code, "give --labels with 3 labels" in err) == (2, True)
    code, _, err = invoke("import", tmp_path, *common)
    assert (code, "there is no model that can be read" in err) == (2, True)
    code, out, _ = invoke("import", TEXT / "ckpt_model", *common, "--labels", "a,b,c")
    assert code == 0
    assert "loaded   25 variables, 4,339 weights; none of the model's is missing" in out
    assert Bundle.load(tmp_path / "bundle").name == "n"
    code, _, err = invoke("import", TEXT / "ckpt_model", *common, "--labels", "a,b,c")
    assert (code, "a bundle is never overwritten" in err) == (2, True)


@pytest.mark.parametrize("flag", ["labels", "labels_file"])
def test_labels_for_a_regression_are_refused(tmp_path: Path, flag: str) -> None:
    folder = ORACLE / "reg1_pooler_v1" / "ckpt_model"
    (tmp_path / "names").write_text("bad\ngood\n")
    given = {"labels": "bad,good", "labels_file": str(tmp_path / "names")}
    with pytest.raises(ConfigError, match=r"--labels: .* has one output, a regression, and a value has no label"):
        import_model(job(folder, tmp_path, **{flag: given[flag]}))


@pytest.mark.parametrize("content", ["\ufeffno\nperhaps\nyes\n", "no\r\nperhaps \r\nyes"])
def test_marks_and_spaces_of_an_editor_are_no_part_of_a_label(tmp_path: Path, content: str) -> None:
    (tmp_path / "names").write_bytes(content.encode())
    checkpoint, flags = load(hugging_face(tmp_path)), job(TEXT, tmp_path, labels_file=str(tmp_path / "names"))
    assert choose_labels(flags, checkpoint, 3) == ("no", "perhaps", "yes")


def test_an_empty_file_of_labels_does_not_mean_the_labels_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("")
    with pytest.raises(ConfigError, match=r"0 labels \(0 different\) for 3 outputs"):
        import_model(job(hugging_face(tmp_path), tmp_path, labels_file=str(tmp_path / "names")))


def test_labels_that_rename_those_of_the_model_are_noted(tmp_path: Path) -> None:
    folder = hugging_face(tmp_path)
    assert label_notes(load(folder), ("c", "b", "a")) == []
    config = json.loads((folder / "config.json").read_text()) | {"id2label": {"0": "a", "1": "b", "2": "c"}}
    (folder / "config.json").write_text(json.dumps(config))
    assert label_notes(load(folder), ("a", "b", "c")) == []
    done = import_model(job(folder, tmp_path, labels="c,b,a"))
    assert "labels: c, b, a as asked, although the model calls them a, b, c" in done.bundle.origin["notes"]


def test_the_longest_text_of_a_hugging_face_tokenizer_is_that_of_the_bundle(tmp_path: Path) -> None:
    folder = hugging_face(tmp_path)
    for said, expected in ((8, 8), (10**30, 16)):
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": said}))
        checkpoint = load(folder)
        spec, _ = choose_tokenizer(job(folder, tmp_path), checkpoint, checkpoint.vocabulary or (), "classification")
        assert spec.max_tokens == expected


def test_a_corrupt_model_and_a_vocabulary_that_is_not_utf8_end_with_2(tmp_path: Path) -> None:
    folder = hugging_face(tmp_path)
    common = ["--name", "n", "--output", tmp_path / "bundle"]
    (folder / "vocab.txt").write_bytes(b"[PAD]\n\xe9\n")
    code, _, err = invoke("import", folder, *common)
    assert (code, "vocab.txt: cannot be read as UTF-8 text" in err, err.count("\n")) == (2, True, 1)
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    code, _, err = invoke("import", folder, *common)
    assert (code, "model.safetensors: is damaged" in err, err.count("\n")) == (2, True, 1)


@pytest.mark.parametrize(("data", "noted"), [({"text_fields": ["a"]}, False), ({"input_path": "x.tf_record"}, True)])
def test_that_nothing_says_how_a_training_tokenized_is_noted(
    tmp_path: Path, data: dict[str, object], noted: bool
) -> None:
    folder = Path(shutil.copytree(TEXT / "ckpt_model", tmp_path / "run"))
    shutil.copy(TEXT / "vocab.txt", folder)
    (folder / "params.yaml").write_text(json.dumps({"task": {"train_data": data}}))
    checkpoint = load(folder)
    for flags, expected in (({}, noted), ({"tokenizer": "huggingface"}, False)):
        _, notes = choose_tokenizer(
            job(folder, tmp_path, **flags), checkpoint, checkpoint.vocabulary or (), "classification"
        )
        assert any(note.startswith("tokenizer: model_garden is assumed") for note in notes) == expected
    assert load(EXPORT).flavour_assumed is False
