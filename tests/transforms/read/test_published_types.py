"""--schema: how it is given, and that what was a number yesterday is not text today without a word."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.files.reading import csv, read

from pipeline.bundling.training_job import training_job
from pipeline.errors import ConfigError
from pipeline.jobs.column_types import arrow_types
from pipeline.jobs.config import load_job
from transforms.errors import PlanError
from transforms.read.published_types import check_numbers_stay


def published(output: Path, date: str, **columns: Any) -> None:
    folder = output / f"dt={date}"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"id": ["a"], **columns}), folder / "part-x.parquet")
    part = {"path": f"dt={date}/part-x.parquet", "rows": 1, "bytes": 1, "checksum": "crc32c:00000000"}
    run = {"sequence": 1, "run_id": "20261121T020003Z-abcdef", "logical_date": date, "finished": True, "bundle": "b@0"}
    counts = {"read": 1, "scored": 1, "dead": 0}
    manifest = {**run, "files": [part], "dead_letters": [], "counts": counts}
    (folder / "_manifest.json").write_text(json.dumps(manifest))


def test_a_number_of_the_newest_date_is_not_made_text_without_a_word(tmp_path: Path) -> None:
    output = tmp_path / "out"
    published(output, "2026-11-19", stars=["five"], price=["1"])
    published(output, "2026-11-20", stars=[5], price=[1.5], note=["x"], probability=[0.5])
    (output / "dt=2026-11-21").mkdir()
    (output / "dt=2026-11-21/_manifest.json").write_text("[broken")
    file = csv(tmp_path / "in.csv", "id,text,stars,the price,note,new", "a,x,5,1.5,y,1")

    def check(**more: Any) -> None:
        plan = read(file, rename={"the price": "price"}, **more).plan
        check_numbers_stay(plan.columns, str(output), arrow_types(), plan.texts)

    with pytest.raises(PlanError) as error:
        check()
    flags = "--schema stars:int64 --schema 'the price:float64'"
    assert f"To keep the types: {flags}  To take text: --schema stars:string --schema 'the price:string'" in str(
        error.value
    )
    check(schema={"stars": "int64", "the price": "float64"})
    check(schema={"stars": "string", "the price": "string"})
    with pytest.raises(PlanError, match="To keep the types: --schema 'the price:float64'  To"):
        check(schema={"stars": "string"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["n:int64", "a:b:date"], {"n": "int64", "a:b": "date"}),
        (["auto", "n:int64"], {"*": "auto", "n": "int64"}),
        ("auto", {"*": "auto"}),
        ({"n": "int64"}, {"n": "int64"}),
    ],
)
def test_schema_in_flags_and_in_yaml(given: Any, expected: dict[str, str], tmp_path: Path) -> None:
    base = {"bundle": "b", "input": "in.csv", "output": str(tmp_path)}
    job = load_job(None, {**base, "schema": given})
    assert dict(job.schema_) == expected
    assert job.columns.guess == ("*" in expected)
    (tmp_path / "job.yaml").write_text(json.dumps({**base, "schema": given}))
    assert load_job(str(tmp_path / "job.yaml"), {}) == job
    for wrong in (["n"], ["n:"], ["n:int32"], {"*": "int64x"}):
        with pytest.raises(ConfigError, match="schema"):
            load_job(None, {**base, "schema": wrong})


def test_the_label_of_a_training_is_read_from_text_and_decides(tmp_path: Path) -> None:
    file = csv(tmp_path / "in.csv", "id,text,stars", "a,good,4.5", "b,bad,many", "c,worse,1")
    given: dict[str, Any] = {"input": [str(file)], "output": str(tmp_path / "b"), "name": "n", "label_column": "stars"}
    wanted = training_job({**given, "task": "regression", "id_column": "id"}).columns
    found = read(file, schema={"stars": "float64"}, keep=wanted.keep, rename=wanted.rename, strict=wanted.strict)
    assert wanted.types == {"stars": pa.float64()}
    assert found.kept == {"a": {"target": 4.5}, "c": {"target": 1.0}}
    assert found.dead == [(1, "wrong_type")]
    typed = training_job({**given, "schema": ["stars:int64", "text:string"]}).columns
    assert typed.types == {"stars": pa.int64(), "text": pa.string()}
    with pytest.raises(ConfigError, match="the label of a regression is a float64 or an int64"):
        training_job({**given, "task": "regression", "schema": ["stars:string"]})
