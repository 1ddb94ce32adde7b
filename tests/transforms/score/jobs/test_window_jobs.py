"""Whole jobs with the windows of transformers, through import and score."""

import datetime as dt
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.checkpoints.imports import job
from support.commands import DATA, invoke
from support.jobs import NOW, Outcome, Score, write_parquet
from support.scorers import windowed

from model.bundle import Bundle
from pipeline.bundling.certify_job import CertifyJob
from pipeline.bundling.certifying import read_tokens
from pipeline.bundling.importing import import_model
from pipeline.jobs.config import described
from transforms.featurize.step import TransformGraph
from transforms.read.plan_files import plan_inputs
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.choice import load_scorer
from transforms.score.windows import one_by_one, score_texts

KIN = DATA / "hf_kin"
OWN = ("windows", "deciding_window", "window_first_token")


Imported = Callable[..., Bundle]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """The bundles of cases, each imported once."""

    @functools.cache
    def make(case: str, how: str = "windows") -> Bundle:
        length = stored(case, "windows.json")["max_length"]
        given: dict[str, Any] = {"max_tokens": length, "long_texts": how}
        if how == "windows":
            by, which = WHOLE[case]
            given |= {"windows_by": by, "stride": strides(case)[which]}
        if case == "electra_one_output":
            given["activation"] = "sigmoid"
        return import_model(job(KIN / case / "model", tmp_path_factory.mktemp(case), **given)).bundle

    return make


def stored(case: str, name: str) -> Any:
    return json.loads((KIN / case / name).read_text(encoding="utf-8"))


def cuts(case: str, stride: int) -> list[tuple[str, list[list[int]], np.ndarray]]:
    """Texts, their windows, and the logits of these, as transformers gives them."""
    texts = stored(case, "texts.json")
    found = stored(case, "windows.json")["cuts"]
    return [(texts[c["text"]], c["windows"], np.array(c["logits"], np.float64)) for c in found if c["stride"] == stride]


def wide_softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def wide_sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def listed(row: dict[str, Any], labels: tuple[str, ...]) -> list[float]:
    by_label = {entry["label"]: entry["probability"] for entry in row["probabilities"]}
    return [by_label[label] for label in labels]


def strides(case: str) -> list[int]:
    return sorted({cut["stride"] for cut in stored(case, "windows.json")["cuts"]})


def scored(run_job: Score, bundle: Bundle, texts: list[str], tmp_path: Path, **settings: Any) -> Outcome:
    rows = {"id": [str(i) for i in range(len(texts))], "text": texts}
    return run_job(write_parquet(tmp_path / "in.parquet", rows), bundle=str(bundle.path), **settings)


WHOLE = {
    "electra_cls3_projected": ("mean", 1),
    "distilbert_cls2": ("max", 1),
    "distilbert_multi4": ("max", 1),
    "electra_cls3_same": ("max", 0),
    "bert_multi5": ("mean", 1),
    "distilbert_reg1": ("mean", 1),
    "electra_one_output": ("mean", 0),
}
"""Case -> how its windows are folded, and which of the two strides that are stored."""


QUICK = ("electra_cls3_projected", "distilbert_cls2", "distilbert_multi4")


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in WHOLE]
)
def test_windows_score_as_transformers_scores_each(
    case: str, run_job: Score, imported: Imported, tmp_path: Path
) -> None:
    by, which = WHOLE[case]
    stride, bundle = strides(case)[which], imported(case)
    assert bundle.long_texts == {"how": "windows", "stride": stride, "by": by, "max_windows": 256}
    found = cuts(case, stride)
    short = next(t for t, ids in zip(*texts_with_ids(case), strict=True) if t.strip() and len(ids) < 10)
    outcome = scored(run_job, bundle, [*(text for text, _, _ in found), short], tmp_path, max_dead_fraction=0.0)
    rows = {int(row["id"]): row for row in outcome.rows()}
    step = bundle.max_tokens - 2 - stride
    for number, (_, windows, logits) in enumerate(found):
        row, shares = rows[number], wide_softmax(logits)
        assert (row["windows"], row["truncated"], row["token_count"]) == (len(windows), False, sum(map(len, windows)))
        deciding = None
        if bundle.task == "regression":
            value = logits.mean()
            np.testing.assert_allclose(row["value"], wide_sigmoid(value) if "one" in case else value, rtol=0, atol=1e-5)
        elif bundle.task == "multilabel":
            expected = wide_sigmoid(logits.mean(axis=0) if by == "mean" else logits.max(axis=0))
            np.testing.assert_allclose(listed(row, bundle.labels), expected, rtol=0, atol=2e-6)
        elif by == "mean":
            expected = wide_softmax(logits.mean(axis=0))
            np.testing.assert_allclose(listed(row, bundle.labels), expected, rtol=0, atol=2e-6)
            deciding = int(shares[:, expected.argmax()].argmax())
        else:
            deciding = int(shares.max(axis=1).argmax())
            np.testing.assert_allclose(listed(row, bundle.labels), shares[deciding], rtol=0, atol=2e-6)
        if deciding is None:
            assert (row["deciding_window"], row["window_first_token"]) == (None, None)
        else:
            # Windows of one repeated word are equal: then the first of them decides.
            same = [w for w in range(len(windows)) if np.allclose(shares[w], shares[deciding], atol=1e-6)]
            assert row["deciding_window"] in same
            assert row["window_first_token"] == row["deciding_window"] * step
    alone = rows[len(found)]
    assert alone["windows"] == 1
    assert alone["deciding_window"] == (0 if bundle.task == "classification" else None)


def texts_with_ids(case: str) -> tuple[list[str], list[list[int]]]:
    return stored(case, "texts.json"), stored(case, "ids.json")["input_ids"]


def test_a_text_that_fits_scores_as_without_windows(run_job: Score, imported: Imported, tmp_path: Path) -> None:
    case = "distilbert_cls2"
    ids = stored(case, "ids.json")
    texts = [t for t, cut in zip(stored(case, "texts.json"), ids["truncated"], strict=True) if t.strip() and not cut]
    plain = scored(run_job, imported(case, "cut"), texts, tmp_path, output=tmp_path / "plain")
    found = scored(run_job, imported(case), texts, tmp_path)
    assert len(texts) > 20
    assert not set(OWN) & plain.rows()[0].keys()
    for row, wanted in zip(by_id(found), by_id(plain), strict=True):
        assert {key: row[key] for key in ("label", "token_count", "truncated")} == {
            key: wanted[key] for key in ("label", "token_count", "truncated")
        }
        assert row["probability"] == pytest.approx(wanted["probability"], abs=1e-6)
        assert [row[name] for name in OWN] == [1, 0, 0]
    assert not {"windows", "windows_computed"} & plain.manifest["work"].keys()
    assert found.manifest["work"]["windows"] == len(texts)


def by_id(outcome: Outcome) -> list[dict[str, Any]]:
    return sorted(outcome.rows(), key=lambda row: int(row["id"]))


def test_too_many_windows_the_byte_limit_first_and_windows_that_texts_share(
    run_job: Score, imported: Imported, tmp_path: Path
) -> None:
    bundle = imported("distilbert_cls2")
    room, step = 22, 18
    # Each text one token shorter or longer than so many windows hold.
    words = [room, room + 2 * step, room + 255 * step, room + 255 * step + 1, 20_000, 2, room + 2 * step - 1]
    texts = [" ".join(["a"] * count) for count in words]
    outcome = scored(run_job, bundle, texts, tmp_path, max_text_bytes=2 * (room + 256 * step))
    assert outcome.codes() == {"3": "too_many_windows", "4": "text_too_long"}
    windows = {"0": 1, "1": 3, "2": 256, "5": 1, "6": 3}
    assert {row["id"]: row["windows"] for row in outcome.rows()} == windows
    work = outcome.manifest["work"]
    # A full window, one of two words, and one that lacks a word.
    assert (work["windows"], work["windows_computed"]) == (sum(windows.values()), 3)
    assert work["scored"] + work["copied"] + work["remembered"] == 5
    dead = {row["id"]: row for row in outcome.dead()}
    assert dead["3"]["stage"] == "Featurize"
    assert "--max-windows" in dead["3"]["reason"]


def test_unchanged_texts_keep_what_their_windows_made(run_job: Score, imported: Imported, tmp_path: Path) -> None:
    bundle = imported("electra_cls3_projected")
    texts = [text for text, _, _ in cuts("electra_cls3_projected", 7)] + ["short", "another"]
    first = scored(run_job, bundle, texts, tmp_path, keep_text_digests=True)
    later = {"only_new": True, "now": NOW + dt.timedelta(days=1), "date": "2026-11-22"}
    again = replace(scored(run_job, bundle, [*texts[:-1], "is new"], tmp_path, **later), date="2026-11-22")
    assert (again.verdict.counts["scored"], again.verdict.counts["skipped"]) == (1, len(texts) - 1)
    own = ("label", "probability", "token_count", *OWN)
    before = [[row[name] for name in own] for row in by_id(first)[:-1]]
    assert [[row[name] for name in own] for row in by_id(again)[:-1]] == before
    assert by_id(again)[-1]["windows"] == 1
    (file,) = again.manifest["files"][:1]
    schema = pq.read_schema(again.output / file["path"])
    assert all((schema.field(name).type, schema.field(name).nullable) == (pa.int32(), True) for name in OWN)


@pytest.mark.parametrize(("case", "by"), [("electra_cls3_projected", "mean"), ("distilbert_cls2", "max")])
def test_the_embedding_of_a_text_comes_from_those_of_its_windows(
    case: str, by: str, run_job: Score, imported: Imported, tmp_path: Path
) -> None:
    bundle = imported(case)
    texts = [text for text, _, _ in cuts(case, strides(case)[1])]
    rows = by_id(scored(run_job, bundle, texts, tmp_path, embeddings="float32"))
    plain = by_id(scored(run_job, bundle, texts, tmp_path, output=tmp_path / "plain"))
    model = load_scorer(bundle, Compute(embeddings=True), Device(kind="cpu"))
    graph = TransformGraph(str(bundle.path), windows=True)
    tokens = graph(np.array([text.encode() for text in texts], object))
    assert tokens.windows is not None
    assert tokens.ends is not None
    windows = np.split(tokens.values, np.cumsum(tokens.windows)[:-1])
    for number, (row, without) in enumerate(zip(rows, plain, strict=True)):
        assert row["probability"] == pytest.approx(without["probability"], abs=1e-6)
        own = windows[tokens.ends[number] : tokens.ends[number + 1]]
        each = [model(w, np.int32([len(w)]), np.int32([len(w)]))[0, model.classes :] for w in own]
        expected = np.mean(each, axis=0) if by == "mean" else each[row["deciding_window"]]
        np.testing.assert_allclose(row["embedding"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("how", [pytest.param("tail", marks=pytest.mark.slow), "head-tail"])
def test_the_tokens_are_scored_that_stay(how: str, run_job: Score, imported: Imported, tmp_path: Path) -> None:
    case = "distilbert_cls2"
    words = ["a", "b", "c", "d", "e", "f", "g", "h"]
    long = [" ".join(np.random.default_rng(seed).choice(words, 61)) for seed in range(5)]
    room = 22
    kept = {"tail": lambda w: w[-room:], "head-tail": lambda w: w[: room // 2 + room % 2] + w[-(room // 2) :]}
    bundle = imported(case, how)
    assert (bundle.long_texts, bundle.windows) == ({"how": how}, False)
    found = scored(run_job, bundle, long, tmp_path)
    short = [" ".join(kept[how](text.split())) for text in long]
    wanted = scored(run_job, imported(case, "cut"), short, tmp_path, output=tmp_path / "cut")
    assert not set(OWN) & found.rows()[0].keys()
    for row, other in zip(by_id(found), by_id(wanted), strict=True):
        assert row["probability"] == pytest.approx(other["probability"], abs=1e-6)
        assert (row["truncated"], other["truncated"], row["token_count"]) == (True, False, room + 2)


REFUSED = [
    (["--long-texts", "tail", "--segments", "2"], "--long-texts tail: long texts are 'tail', and a row is a pair"),
    (["--long-texts", "windows", "--stride", "22"], "--stride 22: windows of 24 tokens hold 22 of the text"),
    (["--stride", "3"], "--stride is for --long-texts windows, and long texts are cut here"),
    (["--long-texts", "tail", "--max-windows", "3"], "--max-windows is for --long-texts windows"),
]


@pytest.mark.parametrize(("flags", "message"), REFUSED)
def test_what_cannot_be_is_refused_at_import(flags: list[str], message: str, tmp_path: Path) -> None:
    command = ["import", KIN / "distilbert_cls2" / "model", "--output", tmp_path / "bundle", "--name", "n", *flags]
    code, out, err = invoke(*command)
    assert (code, out, message in err) == (2, "", True), err
    assert not (tmp_path / "bundle").exists()


def test_no_window_of_a_regression_is_the_surest(tmp_path: Path) -> None:
    flags = ["--long-texts", "windows", "--windows-by", "max"]
    command = ["import", KIN / "distilbert_reg1" / "model", "--output", tmp_path / "bundle", "--name", "n", *flags]
    code, _, err = invoke(*command)
    assert (code, "--windows-by max: this is a regression" in err) == (2, True), err


def test_tokens_of_windows_are_read_for_a_certificate(imported: Imported, tmp_path: Path) -> None:
    bundle = imported("distilbert_cls2")
    texts = ["a b", " ".join(["a"] * 50), " ".join(["b"] * 22)]
    file = write_parquet(tmp_path / "in.parquet", {"text": texts})
    wanted = described(CertifyJob, {"bundle": str(bundle.path), "input": [str(file)]})
    found = read_tokens(plan_inputs(wanted.input, wanted.columns(bundle.task)), bundle, 10).ragged
    assert found.windows is not None
    assert (found.windows.counts.tolist(), found.windows.lengths.tolist()) == ([1, 3, 1], [4, 24, 24, 16, 24])
    alone = one_by_one(found.take(np.array([1])))
    assert (np.diff(alone.offsets).tolist(), alone.first_segment.tolist()) == ([24, 24, 16], [24, 24, 16])


def test_every_engine_gives_the_logits_of_windows(imported: Imported) -> None:
    bundle = imported("distilbert_multi4")
    assert bundle.max_tokens == 24
    windows = [[[2, 11, 12, 3], [2, 13, 3], [2, 14, 15, 16, 3]], [[2, 20, 3]]]
    cpu = Device(kind="cpu")
    plain, other = (
        score_texts(windowed(windows), load_scorer(bundle, Compute(precision="float32", engine=engine), cpu))
        for engine in ("tensorflow", "openvino")
    )
    np.testing.assert_allclose(plain.outputs, other.outputs, rtol=0, atol=1e-6)
    # Of several labels the largest of all windows, each with a sigmoid of its own.
    alone = [score_texts(windowed([[window]]), load_scorer(bundle, Compute(), cpu)).outputs[0] for window in windows[0]]
    np.testing.assert_allclose(plain.outputs[0], np.max(alone, axis=0), rtol=0, atol=1e-6)
    assert len({int(np.argmax(column)) for column in np.array(alone).T}) > 1, "one window has them all"
