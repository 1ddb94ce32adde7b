"""Kin of BERT with other names and heads: DistilBERT and ELECTRA, as their maker scores them, or a refusal."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from support.checkpoints.imports import job, probabilities, softmax
from support.commands import DATA, invoke
from support.jobs import Score, write_parquet

from model.checkpoints.detect import load, load_encoder
from model.checkpoints.families import DISTILBERT, ELECTRA
from model.errors import CheckpointError
from model.network.config import BertConfig
from model.serving.scoring_graph import ScoringGraph
from pipeline.bundling.importing import import_model
from pipeline.bundling.training import train
from pipeline.bundling.training_job import training_job
from transforms.featurize.step import TransformGraph

KIN = DATA / "hf_kin"
CASES = ("distilbert_cls2", "distilbert_reg1", "electra_cls3_projected", "electra_cls3_same", "electra_one_output")
WITH_PAIRS = ("distilbert_cls2", "electra_cls3_projected", "electra_cls3_same")


def stored(case: str, name: str) -> Any:
    return json.loads((KIN / case / name).read_text(encoding="utf-8"))


def kept(case: str, name: str) -> list[int]:
    """Rows that the contract takes: one with a blank text is a dead letter."""
    rows = stored(case, name)
    return [i for i, row in enumerate(rows) if all(text.strip() for text in ([row] if isinstance(row, str) else row))]


def assert_as_the_maker(rows: list[dict[str, Any]], labels: tuple[str, ...], logits: np.ndarray, sigmoid: bool) -> None:
    if labels:
        np.testing.assert_allclose(probabilities(rows, labels), softmax(logits), rtol=0, atol=1e-6)
        return
    expected = tf.sigmoid(logits[:, 0]).numpy() if sigmoid else logits[:, 0]
    found = {row["id"]: row["value"] for row in rows}
    np.testing.assert_allclose([found[str(i)] for i in range(len(found))], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_texts_score_as_transformers_scores_them(case: str, run_job: Score, tmp_path: Path) -> None:
    texts, ids = stored(case, "texts.json"), stored(case, "ids.json")
    # One output with problem_type unsaid: a sigmoid is shown, if one asks for it.
    wanted = {"activation": "sigmoid"} if case == "electra_one_output" else {}
    done = import_model(job(KIN / case / "model", tmp_path, max_tokens=ids["max_length"], **wanted))
    graph = TransformGraph(str(done.bundle.path))(np.array([text.encode() for text in texts], object))
    assert [row.tolist() for row in np.split(graph.values, graph.offsets[1:-1])] == ids["input_ids"]
    rows = kept(case, "texts.json")
    assert len(rows) > 20
    file = write_parquet(
        tmp_path / "in.parquet", {"id": [str(i) for i in range(len(rows))], "text": [texts[i] for i in rows]}
    )
    scored = run_job(file, bundle=str(done.bundle.path), max_dead_fraction=0.0)
    logits = np.load(KIN / case / "logits.npy")[rows]
    assert np.ptp(logits, axis=0).min() > 0.3
    assert_as_the_maker(scored.rows(), done.bundle.labels, logits, case == "electra_one_output")


@pytest.mark.slow
@pytest.mark.parametrize("case", WITH_PAIRS)
def test_pairs_score_as_transformers_scores_them(case: str, run_job: Score, tmp_path: Path) -> None:
    length = stored(case, "pairs_ids.json")["max_length"]
    done = import_model(job(KIN / case / "model", tmp_path, segments=2, max_tokens=length))
    rows, pairs = kept(case, "pairs.json"), stored(case, "pairs.json")
    assert len(rows) >= 8
    columns = {"id": [str(i) for i in range(len(rows))], "text": [pairs[i][0] for i in rows]}
    file = write_parquet(tmp_path / "in.parquet", {**columns, "other": [pairs[i][1] for i in rows]})
    scored = run_job(file, bundle=str(done.bundle.path), text_pair_column="other", max_dead_fraction=0.0)
    logits = np.load(KIN / case / "pairs_logits.npy")[rows]
    assert_as_the_maker(scored.rows(), done.bundle.labels, logits, False)


def test_one_output_of_which_nothing_is_said_is_the_raw_value_with_a_note(tmp_path: Path) -> None:
    done = import_model(job(KIN / "electra_one_output" / "model", tmp_path))
    assert done.bundle.activation == "none"
    assert any("activation" in note for note in done.bundle.origin["notes"])


@pytest.mark.slow
@pytest.mark.usefixtures("every_precision")
def test_another_precision_and_another_engine_compute_the_same_heads(tmp_path: Path) -> None:
    from transforms.score.engines.openvino_scorer import Compiled

    for case in ("distilbert_cls2", "electra_cls3_projected"):
        done = import_model(job(KIN / case / "model", tmp_path, output=str(tmp_path / case)))
        tokens = np.array([[2, 11, 12, 13, 3], [2, 20, 3, 0, 0]], np.int32)
        lengths = np.array([5, 3], np.int32)
        inputs = {"tokens": tokens, "lengths": lengths, "first_segment": lengths}
        loaded = tf.saved_model.load(done.bundle.scoring)
        ragged = {"tokens": np.array([2, 11, 12, 13, 3, 2, 20, 3], np.int32), "lengths": lengths}
        wanted = loaded.signatures["score"](**{k: tf.constant(v) for k, v in {**inputs, **ragged}.items()})
        found = Compiled(done.bundle.scoring, "float32")(inputs, "logits")
        np.testing.assert_allclose(found, wanted["logits"], rtol=0, atol=1e-5)
        compiled = loaded.signatures["compiled_bfloat16"](**{k: tf.constant(v) for k, v in inputs.items()})
        np.testing.assert_allclose(compiled["logits"], wanted["logits"], rtol=0, atol=0.1)


def test_the_head_of_another_family_would_be_told(tmp_path: Path) -> None:
    """The three functions between the layers of a head differ by far more than anything is allowed to."""
    checkpoint = load(KIN / "distilbert_cls2" / "model")
    rows = {"tokens": [[2, 11, 12, 3]], "lengths": [4], "first_segment": [4]}
    found = [
        np.asarray(
            ScoringGraph(checkpoint.config.replace(head_activation=kind), checkpoint.weights).logits(
                *(tf.constant(value, tf.int32) for value in rows.values())
            )
        )
        for kind in ("tanh", "relu", "gelu_erf")
    ]
    assert min(np.abs(a - b).max() for i, a in enumerate(found) for b in found[:i]) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("case", ["distilbert_cls2", "electra_cls3_projected"])
def test_an_encoder_without_a_pooler_is_fine_tuned_with_a_head_that_pools(case: str, tmp_path: Path) -> None:
    config, encoder = load_encoder(KIN / case / "model")
    assert (config.use_encoder_pooler, config.head_activation) == (
        False,
        (DISTILBERT if "distil" in case else ELECTRA).head_activation,
    )
    assert encoder.get_config()["hidden_size"] == config.hidden_size
    rows = {"text": ["the film was good", "the film was bad"] * 30, "label": ["good", "bad"] * 30}
    file = write_parquet(tmp_path / "in.parquet", rows)
    given = {"input": [str(file)], "output": str(tmp_path / "b"), "name": "n", "max_tokens": 16, "epochs": 1}
    trained = train(training_job({**given, "encoder": str(KIN / case / "model")}))
    assert trained.bundle.model["head_activation"] == config.head_activation
    assert trained.bundle.tokenizer["flavour"] == "huggingface"


def changed_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def changed_weights(folder: Path, drop: str = "", add: tuple[str, ...] = ()) -> None:
    weights = load_file(folder / "model.safetensors")
    weights = {name: array for name, array in weights.items() if not drop or not name.startswith(drop)}
    save_file(weights | {name: np.zeros(16, np.float32) for name in add}, folder / "model.safetensors")


REFUSED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a DistilBERT that labels tokens": (
        "trap_distilbert_tokens",
        lambda folder: None,
        "has classifier.weight but no pre_classifier.weight: a label for each token, not for a text",
    ),
    "the same that claims to be a text classifier": (
        "trap_distilbert_tokens",
        lambda folder: changed_config(folder, architectures=["DistilBertForSequenceClassification"]),
        "a label for each token",
    ),
    "a DistilBERT without its second layer": (
        "distilbert_cls2",
        lambda folder: changed_weights(folder, "classifier."),
        "classifier.weight",
    ),
    "a bare DistilBERT": (
        "distilbert_cls2",
        lambda folder: changed_weights(folder, "classifier.") or changed_weights(folder, "pre_classifier."),
        "is an encoder without a trained head",
    ),
    "a DistilBERT of questions": (
        "distilbert_cls2",
        lambda folder: changed_weights(folder, add=("qa_outputs.weight",)),
        "qa_outputs.weight would not be used",
    ),
    "an ELECTRA that labels tokens": (
        "electra_cls3_same",
        lambda folder: changed_weights(folder, "classifier.", add=("classifier.weight",)),
        "has classifier.weight but no classifier.dense.weight: a label for each token",
    ),
    "an ELECTRA without its projection": (
        "electra_cls3_projected",
        lambda folder: changed_weights(folder, "electra.embeddings_project"),
        "has no electra.embeddings_project.weight",
    ),
    "an ELECTRA with another epsilon": (
        "electra_cls3_same",
        lambda folder: changed_config(folder, layer_norm_eps=1e-5),
        "layer_norm_eps is 1e-05",
    ),
    "a DistilBERT with another function": (
        "distilbert_cls2",
        lambda folder: changed_config(folder, activation="silu"),
        "activation is 'silu'; supported are gelu",
    ),
    "a DistilBERT as another model": (
        "distilbert_cls2",
        lambda folder: changed_config(folder, architectures=["DistilBertForMultipleChoice"]),
        "can only be scored as the head of DistilBertForSequenceClassification",
    ),
    "a DistilBERT that is described as a BERT is": (
        "distilbert_cls2",
        lambda folder: changed_config(folder, num_attention_heads=8),
        "num_attention_heads is there, which a DistilBERT calls n_heads",
    ),
    "an ELECTRA that says it is a DistilBERT": (
        "electra_cls3_same",
        lambda folder: changed_config(folder, model_type="distilbert"),
        "is there, which a DistilBERT calls",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_score_otherwise_is_refused_with_its_reason(what: str, tmp_path: Path) -> None:
    case, change, reason = REFUSED[what]
    folder = Path(shutil.copytree(KIN / case / "model", tmp_path / "model"))
    change(folder)
    code, out, err = invoke("import", folder, "--output", tmp_path / "bundle", "--name", "n")
    assert (code, out, err.count("\n"), reason in err) == (2, "", 1, True), err
    assert not (tmp_path / "bundle").exists()


def test_a_bare_encoder_lies_at_the_top_of_its_file(tmp_path: Path) -> None:
    for case, prefix in (("distilbert_cls2", "distilbert."), ("electra_cls3_projected", "electra.")):
        folder = Path(shutil.copytree(KIN / case / "model", tmp_path / case))
        weights = load_file(folder / "model.safetensors")
        bare = {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
        save_file({**bare}, folder / "model.safetensors")
        usual = load(KIN / case / "model", head=False)
        found = load(folder, head=False)
        assert found.encoder_weights.keys() == usual.encoder_weights.keys()
        assert all((found.weights[name] == array).all() for name, array in usual.encoder_weights.items())
        assert not found.has_pooler


def test_a_config_of_a_bundle_before_heads_had_functions_is_read_and_written_as_it_was() -> None:
    before = {key: value for key, value in BertConfig().to_dict().items() if key != "head_activation"}
    assert BertConfig.from_dict(before).to_dict() == before
    with pytest.raises(ValueError, match="head_activation is relu, but the encoder's own pooler is a tanh"):
        BertConfig(head_activation="relu")
    config = BertConfig(head_activation="relu", use_encoder_pooler=False)
    assert BertConfig.from_dict(config.to_dict()) == config


def test_both_are_told_apart_by_what_their_file_says(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(KIN / "distilbert_cls2" / "model", tmp_path / "model"))
    changed_config(folder, model_type="camembert")
    with pytest.raises(CheckpointError, match="'camembert', but only 'bert', 'distilbert', 'electra' can be loaded"):
        load(folder)
