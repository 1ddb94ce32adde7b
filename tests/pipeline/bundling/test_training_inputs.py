"""A training reads what scoring reads: folders, structs, arrays, names of any case. The real one is at the end."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.jobs import write_parquet

from pipeline.bundling.labelled_rows import short_names
from pipeline.bundling.training import _Texts, train
from pipeline.bundling.training_job import TrainingJob, plan_rows, training_job
from pipeline.errors import ConfigError
from transforms.errors import PlanError
from transforms.featurize.fit import _TakeTargets, row_keys
from transforms.read.step import read_rows
from transforms.runs.plan import Plan
from transforms.stores.store import FileInfo
from transforms.validate import validate


def job(tmp_path: Path, *input: Path, **settings: Any) -> TrainingJob:
    given = {"input": [str(path) for path in input], "output": str(tmp_path / "bundle"), "name": "n"}
    return training_job({**given, "max_tokens": 16, "vocabulary_size": 200, **settings})


def learned(plan: Plan, task: str = "classification") -> list[tuple[str, Any]]:
    """Text and label of each row that a training learns from."""
    found = []
    for piece in (piece for split in plan.splits for piece in split.pieces):
        for batches, _, _ in read_rows(piece, 0, plan.columns):
            for batch in batches:
                texts, _ = validate(batch, plan.columns)
                for rows in _TakeTargets().process(texts, task):
                    if isinstance(rows, pa.RecordBatch):
                        pairs = (rows.column(name).flatten().to_pylist() for name in ("text", "target"))
                        found += [(text.decode(), label) for text, label in zip(*pairs, strict=True)]
    return sorted(found)


def planned(job: TrainingJob) -> Plan:
    return plan_rows(job, "--input", job.input)


@pytest.mark.parametrize("name", ["x.TXT", "x.Csv.GZ", "x.json"])
def test_folders_are_the_labels_of_the_texts_in_them(name: str, tmp_path: Path) -> None:
    """As collections of texts are often laid out: one folder a class."""
    for label in ("pos", "neg"):
        path = tmp_path / f"in/label={label}/{name}"
        path.parent.mkdir(parents=True)
        content = {
            "x.TXT": f"{label} one\n{label} two\n",
            "x.Csv.GZ": f"text\n{label} one\n{label} two\n",
            "x.json": f'[{{"text": "{label} one"}},\n{{"text": "{label} two"}}]',
        }[name].encode()
        path.write_bytes(gzip.compress(content) if name.endswith("GZ") else content)
    plan = planned(job(tmp_path, tmp_path / "in"))
    assert learned(plan) == [(f"{label} {n}", label.encode()) for label in ("neg", "pos") for n in ("one", "two")]
    assert sorted(_Texts(plan)) == [b"neg one", b"neg two", b"pos one", b"pos two"]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_text_and_label_may_lie_in_structs(kind: str, tmp_path: Path) -> None:
    rows = [{"doc": {"text": f"text {i}"}, "gold": {"by": "a", "stars": i / 2 if i else None}} for i in range(4)]
    file = tmp_path / f"in.{kind}"
    if kind == "parquet":
        write_parquet(file, pa.Table.from_pylist(rows))
    else:
        file.write_text("\n".join(map(json.dumps, rows)))
    named = {"text_column": "doc.text", "label_column": "gold.stars"}
    plan = planned(job(tmp_path, file, task="regression", **named))
    assert learned(plan, "regression") == [(f"text {i}", i / 2) for i in range(1, 4)]
    assert sorted(_Texts(plan)) == [f"text {i}".encode() for i in range(4)]


@pytest.mark.parametrize("first", [0, 1_500])
def test_texts_of_a_tsv_that_begin_with_a_quotation_mark_are_all_learned_from(first: int, tmp_path: Path) -> None:
    """As GLUE and database dumps write them; `first`: behind how many rows the first of them stands."""
    rows = [(f"plain text {i}", f"l{i % 2}") for i in range(first)]
    rows += [(f'"quoted once {i}' if i % 3 else f'said "{i}', f"l{i % 2}") for i in range(60)]
    (tmp_path / "in.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    wanted = sorted((text, label.encode()) for text, label in rows)
    assert learned(planned(job(tmp_path, tmp_path / "in.tsv", quote="none"))) == wanted
    unsaid = job(tmp_path, tmp_path / "in.tsv")
    if first:
        assert learned(planned(unsaid)) == wanted
        return
    with pytest.raises((ConfigError, PlanError), match="--quote none"):
        planned(unsaid)


def test_parts_of_folders_and_numbers_in_them_are_values_of_a_regression(tmp_path: Path) -> None:
    for stars in ("1.5", "2"):
        write_parquet(tmp_path / f"in/stars={stars}/x.parquet", {"text": [f"text {stars}"]})
    plan = planned(job(tmp_path, tmp_path / "in", task="regression", label_column="stars"))
    assert learned(plan, "regression") == [("text 1.5", 1.5), ("text 2", 2.0)]


def test_columns_that_are_missing_are_told_by_the_flags_of_a_training(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"body": ["x"], "gold": ["a"]})
    told = r"has no columns 'text' \(--text-column\), 'label' \(--label-column\); it has 'body', 'gold': choose with "
    with pytest.raises(PlanError, match=told + "these flags$"):
        planned(job(tmp_path, file))
    with pytest.raises(PlanError, match=r"no column 'label' in the input; it has 'body', 'gold'"):
        planned(job(tmp_path, file, text_column="body"))


def test_columns_that_are_missing_in_several_files_are_told_together(tmp_path: Path) -> None:
    for name, columns in {"a": ["label", "key"], "b": ["label", "text"], "c": ["label"]}.items():
        write_parquet(tmp_path / f"in/{name}.parquet", {column: ["x"] for column in columns})
    with pytest.raises(PlanError, match=r"a\.parquet.*'text'.*; .*b\.parquet.*'key'.*; and 1 more files lack some"):
        planned(job(tmp_path, tmp_path / "in", id_column="key"))


def test_a_training_has_no_date_to_fill_in(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--input .*\{date\}.*: a training has no date to fill in; name the files"):
        planned(job(tmp_path, tmp_path / "{date}" / "x.parquet"))


def test_a_test_set_may_be_of_another_format_and_errors_name_its_flag(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text;label\na;x\nb;y\n")
    test = write_parquet(tmp_path / "test.parquet", {"text": ["a"], "label": ["x"]})
    wanted = job(tmp_path, tmp_path / "in.csv", delimiter=";", test_input=[str(test)])
    assert plan_rows(wanted, "--input", wanted.input).texts == ("text", "label")
    assert plan_rows(wanted, "--test-input", wanted.test_input).rows == 1
    other = write_parquet(tmp_path / "other.parquet", {"text": ["a"]})
    wanted = job(tmp_path, tmp_path / "in.csv", delimiter=";", test_input=[str(other)])
    with pytest.raises(PlanError, match=r"^--test-input: no column 'label' in the input; it has 'text'"):
        plan_rows(wanted, "--test-input", wanted.test_input)


def test_a_test_set_has_the_encoding_of_the_training(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes('{"text": "Füße", "label": "x"}\n'.encode("latin-1"))
    wanted = job(tmp_path, tmp_path / "a.jsonl", encoding="latin-1", test_input=[str(tmp_path / "b.jsonl")])
    assert learned(plan_rows(wanted, "--test-input", wanted.test_input)) == [("Füße", b"x")]


def test_rows_without_ids_are_told_by_their_place_below_the_folder_that_all_have_in_common(tmp_path: Path) -> None:
    found = []
    for folder in ("here", "there/deep"):
        for name in ("b/x.parquet", "a.parquet"):
            write_parquet(tmp_path / folder / name, {"text": ["t", "u"], "label": ["x", "y"]})
        plan = planned(job(tmp_path, tmp_path / folder))
        keys = []
        for piece in (piece for split in plan.splits for piece in split.pieces):
            for batches, _, _ in read_rows(piece, 0, plan.columns):
                for batch in batches:
                    texts, _ = validate(batch, plan.columns)
                    keys += row_keys(texts, short_names(plan)).to_pylist()
        found.append(sorted(keys))
    assert found[0] == found[1] == ["a.parquet#0", "a.parquet#1", "b/x.parquet#0", "b/x.parquet#1"]
    named = [FileInfo(path=path, size=1, version="") for path in ("gs://b/x/a", "gs://b/y/c", "gs://b/y/d/e")]
    assert [*short_names(replace(plan, inputs=tuple(named))).values()] == ["x/a", "y/c", "y/d/e"]
    named.append(FileInfo(path="/data/a", size=1, version=""))
    assert [*short_names(replace(plan, inputs=tuple(named))).values()] == [info.path for info in named]
    with_ids = planned(job(tmp_path, tmp_path / "here" / "a.parquet", id_column="text"))
    assert short_names(with_ids) is None


@pytest.mark.slow  # A training.
def test_a_training_on_folders_and_structs_makes_a_bundle(tmp_path: Path) -> None:
    for label, word in (("pos", "good fine"), ("neg", "bad poor")):
        docs = [{"text": f"{word} {i}"} for i in range(40)]
        write_parquet(tmp_path / f"in/label={label}/x.parquet", pa.table({"doc": docs}))
    trained = train(job(tmp_path, tmp_path / "in", text_column="doc.text", epochs=1))
    assert set(trained.bundle.labels) == {"pos", "neg"}
    assert trained.bundle.baseline["rows"] == 80


def test_files_without_a_row_are_refused_before_the_training(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", pa.table({"text": pa.array([], pa.string()), "label": ["x"][:0]}))
    with pytest.raises(ConfigError, match=r"^--input .*in\.parquet: has no rows; give labelled rows"):
        train(job(tmp_path, file))
    assert not (tmp_path / "bundle").exists()
