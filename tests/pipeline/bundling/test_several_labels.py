"""Bundles that give any number of labels: as their maker gives the probabilities, and what is published of them."""

import datetime as dt
import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from support.checkpoints.imports import hugging_face, job
from support.commands import DATA, invoke
from support.jobs import NOW, Score, write_parquet
from support.scorers import COLUMNS

from model.bundle import FORMAT, Bundle, BundleError, seal
from pipeline.bundling.importing import import_model
from pipeline.bundling.sealing import described
from pipeline.errors import ConfigError
from pipeline.terminal.summary import left_out
from transforms.batches.score_columns import scores_schema
from transforms.bigquery.fields import SCORES, table_fields
from transforms.outputs.drift.bounds import FEWEST_ROWS
from transforms.outputs.drift.record import OF_THRESHOLDS
from transforms.runs.labelling import Labelling
from transforms.score.certificates.measure import changed_labels
from transforms.score.label import _classes

KIN = DATA / "hf_kin"
CASES = ("bert_multi5", "distilbert_multi4")


def kept(case: str) -> tuple[list[int], list[str], np.ndarray]:
    """Rows with a text, their texts, and the sigmoids that their maker gives."""
    texts = json.loads((KIN / case / "texts.json").read_text(encoding="utf-8"))
    rows = [i for i, text in enumerate(texts) if text.strip()]
    logits = np.load(KIN / case / "logits.npy")[rows]
    return rows, [texts[i] for i in rows], tf.sigmoid(logits).numpy()


Imported = Callable[[str], Bundle]


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory, every_precision: None) -> Imported:
    """The bundles of cases, each imported once."""

    @functools.cache
    def imported(case: str) -> Bundle:
        length = json.loads((KIN / case / "ids.json").read_text())["max_length"]
        return import_model(job(KIN / case / "model", tmp_path_factory.mktemp(case), max_tokens=length)).bundle

    return imported


@pytest.fixture
def imported(imports: Imported, tmp_path: Path) -> Imported:
    """A copy for one test."""
    return lambda case: Bundle.load(shutil.copytree(imports(case).path, tmp_path / "bundle"))


def file_of(texts: list[str], path: Path) -> Path:
    return write_parquet(path, {"id": [str(i) for i in range(len(texts))], "text": texts})


def listed(row: dict[str, Any], column: str) -> list[tuple[str, float]]:
    return [(entry["label"], entry["probability"]) for entry in row[column]]


@pytest.mark.parametrize("case", CASES)
def test_each_label_has_its_own_probability_as_transformers_gives_it(
    case: str, run_job: Score, imported: Imported, tmp_path: Path
) -> None:
    bundle = imported(case)
    assert (bundle.task, bundle.activation, bundle.format) == ("multilabel", "sigmoid", FORMAT)
    assert bundle.thresholds == (0.5,) * len(bundle.labels)
    _, texts, expected = kept(case)
    outcome = run_job(file_of(texts, tmp_path / "in.parquet"), bundle=str(bundle.path), max_dead_fraction=0.0)
    assert outcome.verdict.status == "published"
    counts = []
    for row in outcome.rows():
        assert row.keys() & {"label", "probability", "value"} == set()
        wanted = expected[int(row["id"])]
        found = dict(listed(row, "probabilities"))
        np.testing.assert_allclose([found[label] for label in bundle.labels], wanted, rtol=0, atol=1e-6)
        ranked = [p for _, p in listed(row, "probabilities")]
        assert ranked == sorted(ranked, reverse=True)
        assert listed(row, "labels") == [(label, p) for label, p in listed(row, "probabilities") if p >= 0.5]
        counts.append(len(row["labels"]))
    assert len({*counts}) > 1, "some texts have more labels than others"
    assert abs(float(expected.sum(axis=1).mean()) - 1) > 0.1, "a softmax would sum to 1"


def test_labels_are_never_cut_and_a_threshold_of_the_job_overrides(
    run_job: Score, imported: Imported, tmp_path: Path
) -> None:
    bundle = imported("bert_multi5")
    _, texts, expected = kept("bert_multi5")
    file = file_of(texts, tmp_path / "in.parquet")
    given = {"bundle": str(bundle.path), "top_k": 1}
    whole = run_job(file, threshold=0.0, output=tmp_path / "all", **given)
    assert all((len(row["labels"]), len(row["probabilities"])) == (5, 1) for row in whole.rows())
    none = run_job(file, threshold=1.0, output=tmp_path / "none", **given)
    assert all(row["labels"] == [] for row in none.rows())
    middle = float(np.median(expected))
    some = run_job(file, threshold=middle, output=tmp_path / "some", **given)
    for row in some.rows():
        wanted = [
            bundle.labels[i] for i in np.argsort(-expected[int(row["id"])]) if expected[int(row["id"]), i] > middle
        ]
        assert [label for label, _ in listed(row, "labels")][: len(wanted)] == wanted


def test_each_label_has_the_threshold_of_its_bundle(run_job: Score, imported: Imported, tmp_path: Path) -> None:
    bundle = imported("bert_multi5")
    folder = Path(shutil.copytree(bundle.path, tmp_path / "other"))
    thresholds = [0.0, 1.0, 0.45, 0.5, 0.55]
    seal(folder, {**described(bundle), "thresholds": thresholds})
    _, texts, expected = kept("bert_multi5")
    outcome = run_job(file_of(texts, tmp_path / "in.parquet"), bundle=str(folder))
    for row in outcome.rows():
        given = {label for label, _ in listed(row, "labels")}
        wanted = {
            label for label, p, t in zip(bundle.labels, expected[int(row["id"])], thresholds, strict=True) if p >= t
        }
        assert given == wanted


def test_labels_given_by_another_threshold_are_not_compared_with_the_baseline(
    run_job: Score, imported: Imported, tmp_path: Path
) -> None:
    bundle = imported("bert_multi5")
    texts = [f"{text} {number}" for number in range(9) for text in kept("bert_multi5")[1]]
    given = {"input": file_of(texts, tmp_path / "in.parquet"), "bundle": str(bundle.path)}
    summary = run_job(**given, output=tmp_path / "validation").manifest["summary"]
    assert summary["rows"] == len(texts) >= FEWEST_ROWS
    seal(bundle.path, {**described(bundle), "baseline": {"rows": len(texts), "summary": summary}})

    def compared(**settings: Any) -> tuple[set[str], list[str]]:
        manifest = run_job(**given, **settings).manifest
        return {*manifest["drift"]["baseline"]}, list(left_out(manifest))

    whole, nothing = compared()
    assert ({*OF_THRESHOLDS, "probability"} <= whole, nothing) == (True, [])
    assert compared(threshold=0.5) == (whole, [])
    some, (sentence,) = compared(threshold=0.4)
    assert some == whole - {*OF_THRESHOLDS}
    assert sentence.startswith("label, labels_given, margin are not compared with the baseline")


def test_unchanged_texts_keep_their_labels_and_another_threshold_scores_anew(
    run_job: Score, imported: Imported, tmp_path: Path
) -> None:

    bundle = imported("bert_multi5")
    _, texts, _ = kept("bert_multi5")
    file = file_of(texts, tmp_path / "in.parquet")
    first = run_job(file, bundle=str(bundle.path), keep_text_digests=True)
    later = {"bundle": str(bundle.path), "only_new": True, "now": NOW + dt.timedelta(days=1), "date": "2026-11-22"}
    again = replace(run_job(file, **later), date="2026-11-22")
    assert (again.verdict.counts["scored"], again.verdict.counts["skipped"]) == (0, len(texts))
    before = {row["id"]: (row["labels"], row["probabilities"]) for row in first.rows()}
    assert {row["id"]: (row["labels"], row["probabilities"]) for row in again.rows()} == before
    other = run_job(file, threshold=0.4, **{**later, "date": "2026-11-23"})
    assert other.verdict.counts["skipped"] == 0


def test_the_flag_is_refused_where_texts_have_one_label(run_job: Score, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--threshold 0\.3: .* is a classification; the flag is for bundles"):
        run_job(file_of(["x"], tmp_path / "in.parquet"), threshold=0.3)


def test_a_table_has_a_repeated_record_of_labels(tmp_path: Path) -> None:

    fields = {field["name"]: field for field in table_fields(scores_schema(pa.schema([]), "multilabel"), SCORES)}
    assert fields.keys() & {"label", "probability", "value"} == set()
    assert (fields["labels"]["mode"], fields["labels"]["type"]) == ("REPEATED", "RECORD")
    assert [(f["name"], f["type"], f["mode"]) for f in fields["labels"]["fields"]] == [
        ("label", "STRING", "REQUIRED"),
        ("probability", "FLOAT", "REQUIRED"),
    ]


def test_a_model_of_which_nothing_is_said_has_one_label_unless_the_flag_says_several(tmp_path: Path) -> None:
    folder = hugging_face(tmp_path)
    assert import_model(job(folder, tmp_path)).bundle.task == "classification"
    done = import_model(job(folder, tmp_path, task="multilabel", output=str(tmp_path / "several")))
    assert (done.bundle.task, done.bundle.activation) == ("multilabel", "sigmoid")
    assert any("multilabel as asked" in note for note in done.bundle.origin["notes"])
    with pytest.raises(ConfigError, match=r"--task classification: .* which is a multilabel"):
        import_model(job(KIN / "bert_multi5" / "model", tmp_path, task="classification", output=str(tmp_path / "x")))
    with pytest.raises(ConfigError, match=r"--task multilabel: .* has 1 outputs, which is a regression"):
        import_model(job(KIN / "electra_one_output" / "model", tmp_path, task="multilabel", output=str(tmp_path / "x")))


def test_a_certificate_counts_texts_whose_labels_are_others(imported: Imported, tmp_path: Path) -> None:
    plain = np.array([[0.6, 0.2], [0.4, 0.9], [0.49, 0.1], [0.7, 0.7]], np.float32)
    other = np.array([[0.51, 0.3], [0.4, 0.4], [0.5, 0.1], [np.nan, 0.7]], np.float32)
    assert changed_labels(plain, other, (0.5, 0.5)).labels == 3
    assert changed_labels(plain, other, (0.3, 0.95)).labels == 1
    assert changed_labels(plain, plain, (0.5, 0.5)).labels == 0
    bundle = imported("bert_multi5")
    _, texts, _ = kept("bert_multi5")
    file = file_of(texts, tmp_path / "in.parquet")
    code, out, err = invoke("certify", bundle.path, "--input", file)
    assert (code, "labels" in out) == (3, True), err
    code, _, err = invoke("certify", bundle.path, "--input", file, "--label-column", "id")
    assert (code, "gives several labels a text, and is certified without right ones" in err) == (2, True)


def test_a_bundle_has_one_threshold_a_label(imported: Imported, tmp_path: Path) -> None:
    bundle = imported("bert_multi5")
    for thresholds, message in (
        ([0.5] * 4, "has 4 thresholds, which is not one a label"),
        ([0.5] * 4 + [2.0], "is no de"),
    ):
        with pytest.raises(BundleError, match=message):
            seal(bundle.path, {**described(bundle), "thresholds": thresholds})


@given(st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1), st.data())
def test_labels_and_probabilities_are_what_a_plain_loop_gives(rows: list[list[float]], data: st.DataObject) -> None:

    thresholds = tuple(data.draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=3, max_size=3)))
    top_k = data.draw(st.sampled_from([None, 1, 2, 3]))
    labels = ("a", "b", "c")
    nothing: Any = None
    labelling = Labelling(labels=labels, columns=COLUMNS, run=nothing, top_k=top_k, thresholds=thresholds)
    numbers = np.array(rows, np.float32)
    found = {name: column.to_pylist() for name, column in _classes(numbers, labelling)[0].items()}
    for row, given_, listed_ in zip(numbers, found["labels"], found["probabilities"], strict=True):
        ranked = sorted(range(3), key=lambda i: -row[i])
        entries = [{"label": labels[i], "probability": row[i]} for i in ranked]
        assert listed_ == entries[: top_k or 3]
        assert given_ == [e for i, e in zip(ranked, entries, strict=True) if row[i] >= np.float32(thresholds[i])]
