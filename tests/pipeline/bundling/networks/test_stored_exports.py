"""SavedModels of any network, as Model Garden and Keras wrote them, score through import and whole jobs as there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.checkpoints.exported_rows import numbers_of, ragged, scored, shown, slow_but
from support.checkpoints.exports import (
    CASES,
    SCORED,
    stored_case,
)
from support.checkpoints.imports import EXPORT, job
from support.commands import DATA, invoke
from support.jobs import Score, write_parquet

from model.bundle import AS_EXPORTED, FUSED, Bundle
from pipeline.bundling.importing import import_model
from pipeline.errors import ConfigError
from pipeline.jobs.bundle import check_precision
from transforms.featurize.step import TransformGraph
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.chips import Chip
from transforms.score.engines.choice import Place, choose, choose_fastest, load_scorer
from transforms.score.engines.tensorflow_scorer import TensorFlowScorer
from transforms.score.macro_batch import score_rows

REASONS = {
    "trap_padding_mean": "the scores of a row depend on how far it is padded",
    "trap_padding_mobilebert": "scores otherwise without padding than with one or more [PAD] behind it",
    "trap_rows_batchnorm": "the rows of a batch change each other's scores",
    "trap_random_dropout": "the same rows score differently each time",
}


FAST = ("albert_list", "softmax_garden", "fixed_length")
"""Those whose graphs are loaded in a second or two."""


CPU = Device(kind="cpu")
GPU = Place(device=Device(kind="gpu", memory=80 << 30), chip=Chip(kind="gpu", name="a GPU"))


Imported = Callable[[str], Bundle]


@pytest.mark.parametrize("name", slow_but(SCORED, FAST))
def test_every_row_of_a_stored_case_scores_as_its_makers_function_does(
    name: str, imports: Imported, run_job: Score, tmp_path: Path
) -> None:
    case, bundle = stored_case(name), imports(name)
    outputs = tf.saved_model.load(bundle.scoring).signatures["score"](
        tokens=tf.constant(np.concatenate(case.tokens), tf.int32),
        lengths=tf.constant([len(row) for row in case.tokens], tf.int32),
        first_segment=tf.constant(case.first_segment, tf.int32),
    )
    if case.probabilities:
        assert list(outputs) == ["probabilities"]
    else:
        np.testing.assert_allclose(outputs["logits"], case.wanted, rtol=0, atol=1e-5)
    # The whole way, from texts.
    rows = [i for i, texts in enumerate(case.texts) if len(texts) == 2]
    assert len(rows) >= 4
    texts = [np.array([case.texts[i][part].encode() for i in rows], object) for part in (0, 1)]
    tokens = TransformGraph(str(bundle.path), 2)(*texts)
    assert [row.tolist() for row in np.split(tokens.values, tokens.offsets[1:-1])] == [case.tokens[i] for i in rows]
    columns = {"id": [str(i) for i in range(len(rows))], "text": [case.texts[i][0] for i in rows]}
    file = write_parquet(tmp_path / "in.parquet", {**columns, "other": [case.texts[i][1] for i in rows]})
    outcome = run_job(file, bundle=str(bundle.path), text_pair_column="other", max_dead_fraction=0.0)
    found = numbers_of(outcome.rows(), case.labels)
    np.testing.assert_allclose(found, shown(case)[rows], rtol=0, atol=1e-6 if case.labels else 1e-5)
    assert np.ptp(shown(case)[rows], axis=0).max() > 0.05
    assert (outcome.manifest["graph"], outcome.manifest["precision"]) == (AS_EXPORTED, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORED)
def test_single_texts_of_a_stored_case_score_as_its_makers_function_does(
    name: str, run_job: Score, tmp_path: Path
) -> None:
    case = stored_case(name)
    bundle = import_model(job(case.path, tmp_path, **{**case.flags, "segments": 1})).bundle
    rows = [i for i, texts in enumerate(case.texts) if len(texts) == 1]
    columns = {"id": [str(i) for i in range(len(rows))], "text": [case.texts[i][0] for i in rows]}
    outcome = run_job(write_parquet(tmp_path / "in.parquet", columns), bundle=str(bundle.path), max_dead_fraction=0.0)
    found = numbers_of(outcome.rows(), case.labels)
    np.testing.assert_allclose(found, shown(case)[rows], rtol=0, atol=1e-6 if case.labels else 1e-5)


def test_every_trap_has_a_reason() -> None:
    assert REASONS.keys() == CASES.keys() - set(SCORED)


@pytest.mark.parametrize("name", slow_but(REASONS, ("trap_padding_mean",)))
def test_a_trap_is_refused_for_its_reason(name: str, tmp_path: Path) -> None:
    case = stored_case(name)
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in case.flags.items() if value is not True]
    output = tmp_path / "bundle"
    code, out, err = invoke("import", case.path, "--as-exported", *flags, "--name", "n", "--output", output)
    assert (code, out, err.count("\n"), REASONS[name] in err) == (2, "", 1, True), err
    assert not output.exists()


def test_a_bundle_says_whose_graph_it_has_and_keeps_the_proof_as_numbers(imports: Imported) -> None:
    bundle = imports("albert_list")
    assert (bundle.graph, bundle.engines, bundle.precisions) == (AS_EXPORTED, ("tensorflow",), ("float32",))
    assert bundle.model == {"vocab_size": 120, "max_sequence_length": 18}
    proof = bundle.quality["proof"]
    tried = ("again", "alone", "more_padding", "alone_padded", "another_batch", "reversed", "written")
    assert all(0 <= proof[name] <= 1e-5 for name in tried)
    assert (proof["rows"], proof["longest"], proof["tolerance"]) == (9, 18, 1e-5)
    assert bundle.origin["inputs"] == {"ids": "input_word_ids", "mask": "input_mask", "types": "input_type_ids"}
    assert (bundle.origin["output"], bundle.origin["outputs_are"]) == ("sentence_prediction", "logits")
    code, out, _ = invoke("inspect", bundle.path)
    assert (code, "graph" in out, "as exported" in out, "another_batch" in out) == (0, True, True, True)


def test_an_older_bundle_has_the_fused_graph() -> None:
    assert Bundle.describe(DATA / "bundles" / "regression").graph == FUSED


def test_the_precision_is_float32_on_a_gpu_too_and_another_one_is_refused(imports: Imported, tmp_path: Path) -> None:
    bundle = imports("albert_list")
    for place in (GPU, Place(device=CPU, chip=None), Place(device=None, chip=None)):
        for wanted in (None, "float32"):
            chosen = choose(bundle, wanted, place)
            assert (chosen.precision, chosen.engine) == ("float32", "tensorflow")
    assert choose_fastest(bundle, [], 0.01, GPU).precision == "float32"
    for precision in ("bfloat16", "float16", "int8"):
        with pytest.raises(ConfigError, match=f"--precision {precision}: .* network as exported, which TensorFlow"):
            check_precision(bundle, str(bundle.path), precision)
    command = ["score", "--bundle", bundle.path, "--input", "in", "--text-pair-column", "b", "--output", "out"]
    code, _, err = invoke(*command, "--date", "2026-11-21", "--precision", "bfloat16")
    assert (code, "network as exported" in err, err.count("\n")) == (2, True, 1)
    code, _, err = invoke(*command, "--date", "2026-11-21", "--embeddings", "float32")
    assert (code, "as its maker exported it; import a checkpoint" in err, err.count("\n")) == (2, True, 1), err
    rows = write_parquet(tmp_path / "in.parquet", {"id": ["1"], "text": ["a"], "b": ["b"]})
    for also in (["certify", bundle.path], ["quantize", bundle.path, "--output", tmp_path / "q"]):
        code, _, err = invoke(*also, "--input", rows, "--text-pair-column", "b")
        assert (code, "network as exported" in err, err.count("\n")) == (2, True, 1), err


def test_a_fixed_length_counts_in_every_row(imports: Imported) -> None:
    case, bundle = stored_case("fixed_length"), imports("fixed_length")
    assert bundle.model["fixed_length"] == 20
    proof = bundle.quality["proof"]
    assert (proof["alone"], proof["behind"] <= 1e-5) == (None, True)
    model = load_scorer(bundle, Compute(token_budget=60), CPU)
    lengths = np.array([len(row) for row in case.tokens])
    assert max(map(len, model.plan(lengths))) == 3
    assert model.shape(3, 5) == (3, 20)
    found = score_rows(ragged(case.tokens, case.first_segment), model)
    np.testing.assert_allclose(found.outputs, shown(case), rtol=0, atol=1e-6)
    assert (found.work.padded, found.work.tokens) == (9 * 20, int(lengths.sum()))


def test_a_genuine_export_scores_the_same_by_its_own_graph_as_by_the_fused_one(tmp_path: Path) -> None:
    """It has signatures of texts too, with a table that is filled from a file when it is loaded."""
    labels = {"labels": "bad,good,best", "lower_case": True}
    own = import_model(
        job(EXPORT, tmp_path, output=str(tmp_path / "own"), as_exported=True, outputs_are="logits", **labels)
    )
    fused = import_model(job(EXPORT, tmp_path, output=str(tmp_path / "fused"), **labels))
    assert (own.bundle.graph, fused.bundle.graph) == (AS_EXPORTED, FUSED)
    assert (own.bundle.tokenizer, own.bundle.max_tokens) == (fused.bundle.tokenizer, fused.bundle.max_tokens)
    rows = [[2, 7, 9, 3], [2, 11, 3], [2, 8, 8, 8, 8, 3]]
    np.testing.assert_allclose(scored(own.bundle, rows), scored(fused.bundle, rows), rtol=0, atol=1e-5)
    assert np.ptp(scored(own.bundle, rows), axis=0).max() > 0.05


def test_a_gpu_gets_the_same_graph(imports: Imported) -> None:
    """Where there is none the CPU computes: what is chosen for a GPU is what is compared."""
    case, bundle = stored_case("albert_list"), imports("albert_list")
    tf.config.experimental.enable_tensor_float_32_execution(True)
    model = TensorFlowScorer(bundle, Compute(), Device(kind="gpu", memory=16 << 30))
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    assert (model.precision, model.shape(3, 5)) == ("float32", (3, 5))
    found = score_rows(ragged(case.tokens, case.first_segment), model)
    np.testing.assert_allclose(found.outputs, shown(case), rtol=0, atol=1e-6)
