"""A label that is NaN is none: in every format, for classes and for values."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.files.learned import labels_and_codes as learned
from support.jobs import write_parquet

from pipeline.bundling.training import train
from pipeline.bundling.training_job import TrainingJob, training_job
from pipeline.errors import ConfigError
from transforms.batches.schemas import Columns
from transforms.read.formats.blocks import Block
from transforms.read.formats.jsonl import read_jsonl
from transforms.read.plan_files import plan_inputs
from transforms.read.values.conform import conform, without_nan
from transforms.runs.plan import Piece, plan_digest

NAN = float("nan")


def labels_and_codes(path: Path, task: str = "classification") -> tuple[list[Any], dict[int, str]]:
    return learned(job(path, task))


def job(path: Path, task: str = "classification") -> TrainingJob:
    return training_job(
        {"input": [str(path)], "output": str(path.parent / "b"), "name": "n", "task": task, "max_tokens": 16}
    )


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.0, NAN, 0.0, None]),
        pa.array([1.0, NAN, 0.0, None], pa.float32()),
        pa.array(np.array([1.0, NAN, 0.0, NAN], np.float16)),
        pa.array([1.0, NAN, 0.0, None]).dictionary_encode(),
    ],
    ids=["double", "float", "half", "dictionary"],
)
def test_a_nan_of_a_parquet_column_is_a_missing_label_and_no_class(tmp_path: Path, column: pa.Array) -> None:
    file = write_parquet(tmp_path / "in.parquet", pa.table({"text": ["a", "b", "c", "d"], "label": column}))
    assert labels_and_codes(file) == ([b"1", b"0"], {1: "missing_label", 3: "missing_label"})
    assert labels_and_codes(file, "regression") == ([1.0, 0.0], {1: "missing_label", 3: "missing_label"})


def test_no_time_is_a_missing_label_too(tmp_path: Path) -> None:
    times = pa.array(np.array(["2026-11-29", "NaT"], "datetime64[us]"))
    file = write_parquet(tmp_path / "in.parquet", pa.table({"text": ["a", "b"], "label": times}))
    assert labels_and_codes(file)[1] == {1: "missing_label"}


@pytest.mark.parametrize("value", ["nan", "NaN", "None", "null"])
def test_a_string_is_a_class_whatever_it_says(tmp_path: Path, value: str) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"text": ["a", "b"], "label": [value, "x"]})
    assert labels_and_codes(file) == ([value.encode(), b"x"], {})
    (tmp_path / "in.csv").write_text(f"text,label\na,{value}\nb,x\n")
    assert labels_and_codes(tmp_path / "in.csv") == ([value.encode(), b"x"], {})
    lines = [json.dumps({"text": "a", "label": label}) for label in (value, "x")]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    assert labels_and_codes(tmp_path / "in.jsonl") == ([value.encode(), b"x"], {})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "null"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_constant_that_python_writes_into_jsonl_is_a_missing_label(tmp_path: Path, task: str, value: str) -> None:
    (tmp_path / "in.jsonl").write_text(f'{{"text": "a", "label": 1}}\n{{"text": "b", "label": {value}}}\n')
    labels, codes = labels_and_codes(tmp_path / "in.jsonl", task)
    assert (len(labels), codes) == (1, {1: "missing_label"})


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-inf", "1e300", ""])
def test_a_value_that_is_no_finite_number_of_the_network_is_missing(tmp_path: Path, value: str) -> None:
    (tmp_path / "in.csv").write_text(f"text,label\na,0.5\nb,{value}\n")
    assert labels_and_codes(tmp_path / "in.csv", "regression") == ([0.5], {1: "missing_label"})


def test_a_parquet_value_that_float32_cannot_hold_is_missing(tmp_path: Path) -> None:
    values = [0.5, 1e300, float("inf"), -float("inf")]
    file = write_parquet(tmp_path / "in.parquet", {"text": ["a", "b", "c", "d"], "label": values})
    assert labels_and_codes(file, "regression") == ([0.5], dict.fromkeys((1, 2, 3), "missing_label"))


def test_a_training_on_them_is_refused_by_place(tmp_path: Path) -> None:
    labels = pa.array([0.0, 1.0] * 29 + [NAN] * 2)
    file = write_parquet(tmp_path / "in.parquet", pa.table({"text": [f"play {i}" for i in range(60)], "label": labels}))
    with pytest.raises(ConfigError, match=r"2 of 60 rows are dead letters.*in\.parquet#58 \(missing_label\)"):
        train(job(file))


# === Nobody else is concerned ===


def block(values: pa.Array) -> Block:
    rows = pa.record_batch({"text": pa.array([b"a"] * len(values)), "score": values})
    places = np.arange(len(values), dtype=np.int64)
    return Block(places, rows, places, [])


def test_a_kept_column_of_a_scoring_job_stays_as_it_is() -> None:
    kept = {"kept": pa.schema([("score", pa.string())]), "kept_from": ("score",)}
    scored, _ = conform(block(pa.array([1.5, NAN])), Columns(text="text", **kept), source="f", split=0)
    assert scored.column("kept:score").to_pylist() == ["1.5", "nan"]
    trained, _ = conform(block(pa.array([1.5, NAN])), Columns(text="text", label="score", **kept), source="f", split=0)
    assert trained.column("kept:score").to_pylist() == ["1.5", None]


@pytest.mark.parametrize("column", [pa.array([1, None]), pa.array(["nan", None]), pa.array([True, False])])
def test_what_is_no_float_is_not_touched(column: pa.Array) -> None:
    assert without_nan(column) is column


@pytest.mark.parametrize(
    "line",
    ['{"text": "a", "label": [NaN]}', '{"text": NaN, "label": "x"}', '{"text": "a", "label": NaN, "label": 1}'],
)
def test_a_constant_anywhere_else_is_still_no_json(line: str) -> None:
    # As training has it: a row whose label does not fit teaches nothing.
    kept = {"kept": pa.schema([("label", pa.string())]), "kept_from": ("label",)}
    columns = Columns(text="text", **kept, label="label", strict=True)
    data = (line + "\n").encode()
    piece = Piece(number=0, file="f", size=len(data), version="", format="jsonl", end=len(data))
    (found,) = read_jsonl(io.BytesIO(data), piece, columns)
    _, refused = conform(found, columns, source="f", split=0)
    assert [damage.code for damage in (*found.damage, *refused)] == ["not_json"]


def test_the_digest_of_a_plan_knows_of_no_label_as_in_earlier_versions(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"text": ["a"], "label": ["x"]})
    plan = plan_inputs((str(file),), job(file).columns)
    without = plan.__class__(**{**vars(plan), "columns": Columns(**{**vars(plan.columns), "label": None})})
    assert plan_digest(plan, {}) == plan_digest(without, {})
