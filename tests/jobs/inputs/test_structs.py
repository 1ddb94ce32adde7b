"""Texts, ids and kept columns inside of structs and JSON objects, through the whole pipeline."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from support.jobs import Outcome, Score, write_parquet

from transforms.errors import PlanError

ROWS: list[dict[str, Any]] = [
    {"meta": {"id": 7, "more": {"lang": "de", "n": 1}}, "doc": {"text": "play a song", "title": "t", "n": 5}},
    {"meta": {"id": 8, "more": None}, "doc": {"text": "book a table", "title": None, "n": None}},
    {"meta": {"id": 9}, "doc": {"text": " ", "title": "u", "n": 6}},
    {"meta": {"id": 10, "more": {"lang": None}}, "doc": None},
    {"meta": None, "doc": {"text": "no id", "title": "v", "n": 7}},
    {"meta": {"id": 11, "more": {"lang": "fr", "n": 2}}, "doc": {"text": "rate my book"}},
]
NESTED = {"text_column": "doc.text", "id_column": "meta.id"}


def written(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    """The rows in the format that the suffix says."""
    if path.suffix == ".parquet":
        return write_parquet(path, pa.Table.from_pylist(rows))
    lines = [json.dumps(row) for row in rows]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n" if path.suffix == ".json" else "\n".join(lines) + "\n")
    return path


def scored(outcome: Outcome) -> dict[str, dict[str, Any]]:
    own = {"label", "probability", "probabilities", "token_count", "truncated", "logical_date", "bundle", "run_id"}
    rows = {row["id"]: {k: v for k, v in row.items() if k not in own} for row in outcome.rows()}
    return {id: {k: v for k, v in row.items() if k not in ("id", "scored_at", "text_hash")} for id, row in rows.items()}


FORMATS = ["in.parquet", "in.jsonl", "in.json"]


@pytest.mark.parametrize("name", FORMATS)
def test_what_lies_in_structs_is_what_pandas_finds_there(name: str, run_job: Score, tmp_path: Path) -> None:
    flat = pd.json_normalize(ROWS).set_index("meta.id")
    outcome = run_job(written(tmp_path / name), **NESTED, keep="meta.more.lang,doc.title,doc.n,meta.id")
    found = scored(outcome)
    assert found.keys() == {"7", "8", "11"}
    for id, row in found.items():
        expected = flat.loc[int(id)]
        values = {name: expected[name] for name in ("meta.more.lang", "doc.title", "doc.n")}
        wanted = {name.replace(".", "_"): None if pd.isna(value) else value for name, value in values.items()}
        # The id is a number: beside the string that is made of it, it is kept under its own name and in its own type.
        assert row == {**wanted, "meta_id": int(id)}
    assert sorted((row["row"] - (name == "in.json"), row["code"]) for row in outcome.dead()) == [
        (2, "blank_text"),
        (3, "missing_text"),
        (4, "missing_id"),
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_structs_are_kept_whole_but_for_the_text(name: str, run_job: Score, tmp_path: Path) -> None:
    found = scored(run_job(written(tmp_path / name), **NESTED, output=tmp_path / "all"))
    assert found["7"] == {"meta": ROWS[0]["meta"], "doc": {"title": "t", "n": 5}}
    assert found["8"] == {"meta": {"id": 8, "more": None}, "doc": {"title": None, "n": None}}
    assert found["11"] == {"meta": ROWS[5]["meta"], "doc": {"title": None, "n": None}}
    # Asked for by name it is kept as it is.
    found = scored(run_job(written(tmp_path / name), **NESTED, keep="doc", output=tmp_path / "doc"))
    assert found["7"] == {"doc": ROWS[0]["doc"]}
    assert found["11"]["doc"] == {"text": "rate my book", "title": None, "n": None}


def test_a_struct_with_nothing_but_the_text_is_not_kept(run_job: Score, tmp_path: Path) -> None:
    rows = [{"id": "a", "doc": {"in": {"text": "play"}}, "n": 1}]
    for name in FORMATS:
        found = scored(run_job(written(tmp_path / name, rows), text_column="doc.in.text", output=tmp_path / f"o{name}"))
        assert found == {"a": {"n": 1}}


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_with_dots_is_a_column_first(name: str, run_job: Score, tmp_path: Path) -> None:
    rows = [{"id": "a", "doc.text": "play a song", "doc": {"text": 5, "a.b": {"c": "x"}}, "a.b": 1}]
    outcome = run_job(written(tmp_path / name, rows), text_column="doc.text", keep="doc.a.b.c,a.b")
    assert scored(outcome) == {"a": {"doc_a_b_c": "x", "a.b": 1}}
    assert outcome.rows()[0]["text_hash"] == run_job(
        written(tmp_path / "other.jsonl", [{"id": "a", "text": "play a song"}]), output=tmp_path / "other"
    ).rows()[0]["text_hash"]  # fmt: skip


def test_a_name_that_means_a_column_here_and_a_part_there_is_refused(run_job: Score, tmp_path: Path) -> None:
    a = written(tmp_path / "a.parquet", [{"id": "a", "doc.text": "x"}])
    b = written(tmp_path / "b.parquet", [{"id": "b", "doc": {"text": "x"}}])
    with pytest.raises(PlanError, match=r"b\.parquet: 'doc\.text' is at another place than in .*a\.parquet"):
        run_job([a, b], text_column="doc.text")


def test_json_objects_of_any_kind_around_a_text(run_job: Score, tmp_path: Path) -> None:
    """One object is odd; the others are not concerned, and of a sibling nobody asks the kind."""
    docs: list[Any] = [{"text": f"play {i}", "n": i} for i in range(40)]
    docs[3]["n"], docs[4]["new"], docs[5]["text"] = "three", {"deep": []}, 5
    docs[6], docs[7], docs[8]["text"], docs[9]["text"] = "text", ["text"], None, {"a": 1}
    lines = [json.dumps({"id": f"r{i}", "doc": doc}) for i, doc in enumerate(docs)]
    lines.append('{"id": "twice", "doc": {"text": "a", "text": "b"}}')
    lines.append('{"id": "other twice", "doc": {"text": "a", "n": 1, "n": 2}}')
    lines.append('{"id": "absent"}')
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    outcome = run_job(tmp_path / "in.jsonl", text_column="doc.text", keep="doc.n", schema={"doc.n": "string"})
    codes = {row["row"]: row["code"] for row in outcome.dead()}
    assert codes == {
        5: "wrong_type", 6: "wrong_type", 7: "wrong_type", 8: "missing_text", 9: "wrong_type", 40: "not_json",
        42: "missing_text",
    }  # fmt: skip
    found = scored(outcome)
    assert {id: row["doc_n"] for id, row in found.items()} == {
        **{f"r{i}": "three" if i == 3 else str(i) for i in range(40) if i not in codes},
        "other twice": None,
    }
    assert outcome.manifest["kept_misfits"] == {"doc_n": 1}


def test_an_object_that_is_kept_as_its_json_is_kept_without_the_text(run_job: Score, tmp_path: Path) -> None:
    rows = [
        {"id": "a", "doc": {"text": "play", "n": 1}},
        {"id": "b", "doc": {"text": "book", "n": "x"}},
    ]
    found = scored(run_job(written(tmp_path / "in.jsonl", rows), text_column="doc.text"))
    assert {id: row["doc"] for id, row in found.items()} == {"a": '{"n": 1}', "b": '{"n": "x"}'}


def test_a_way_that_ends_nowhere_is_told_with_what_there_is(run_job: Score, tmp_path: Path) -> None:
    rows = [{"id": "a", "doc": {"body": {"t": "x"}, "n": 1}, "list": [{"text": "x"}]}]
    for name in FORMATS:
        file = written(tmp_path / name, rows)
        with pytest.raises(PlanError, match=r"has no column 'doc\.text'; it has 'id', 'doc\.body', 'doc\.n', 'list'"):
            run_job(file, text_column="doc.text")
        with pytest.raises(PlanError, match=r"'doc\.body\.x'; it has 'id', 'doc\.body\.t', 'doc\.n'"):
            run_job(file, text_column="doc.body.x")
        with pytest.raises(PlanError, match=r"has no column 'list\.text'; .*'list' is no struct and has no parts"):
            run_job(file, text_column="list.text")
        with pytest.raises(PlanError, match=r"column 'doc\.n' is int64, not text"):
            run_job(file, text_column="doc.n")
        with pytest.raises(PlanError, match=r"--schema doc\.n:…: column 'doc\.n' is not among those kept"):
            run_job(file, text_column="doc.body.t", schema={"doc.n": "string"})


def test_pairs_in_structs_and_a_file_whose_struct_is_null(run_job: Score, tmp_path: Path) -> None:
    a = written(tmp_path / "a.parquet", [{"id": "a", "doc": {"text": "play", "lang": "de"}}])
    b = write_parquet(tmp_path / "b.parquet", pa.table({"id": ["b"], "doc": pa.nulls(1), "n": [1]}))
    c = written(tmp_path / "c.parquet", [{"id": "c", "doc": {"text": "play"}}])
    outcome = run_job([a, b, c], text_column="doc.text", keep="doc.lang,n", rename={"doc.lang": "language"})
    assert scored(outcome) == {"a": {"language": "de", "n": None}, "c": {"language": None, "n": None}}
    assert outcome.codes() == {"b": "missing_text"}
