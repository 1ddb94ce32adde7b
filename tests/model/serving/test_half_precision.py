"""The signatures in half precision: close to float32, with the same label wherever it is not a close call."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.bundles import Built
from support.checkpoints.networks import CASES, CONFIG, random_rows
from support.commands import ROOT
from support.jobs import Score, many_texts, write_parquet

from model.bundle import OPENVINO, TENSORFLOW, seal
from model.network.classifier import build_classifier
from model.serving.fused_layers import XLA, Form, LayerNorm
from model.serving.scoring_graph import COMPILED, PRECISIONS, ScoringGraph
from pipeline.errors import ConfigError
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.chips import BFLOAT16, find_chip
from transforms.score.engines.choice import load_scorer
from transforms.score.macro_batch import Ragged, score_rows

pytestmark = pytest.mark.slow  # Graphs in three precisions, each compiled.

LENGTHS = [16, 3, 9, 9, 1, 16, 2, 5]


def signatures(path: Path) -> tuple[object, dict[str, object]]:
    loaded = tf.saved_model.load(str(path))
    return loaded, dict(loaded.signatures)


TOLERANCE = {"float16": 1e-2, "bfloat16": 4e-2}
"""bfloat16 has three bits less; the oracle's tiny random models are far livelier than trained ones."""


def assert_close(found: np.ndarray, expected: np.ndarray, precision: str) -> None:
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[precision])
    ranked = np.sort(expected, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 2 * TOLERANCE[precision]
    assert clear.any()
    np.testing.assert_array_equal(found.argmax(axis=1)[clear], expected.argmax(axis=1)[clear])


@pytest.mark.parametrize("case", [case for case, (classes, _) in CASES.items() if classes > 1])
def test_probabilities_are_close_and_clear_labels_the_same(case: str, exports: Callable[..., Path]) -> None:
    _, signature = signatures(exports(case, whole=True))
    flat, padded = random_rows(LENGTHS, seed=5)
    expected = signature["score"](**flat)["probabilities"].numpy()
    assert_close(signature["score_bfloat16"](**flat)["probabilities"].numpy(), expected, "bfloat16")
    rows = {**flat, "tokens": tf.constant(padded["input_word_ids"])}
    for precision in COMPILED:
        found = signature[f"compiled_{precision}"](**rows)
        assert_close(found["probabilities"].numpy(), expected, precision)
        assert found["logits"].dtype == tf.float32


def test_a_regression_has_the_signatures_too(exports: Callable[..., Path]) -> None:
    _, signature = signatures(exports("reg1_pooler_v1", whole=True))
    flat, padded = random_rows(LENGTHS, seed=6)
    expected = signature["score"](**flat)["value"].numpy()
    rows = {**flat, "tokens": tf.constant(padded["input_word_ids"])}
    compiled = [signature[f"compiled_{precision}"](**rows) for precision in COMPILED]
    for outputs in (signature["score_bfloat16"](**flat), *compiled):
        np.testing.assert_allclose(outputs["value"], expected, rtol=3e-2, atol=3e-2)


def test_padding_and_spare_rows_change_nothing(tmp_path: Path) -> None:
    ScoringGraph.from_classifier(build_classifier(CONFIG, 3), CONFIG).export(tmp_path)
    _, signature = signatures(tmp_path)
    flat, padded = random_rows(LENGTHS, seed=7)
    words = padded["input_word_ids"]
    lengths, first = flat["lengths"].numpy(), flat["first_segment"].numpy()
    alone = signature["compiled_bfloat16"](tokens=words, lengths=lengths, first_segment=first)["logits"].numpy()
    wide = np.pad(words, ((0, 4), (0, 0)))
    spare = [np.pad(array, (0, 4), constant_values=1) for array in (lengths, first)]
    more = signature["compiled_bfloat16"](tokens=wide, lengths=spare[0], first_segment=spare[1])["logits"].numpy()
    np.testing.assert_allclose(more[: len(LENGTHS)], alone, atol=1e-2)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_rows_as_long_as_the_positions_are_scored_in_wider_static_shapes(precision: str, tmp_path: Path) -> None:
    """No static width is 18: such rows get 20, and the table of positions ends at 18."""
    config = CONFIG.replace(max_sequence_length=18)
    graph = ScoringGraph.from_classifier(build_classifier(config, 3), config)
    graph.export(tmp_path / "scoring")
    about = {"name": "t", "task": "classification", "labels": list("abc"), "max_tokens": 18, "segments": 1}
    about |= {"model": config.to_dict(), "precisions": list(PRECISIONS), "created": ""}
    bundle = seal(tmp_path, about | {key: {} for key in ("tokenizer", "quality", "baseline", "origin", "versions")})
    # On a device that is no CPU bfloat16 is compiled too.
    model = load_scorer(bundle, Compute(precision=precision, token_budget=512), Device(kind="gpu", memory=2**34))
    flat, _ = random_rows([18, 17, 5, 18], seed=8)
    values, lengths, first = (flat[name].numpy() for name in ("tokens", "lengths", "first_segment"))
    found = score_rows(Ragged(values, np.append(0, lengths.cumsum()), first), model)
    assert not found.failed.any()
    np.testing.assert_allclose(found.outputs, graph.score(**flat)["probabilities"], atol=TOLERANCE[precision])
    too_long = Ragged(np.ones(22, np.int32), np.array([0, 19, 22]), np.array([19, 3], np.int32))
    assert score_rows(too_long, model).failed.tolist() == [True, False]


@pytest.mark.parametrize("runtime", [TENSORFLOW, XLA, OPENVINO])
@pytest.mark.parametrize("offset", [0, 100, 1_000])
def test_a_norm_is_exact_where_the_mean_is_large_against_the_spread(offset: int, runtime: str) -> None:
    rows = (np.random.default_rng(1).standard_normal((64, 128)) + offset).astype(np.float32)
    norm = LayerNorm({"n/gamma": np.ones(128, np.float32), "n/beta": np.zeros(128, np.float32)}, "n")
    run = tf.function(lambda given: norm(given, Form(runtime=runtime)), jit_compile=runtime == XLA)
    exact = rows.astype(np.float64)
    expected = (exact - exact.mean(axis=1, keepdims=True)) / exact.std(axis=1, keepdims=True)
    np.testing.assert_allclose(run(tf.constant(rows)), expected, atol=1e-5 + 1e-6 * offset)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_job_can_force_a_precision_and_its_manifest_says_so(precision: str, run_job: Score, tmp_path: Path) -> None:
    texts = many_texts(300)
    file = write_parquet(tmp_path / "in.parquet", {"id": [str(i) for i in range(300)], "text": texts})
    plain, half = (run_job(file, output=tmp_path / name, precision=name) for name in ("auto", precision))
    assert (plain.manifest["work"]["precision"], half.manifest["work"]["precision"]) == ("float32", precision)
    by_id = {row["id"]: row for row in half.rows()}
    for row in plain.rows():
        found = by_id[row["id"]]
        expected = {p["label"]: p["probability"] for p in row["probabilities"]}
        assert {p["label"]: p["probability"] for p in found["probabilities"]} == pytest.approx(
            expected, abs=TOLERANCE[precision]
        )
    # Compiled micro-batches have few shapes.
    same = half.manifest["padding_factor"] == plain.manifest["padding_factor"]
    assert same == (precision == "bfloat16")


def test_a_precision_that_the_bundle_lacks_is_refused_before_anything_runs(
    run_job: Score, classes: Built, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(classes.path, tmp_path / "old"))
    description = json.loads((old / "bundle.json").read_text()) | {"precisions": ["float32"]}
    seal(old, {key: value for key, value in description.items() if key not in ("format", "files", "fingerprint")})
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["play"]})
    with pytest.raises(ConfigError, match=r"--precision float16: .*old has float32 only"):
        run_job(file, bundle=str(old), precision="float16")
    assert run_job(file, bundle=str(old)).manifest["work"]["precision"] == "float32"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_trained_model_gives_the_same_within_hundredths(precision: str, run_job: Score, tmp_path: Path) -> None:
    # Without instructions for bfloat16, sums are rounded more often: measured 0.024 on a chip with AVX2 alone.
    most = 4e-2 if precision == "bfloat16" and find_chip().kind not in BFLOAT16 else 1e-2
    snips = ROOT / "examples" / "snips"
    settings = {"bundle": str(snips / "bundle"), "keep": "none"}
    jobs = [
        run_job(snips / "validation.parquet", output=tmp_path / name, precision=name, **settings)
        for name in ("float32", precision)
    ]
    plain, half = ({row["id"]: row for row in job.rows()} for job in jobs)
    assert len(plain) == len(half) == 700
    for name, row in plain.items():
        expected = {p["label"]: p["probability"] for p in row["probabilities"]}
        assert {p["label"]: p["probability"] for p in half[name]["probabilities"]} == pytest.approx(expected, abs=most)
        best, second = sorted(expected.values())[-1:-3:-1]
        assert half[name]["label"] == row["label"] or best - second <= 2 * most
