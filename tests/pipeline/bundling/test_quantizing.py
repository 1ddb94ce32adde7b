"""`bert-batch quantize`, and what is scored with its bundle. Every chip computes int8, some of them slowly."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import Built, with_other_weights
from support.commands import ROOT, invoke
from support.jobs import DATE, Score, many_texts, write_parquet
from support.scorers import ragged

from model.bundle import INT8, OPENVINO, Bundle, seal
from pipeline.bundling import certifying, quantizing
from pipeline.bundling.certify_job import CertifyJob, QuantizeJob
from pipeline.bundling.certifying import certify_bundle
from pipeline.bundling.quantizing import quantize_bundle
from pipeline.bundling.sealing import described
from transforms.errors import BadRowError, EngineError
from transforms.score import devices
from transforms.score.certificates.certificate import read_certificates
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines import chips, openvino_scorer
from transforms.score.engines.chips import Chip
from transforms.score.engines.choice import Place, choose_fastest, load_scorer
from transforms.score.engines.openvino_scorer import Compiled, OpenVinoScorer
from transforms.score.macro_batch import score_rows

pytestmark = pytest.mark.slow  # Quantizes networks.

CPU, VNNI = Device(kind="cpu"), Chip(kind="avx512_vnni", name="Xeon 2")
MOST = 0.2 if chips.find_chip().kind in ("amx", *chips.EIGHT_BIT) else 0.4
"""How far random weights, the worst case, may move a probability. Without VNNI sums of two products saturate at 16
bits, which is one reason why int8 is refused there."""
ROWS = [([2, *range(10, 10 + n), *range(70 - n, 70)], n) for n in range(1, 28)]


@pytest.fixture(autouse=True)
def chip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every machine of the tests has the instructions, as far as one asks."""
    for module in (chips, openvino_scorer, certifying):
        monkeypatch.setattr(module, "find_chip", lambda: VNNI)
    for module in (devices, certifying):
        monkeypatch.setattr(module, "find_device", lambda: CPU)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    rows = {"id": [f"r{i}" for i in range(600)], "text": many_texts(600)}
    return write_parquet(tmp_path / "texts.parquet", rows)


@pytest.fixture(scope="module")
def quantized(classes: Built, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("int8")
    rows = write_parquet(folder / "in.parquet", {"text": many_texts(120)})
    return quantize_bundle(
        QuantizeJob(bundle=str(classes.path), input=(str(rows),), output=str(folder / "bundle"), rows=60)
    )


def scorer(bundle: Bundle, **compute: Any) -> Any:
    return load_scorer(bundle, Compute(**{"precision": INT8, "engine": OPENVINO, **compute}), CPU)


def plain(bundle: Bundle) -> np.ndarray:
    return score_rows(ragged(ROWS), load_scorer(bundle, Compute(precision="float32"), CPU)).outputs


def test_the_new_bundle_has_all_of_the_old_one_and_names_it(quantized: Bundle, classes: Built) -> None:
    old = classes.bundle
    assert quantized.precisions == (*old.precisions, "int8")
    assert quantized.files.keys() - old.files.keys() == {"int8/model.xml", "int8/model.bin"}
    assert {name: quantized.files[name] for name in old.files} == dict(old.files)
    assert quantized.fingerprint != old.fingerprint
    assert quantized.origin == {"quantized_from": old.reference, "quantized_with_rows": 60}
    assert {"nncf", "openvino"} <= quantized.versions.keys()


def test_int8_is_near_float32_and_neighbours_and_padding_change_nothing(quantized: Bundle) -> None:
    whole = score_rows(ragged(ROWS), scorer(quantized))
    assert (whole.work.precision, whole.failed.any()) == ("int8", False)
    moved = np.abs(whole.outputs - plain(quantized)).max()
    assert 1e-5 < moved < 0.2, "float32 itself would move nothing; the weights are random"
    alone = np.concatenate([score_rows(ragged([row]), scorer(quantized)).outputs for row in ROWS])
    np.testing.assert_allclose(alone, whole.outputs, rtol=0, atol=1e-6)
    wide = Compiled(quantized.int8, INT8)
    tokens = np.zeros((len(ROWS), 64), np.int32)
    for row, (ids, _) in zip(tokens, ROWS, strict=True):
        row[: len(ids)] = ids
        row[len(ids) :] = 9
    lengths = np.array([len(ids) for ids, _ in ROWS], np.int32)
    inputs = {"tokens": tokens, "lengths": lengths, "first_segment": np.array([n for _, n in ROWS], np.int32)}
    np.testing.assert_allclose(wide(inputs, "probabilities"), whole.outputs, rtol=0, atol=1e-6)


def test_nncf_reports_nothing_to_its_makers_and_writes_nothing_on_stdout(quantized: Bundle, tmp_path: Path) -> None:
    # In a process without pytest, which NNCF takes for a reason not to report.
    rows = "Ragged(values, np.arange(0, 12, 4), np.full(2, 4, np.int32))"
    lines = (
        "import sys, numpy as np; from pathlib import Path; from transforms.score.macro_batch import Ragged",
        "from transforms.score.engines.quantize import quantize; values = np.arange(10, 18, dtype=np.int32)",
        f"quantize({quantized.scoring!r}, {rows}, Path(sys.argv[1]))",
        "from nncf.telemetry import wrapper; print(type(wrapper.telemetry).__name__)",
    )
    command = [sys.executable, "-c", "; ".join(lines), str(tmp_path / "int8")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "MagicMock\n"


def test_embeddings_in_int8_are_those_behind_its_scores(quantized: Bundle, classes: Built) -> None:
    assert quantized.embedding_width == 32
    scores = score_rows(ragged(ROWS), scorer(quantized)).outputs
    wide = score_rows(ragged(ROWS), scorer(quantized, embeddings=True)).outputs
    np.testing.assert_array_equal(wide[:, :3], scores)
    exact = load_scorer(quantized, Compute(precision="float32", embeddings=True), CPU)
    expected = score_rows(ragged(ROWS), exact).outputs[:, 3:]
    # Random weights are the worst case: numbers move far, directions hold.
    assert 0.8 < np.corrcoef(wide[:, 3:].ravel(), expected.ravel())[0, 1] < 1 - 1e-6
    logits = np.asarray(classes.classifier.classifier.out_proj(wide[:, 3:]))
    shown = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shown, scores, rtol=0, atol=MOST)
    assert np.abs(shown - scores).mean() < 0.05


def test_a_row_at_fault_fails_alone(quantized: Bundle) -> None:
    rows = [*ROWS[:4], ([2, 10**6], 1), *ROWS[4:]]
    found = score_rows(ragged(rows), scorer(quantized))
    assert np.flatnonzero(found.failed).tolist() == [4]
    np.testing.assert_allclose(
        np.delete(found.outputs, 4, 0), score_rows(ragged(ROWS), scorer(quantized)).outputs, rtol=0, atol=1e-6
    )
    with pytest.raises(BadRowError, match="not in the vocabulary"):
        scorer(quantized)(np.array([-1], np.int32), *[np.array([1], np.int32)] * 2)


def test_a_graph_that_computes_no_product_in_int8_is_no_int8(quantized: Bundle, classes: Built, tmp_path: Path) -> None:
    import openvino

    openvino.save_model(openvino.Core().read_model(classes.bundle.scoring), str(tmp_path / "model.xml"))
    with pytest.raises(EngineError, match="computes no product in int8; make the bundle anew with `quantize`"):
        Compiled(str(tmp_path / "model.xml"), INT8)
    with pytest.raises(EngineError, match="`bert-batch quantize` makes one"):
        OpenVinoScorer(classes.bundle, Compute(precision=INT8, engine=OPENVINO), CPU)


def test_a_night_in_int8_says_so_and_its_scores_are_near(
    quantized: Bundle, run_job: Score, texts: Path, tmp_path: Path
) -> None:
    found = run_job(texts, bundle=str(quantized.path), precision="int8")
    assert (found.manifest["engine"], found.manifest["precision"]) == ("openvino", "int8")
    usual = run_job(texts, bundle=str(quantized.path), output=tmp_path / "usual")
    assert usual.manifest["precision"] == "float32"
    pairs = zip(found.rows(), usual.rows(), strict=True)
    moved = [abs(a["probability"] - b["probability"]) for a, b in pairs if a["label"] == b["label"]]
    assert len(moved) > 500
    assert 0 < max(moved) < MOST


def place(kind: str) -> Place:
    return Place(device=CPU, chip=Chip(kind=kind, name="Chip 1"))


def test_a_certificate_in_int8_decides_what_is_the_fastest(quantized: Bundle, texts: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(quantized.path, tmp_path / "bundle"))
    job = {"bundle": str(bundle), "input": (str(texts),), "precision": "int8"}
    made = certify_bundle(CertifyJob(**job, max_changed_labels=0.5)).certificate
    assert (made.precision, made.engine, made.chip.kind) == ("int8", "openvino", "avx512_vnni")
    assert made.verdict == "passed"
    assert made.probabilities is not None
    assert 1e-5 < made.probabilities.largest < 0.3
    quick = made.model_copy(update={"texts_per_second": made.texts_per_second.model_copy(update={"other": 1e9})})
    taken = choose_fastest(quantized, [quick], 0.5, place("avx512_vnni"))
    assert (taken.precision, taken.engine) == ("int8", "openvino")
    refused = choose_fastest(quantized, [quick], 0.5, place("amx"))
    assert (refused.precision, "int8: Chip 1 (class amx) is not expected to gain" in refused.notes[0]) == (
        "float32",
        True,
    )


def test_int8_that_misses_has_a_certificate_that_says_failed(
    quantized: Bundle, texts: Path, tmp_path: Path, classes: Built
) -> None:
    # A graph that gives other labels: that of another model.
    other = with_other_weights(classes, tmp_path / "other", seed=11).path
    flags = ("--input", texts, "--rows", "50")
    assert invoke("quantize", other, *flags, "--output", tmp_path / "other8")[0] == 0
    bundle = Path(shutil.copytree(quantized.path, tmp_path / "bundle"))
    shutil.rmtree(bundle / "int8")
    shutil.copytree(tmp_path / "other8" / "int8", bundle / "int8")
    seal(bundle, described(Bundle.describe(bundle)))
    code, out, _ = invoke("certify", bundle, "--input", texts, "--precision", "int8")
    assert (code, "verdict   failed: more than 1.00% labels change" in out) == (3, True), out
    sealed = Bundle.load(bundle)
    (made,) = read_certificates(str(bundle), sealed, "avx512_vnni")
    assert made.verdict == "failed"
    taken = choose_fastest(sealed, [made], 0.01, place("avx512_vnni"))
    assert (taken.precision, "that of int8 in openvino failed at 1.00%" in taken.notes[0]) == ("float32", True)


def test_values_of_a_regression_are_quantized_too(regression: Built, texts: Path, tmp_path: Path) -> None:
    job = {"bundle": str(regression.path), "input": (str(texts),)}
    bundle = quantize_bundle(QuantizeJob(**job, output=str(tmp_path / "bundle"), rows=40))
    found = score_rows(ragged(ROWS), scorer(bundle)).outputs
    moved = np.abs(found - plain(bundle))
    # Random weights are the worst case.
    assert 0 < moved.mean() < MOST * np.ptp(plain(bundle))


def test_quantize_refuses_what_it_cannot_make(
    quantized: Bundle, classes: Built, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, new = tmp_path / "there", tmp_path / "new"
    there.mkdir()
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"id": "1", "text": " "}\n')
    for bundle, source, output, said in (
        (ROOT / "examples/snips/bundle", texts, new, "has no graph that OpenVINO reads, it is of an earlier version"),
        (quantized.path, texts, new, "has int8 already; give the bundle that it was made from"),
        (classes.path, texts, there, "exists; a bundle is never overwritten"),
        (classes.path, texts, "gs://bucket/new", "a bundle is made on this machine; name a folder here"),
        (classes.path, texts, classes.path / "int8", "lies in the bundle"),
        (classes.path, empty, new, "has no row with a text in column 'text'"),
    ):
        code, out, err = invoke("quantize", bundle, "--input", source, "--output", output)
        assert (code, out, said in err, err.count("\n")) == (2, "", True, 1), err
        assert not new.exists()
    monkeypatch.setattr(quantizing, "is_installed", lambda: False)
    code, _, err = invoke("quantize", classes.path, "--input", texts, "--output", new)
    assert (code, "needs NNCF, which is not installed; pip install 'bert-batch[quantize]'" in err) == (2, True)


def test_a_bundle_without_int8_names_the_command_that_makes_it(classes: Built, texts: Path, tmp_path: Path) -> None:
    job = ("--bundle", classes.path, "--input", texts, "--output", tmp_path / "out", "--date", DATE)
    for command in (("score", *job), ("certify", classes.path, "--input", texts)):
        code, _, err = invoke(*command, "--precision", "int8")
        assert (code, "has float32, bfloat16, float16 only; `bert-batch quantize` makes one" in err) == (2, True), err
    assert "int8" not in json.loads((classes.path / "bundle.json").read_text())["precisions"]
