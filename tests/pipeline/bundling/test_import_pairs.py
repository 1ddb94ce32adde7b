"""`bert-batch import` of a model of pairs: MRPC, QQP or STS-B, trained by somebody else."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from safetensors.numpy import load_file, save_file
from support.bundles import Built
from support.checkpoints.imports import EXPORT, TEXT, TEXTS, hugging_face, job, probabilities, softmax
from support.checkpoints.layouts import write_tf1
from support.commands import DATA
from support.jobs import Score, write_parquet
from support.plain_pairs import SETTINGS, plain_loop

from model.checkpoints.detect import load
from model.errors import CheckpointError
from model.tokenizer.tokenization import TokenizerSpec
from pipeline.bundling.import_job import choose_tokenizer
from pipeline.bundling.importing import Imported, import_model
from pipeline.bundling.training import tokenizer_of
from pipeline.bundling.training_job import training_job
from pipeline.errors import ConfigError
from transforms.featurize.step import TransformGraph

HF_PAIRS = DATA / "hf_pairs"
PAIRS = [*zip(TEXTS, reversed(TEXTS), strict=True), ("hello", "world hello"), ("hello world", "hello")]


def trained_on(tmp_path: Path, *fields: str, part: str = "train_data") -> Path:
    """The classifier of the text export, with a params.yaml that names the texts of a row."""
    folder = Path(shutil.copytree(TEXT / "ckpt_model", tmp_path / "run"))
    shutil.copy(TEXT / "vocab.txt", folder / "vocab.txt")
    data = {"text_fields": list(fields), "lower_case": True, "seq_length": 12}
    (folder / "params.yaml").write_text(yaml.safe_dump({"task": {"train_data": {"lower_case": True}, part: data}}))
    return folder


def with_one_type(tmp_path: Path) -> Path:
    """The Hugging Face case as a model that never had a second segment."""
    folder = hugging_face(tmp_path)
    config, weights = folder / "config.json", load_file(folder / "model.safetensors")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"type_vocab_size": 1}))
    types = "bert.embeddings.token_type_embeddings.weight"
    save_file(weights | {types: weights[types][:1].copy()}, folder / "model.safetensors")
    return folder


def pair_file(path: Path, pairs: list[tuple[str, str]]) -> Path:
    first, second = zip(*pairs, strict=True)
    return write_parquet(path, {"id": [str(i) for i in range(len(pairs))], "text": first, "other": second})


def assert_scores_as_keras(done: Imported, vocabulary: Path, run_job: Score, tmp_path: Path) -> None:
    bundle = done.bundle
    assert bundle.segments == 2
    spec = TokenizerSpec(**bundle.tokenizer, max_tokens=bundle.max_tokens, segments=2)
    built = Built(path=bundle.path, make=lambda: done.classifier, vocabulary=vocabulary, spec=spec)
    expected = softmax(plain_loop(built, PAIRS))
    rows = run_job(pair_file(tmp_path / "in.parquet", PAIRS), bundle=str(bundle.path), **SETTINGS).rows()
    np.testing.assert_allclose(probabilities(rows, bundle.labels), expected, atol=1e-5)
    assert np.abs(softmax(plain_loop(built, PAIRS, no_types=True)) - expected).max() > 0.01
    assert {row["truncated"] for row in rows} == {True, False}


@pytest.mark.parametrize("truncator", ["round_robin", "waterfall"])
def test_a_hugging_face_model_of_pairs_scores_as_keras(run_job: Score, tmp_path: Path, truncator: str) -> None:
    folder = hugging_face(tmp_path)
    done = import_model(job(folder, tmp_path, segments=2, truncator=truncator))
    assert done.bundle.tokenizer["truncator"] == truncator
    assert_scores_as_keras(done, folder / "vocab.txt", run_job, tmp_path)


def test_a_model_garden_model_of_pairs_scores_as_keras_and_as_its_serving(run_job: Score, tmp_path: Path) -> None:
    folder = trained_on(tmp_path, "sentence1", "sentence2")
    done = import_model(job(folder, tmp_path, labels="a,b,c"))
    assert "note     segments: 2, because training had two text_fields; the text is sentence1, its pair sentence2" in (
        done.report
    )
    assert done.bundle.max_tokens == 12
    assert_scores_as_keras(done, folder / "vocab.txt", run_job, tmp_path)
    serving = json.loads((TEXT / "serving.json").read_text())
    # The last first text is empty, which is a dead letter here.
    pairs = list(zip(serving["text_a"], serving["text_b"], strict=True))[:2]
    outcome = run_job(
        pair_file(tmp_path / "2.parquet", pairs), bundle=str(done.bundle.path), output=tmp_path / "2", **SETTINGS
    )
    expected = np.array(serving["text_fields=['a', 'b'] inputs_only=False"]["outputs"][:2])
    np.testing.assert_allclose(probabilities(outcome.rows(), done.bundle.labels), softmax(expected), atol=1e-6)


def test_text_fields_may_stand_in_the_validation_data_only(tmp_path: Path) -> None:
    done = import_model(job(trained_on(tmp_path, "a", "b", part="validation_data"), tmp_path, labels="a,b,c"))
    assert done.bundle.segments == 2


def test_a_flag_that_contradicts_the_training_is_obeyed_and_noted(tmp_path: Path) -> None:
    done = import_model(job(trained_on(tmp_path, "a", "b"), tmp_path, labels="a,b,c", segments=1))
    assert (done.bundle.segments, "truncator" in done.bundle.tokenizer) == (1, False)
    assert "segments: 1 as asked, although training had the text_fields a, b" in done.bundle.origin["notes"]


def test_nothing_said_means_single_texts(tmp_path: Path) -> None:
    assert import_model(job(EXPORT, tmp_path, labels="a,b,c")).bundle.segments == 1


def test_three_texts_a_row_are_refused_even_with_a_flag(tmp_path: Path) -> None:
    folder = trained_on(tmp_path, "a", "b", "c")
    for segments in (None, 2):
        with pytest.raises(ConfigError, match=r"trained on 3 texts a row \(text_fields a, b, c\)"):
            import_model(job(folder, tmp_path, labels="a,b,c", segments=segments))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"truncator": "waterfall"}, "--truncator waterfall: cuts pairs.*import pairs with --segments 2"),
        ({"segments": 2, "max_tokens": 2}, "max_tokens is 2; at least 3"),
    ],
)
def test_flags_that_no_pair_fits_are_refused(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        import_model(job(TEXT / "ckpt_model", tmp_path, labels="a,b,c", **settings))


@pytest.mark.parametrize("flag", [{"segments": 3}, {"truncator": "only_first"}])
def test_values_that_do_not_exist_are_refused_by_flag(tmp_path: Path, flag: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"^--{next(iter(flag))} "):
        job(TEXT / "ckpt_model", tmp_path, **flag)


def test_trap_10_pairs_are_refused_where_no_second_type_was_trained(tmp_path: Path) -> None:
    folder = with_one_type(tmp_path)
    refused = pytest.raises(CheckpointError, match=r"type_vocab_size is 1, but a pair of texts needs 2")
    with refused:
        import_model(job(folder, tmp_path, segments=2))
    given = {
        "input": ["rows.csv"],
        "output": str(tmp_path / "b"),
        "name": "n",
        "encoder": str(folder),
        "max_tokens": 16,
    }
    with refused:
        tokenizer_of(training_job({**given, "text_pair_column": "other"}))
    assert tokenizer_of(training_job(given)).segments == 1


def test_an_encoder_trained_on_more_texts_may_still_be_trained_anew(tmp_path: Path) -> None:
    folder = trained_on(tmp_path, "a", "b", "c")
    given = {
        "input": ["rows.csv"],
        "output": str(tmp_path / "b"),
        "name": "n",
        "encoder": str(folder),
        "max_tokens": 16,
    }
    assert tokenizer_of(training_job({**given, "text_pair_column": "other"})).segments == 2


@pytest.mark.parametrize("truncator", [None, "round_robin", "longest_first", "waterfall"])
def test_pairs_are_cut_as_the_models_maker_does_unless_one_says_how(tmp_path: Path, truncator: str | None) -> None:
    (tmp_path / "tf1").mkdir()
    google = write_tf1(tmp_path / "tf1")
    shutil.copy(hugging_face(tmp_path) / "vocab.txt", google)
    models = {tmp_path / "hf": "longest_first", google: "round_robin", TEXT / "ckpt_model": "round_robin"}
    for path, expected in models.items():
        checkpoint = load(path)
        flags = {"segments": 2} if truncator is None else {"segments": 2, "truncator": truncator}
        spec, notes = choose_tokenizer(
            job(path, tmp_path, **flags), checkpoint, checkpoint.vocabulary or (), "classification"
        )
        assert spec.truncator == (truncator or expected)
        assert not [note for note in notes if "truncator" in note]


def test_a_hugging_face_model_of_pairs_has_the_tokens_and_logits_of_transformers(tmp_path: Path) -> None:
    done = import_model(job(HF_PAIRS / "model", tmp_path, segments=2))
    expected = json.loads((HF_PAIRS / "pairs_ids.json").read_text())
    assert done.bundle.max_tokens == expected["max_length"]
    pairs = json.loads((HF_PAIRS / "pairs.json").read_text())
    columns = (np.array([text.encode() for text in column], object) for column in zip(*pairs, strict=True))
    tokens = TransformGraph(str(done.bundle.path), segments=2)(*columns)
    assert [row.tolist() for row in np.split(tokens.values, tokens.offsets[1:-1])] == expected["input_ids"]
    assert tokens.first_segment.tolist() == [row.count(0) for row in expected["token_type_ids"]]
    assert tokens.truncated.tolist() == expected["truncated"]
    lengths = np.diff(tokens.offsets).astype(np.int32)
    given = {"tokens": tokens.values, "lengths": lengths, "first_segment": tokens.first_segment}
    graph = tf.saved_model.load(done.bundle.scoring).signatures["score"]
    logits = graph(**{name: tf.constant(array) for name, array in given.items()})["logits"]
    np.testing.assert_allclose(logits, np.load(HF_PAIRS / "pairs_logits.npy"), rtol=0, atol=1e-5)
