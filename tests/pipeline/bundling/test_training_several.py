"""Training on texts with any number of labels: the same rows in every format, and what is refused."""

import json
import random
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.commands import invoke
from support.files.learned import labels_and_codes
from support.jobs import Score, write_parquet

from model.training.examples import Examples
from model.training.thresholds import fit_thresholds, several_metrics
from pipeline.bundling.labelled_rows import check_labels, dropped_rows
from pipeline.bundling.training import train
from pipeline.bundling.training_job import TrainingJob, plan_rows, training_job
from pipeline.errors import ConfigError
from transforms.batches.schemas import REJECTED
from transforms.batches.texts import split_labels
from transforms.errors import PlanError
from transforms.featurize.examples import RowsRead

WORDS = {"sport": ["goal", "match"], "money": ["bank", "price"], "food": ["soup", "bread"], "rare": ["quark"]}


def texts(count: int) -> dict[str, list[Any]]:
    """Texts in which a label shows by its words, most of them with other labels than one."""
    draw = random.Random(5)
    found: dict[str, list[Any]] = {"id": [], "text": [], "label": []}
    for i in range(count):
        labels = [name for name in WORDS if draw.random() < (0.01 if name == "rare" else 0.4)]
        words = [draw.choice(WORDS[name]) for name in labels for _ in range(2)] + ["and", "the", "day"]
        draw.shuffle(words)
        found["id"].append(f"{i:05d}")
        found["text"].append(" ".join(words))
        found["label"].append(labels)
    return found


def in_lists(folder: Path, rows: dict[str, list[Any]]) -> dict[str, Any]:
    return {"input": [str(write_parquet(folder / "in.parquet", rows))]}


def in_json(folder: Path, rows: dict[str, list[Any]]) -> dict[str, Any]:
    lines = [json.dumps(dict(zip(rows, row, strict=True))) for row in zip(*rows.values(), strict=True)]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    return {"input": [str(folder / "in.jsonl")]}


def in_strings(folder: Path, rows: dict[str, list[Any]]) -> dict[str, Any]:
    lines = [f"{i},{text},{' ; '.join(labels)}" for i, text, labels in zip(*rows.values(), strict=True)]
    (folder / "in.csv").write_text("\n".join(["id,text,label", *lines]) + "\n")
    return {"input": [str(folder / "in.csv")], "label_separator": ";"}


def job(folder: Path, **settings: Any) -> TrainingJob:
    usual = {"output": str(folder / "bundle"), "name": "n", "task": "multilabel", "id_column": "id", "max_tokens": 16}
    return training_job({**usual, **settings})


@pytest.mark.parametrize("written", [in_lists, in_json, in_strings])
def test_every_format_gives_the_same_labels(
    written: Callable[[Path, dict[str, list[Any]]], dict[str, Any]], tmp_path: Path
) -> None:
    rows = texts(300)
    wanted = job(tmp_path, **written(tmp_path, rows))
    found, codes = labels_and_codes(wanted)
    assert [split_labels(one.decode()) for one in found] == rows["label"]
    assert codes == {}
    assert [] in rows["label"]


@pytest.mark.slow
def test_a_training_learns_them_and_a_job_publishes_them(run_job: Score, tmp_path: Path) -> None:
    rows = texts(900)
    test = {name: values[700:] for name, values in rows.items()}
    rows = {name: values[:700] for name, values in rows.items()}
    wanted = job(
        tmp_path,
        **in_lists(tmp_path, rows),
        test_input=[str(write_parquet(tmp_path / "test.parquet", test))],
        vocabulary_size=200,
        epochs=5,
    )
    trained = train(wanted)
    bundle = trained.bundle
    assert (bundle.task, bundle.activation, trained.held_out.gold) == ("multilabel", "sigmoid", None)
    counts = [sum(name in some for some in rows["label"]) for name in bundle.labels]
    assert counts == sorted(counts, reverse=True)
    assert bundle.quality["test"]["micro_f1"] > 0.95
    rare = bundle.labels.index("rare")
    assert bundle.thresholds[rare] == 0.5
    assert all(0 < threshold < 1 for threshold in bundle.thresholds)
    history = json.loads((bundle.path / "training" / "history.json").read_text())
    assert history["rows_without_label"] == sum(not some for some in rows["label"])
    assert history["classes"]["rare"] == sum("rare" in some for some in rows["label"])
    assert [history["labels"][name]["threshold"] for name in bundle.labels] == list(bundle.thresholds)
    drawn = "".join(ET.parse(bundle.path / "training" / "plot.svg").getroot().itertext())
    assert "F1 of each label" in drawn
    assert "sport" in drawn
    plain = {name: values for name, values in test.items() if name != "label"}
    outcome = run_job(write_parquet(tmp_path / "score.parquet", plain), bundle=str(bundle.path))
    right = {i: set(some) for i, some in zip(test["id"], test["label"], strict=True)}
    given = {row["id"]: {entry["label"] for entry in row["labels"]} for row in outcome.rows()}
    hits = sum(len(given[i] & right[i]) for i in right)
    micro = 2 * hits / sum(len(given[i]) + len(right[i]) for i in right)
    assert micro == pytest.approx(bundle.quality["test"]["micro_f1"])
    code, out, _ = invoke("inspect", bundle.path)
    assert (code, "thresholds" in out) == (0, True)


def test_thresholds_are_no_worse_than_a_half_on_the_rows_they_were_fitted_on() -> None:
    generator = np.random.default_rng(2)
    right = generator.random((500, 3)) < [0.5, 0.2, 0.05]
    logits = (generator.normal(size=(500, 3)) + 2 * right - [0, 1, 3]).astype(np.float32)
    fitted = several_metrics(logits, right, fit_thresholds(logits, right))
    assert fitted["macro_f1"] > several_metrics(logits, right)["macro_f1"] + 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "classification"}, "lists are for --task multilabel without --label-separator"),
        ({"task": "regression"}, "lists are for --task multilabel without --label-separator"),
        ({"label_separator": ","}, "lists are for --task multilabel without --label-separator"),
    ],
)
def test_lists_are_refused_where_no_lists_are_read(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    wanted = job(tmp_path, **in_lists(tmp_path, texts(5)), **settings)
    with pytest.raises(PlanError, match=message):
        plan_rows(wanted, "--input", wanted.input)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.list_(pa.string())),
        pa.struct([("a", pa.string())]),
        pa.list_(pa.binary()),
        pa.list_(pa.large_binary()),
        pa.list_(pa.binary(4)),
    ],
)
def test_other_nested_columns_are_no_labels(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"id": ["a"], "text": ["a"], "label": pa.nulls(1, kind)})
    wanted = job(tmp_path, input=[str(write_parquet(tmp_path / "in.parquet", table))])
    with pytest.raises(PlanError, match="a label is one string, number or boolean, or a list of these"):
        plan_rows(wanted, "--input", wanted.input)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "reads lists of strings in --label-column label, an empty one for none; for strings give --label-separ"),
        ({"label_separator": ";"}, "between which --label-separator stands .* leave the flag out for lists"),
    ],
)
def test_rows_without_readable_labels_name_the_flag(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    rows = {name: ["a"] for name in REJECTED.names}
    rows |= {"code": ["missing_label"], "row": [0], "source": ["in.csv"]}
    write_parquet(tmp_path / "dead-train-0.parquet", rows)
    with pytest.raises(ConfigError, match=message):
        dropped_rows(job(tmp_path, input=["in.csv"], **settings), tmp_path, "train", 1)


def test_the_separator_is_for_several_labels_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--label-separator is for --task multilabel, and this is a classification"):
        job(tmp_path, input=["in.csv"], task="classification", label_separator=";")
    with pytest.raises(ConfigError, match="label-separator"):
        job(tmp_path, input=["in.csv"], label_separator="")


def rows_read(labels: int, unknown: int = 0) -> RowsRead:
    one = np.ones(1, np.int32)
    return RowsRead(Examples(one, one, one, np.zeros((1, labels), np.bool_)), pa.array(["a"]), unknown)


def test_one_label_alone_and_labels_of_test_rows_alone_are_refused(tmp_path: Path) -> None:
    rows = {"id": ["a", "b"], "text": ["a", "b"], "label": [["x", "new"], ["y"]]}
    wanted = job(tmp_path, **in_lists(tmp_path, rows))
    with pytest.raises(ConfigError, match="1 different labels; --task multilabel needs two or more"):
        check_labels(wanted, ("x",), rows_read(1), None)
    plan = plan_rows(wanted, "--test-input", wanted.input)
    with pytest.raises(ConfigError, match=r"--test-input has 1 rows with labels that no training row has \('new'\)"):
        check_labels(wanted, ("x", "y"), rows_read(2), rows_read(2, unknown=1), plan)
