"""JSON arrays of one object on each line, against json.loads; all others are refused with the way out."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transforms.batches.schemas import Columns
from transforms.errors import NotWhatItClaimsError, PlanError
from transforms.read.columns import ColumnsRequest
from transforms.read.formats.jsonl import read_jsonl
from transforms.read.inspect_file import cut_lines
from transforms.read.plan_files import plan_inputs
from transforms.read.step import read_rows
from transforms.runs.plan import Piece

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROWS = [{"id": f"r{i}", "text": text} for i, text in enumerate(["play", "a ], [ {b}", "c\n,]", "{", "ü"])]
DUMPED = [json.dumps(row) for row in ROWS]


def read(path: Path) -> tuple[dict[str, str | None], dict[int, str]]:
    """id -> text of the rows of a file, and row -> code of its dead letters."""
    plan = plan_inputs([str(path)], ColumnsRequest())
    texts: dict[str, str | None] = {}
    codes: dict[int, str] = {}
    rows = 0
    for split in plan.splits:
        for piece in split.pieces:
            for batches, dead, count in read_rows(piece, split.number, plan.columns):
                rows += count.rows
                for batch in batches:
                    for row in batch.to_pylist():
                        texts[row["id"]] = row["text"].decode()
                codes |= {row["row"]: row["code"] for letters in dead for row in letters.to_pylist()}
    assert rows == len(texts) + len(codes)
    return texts, codes


FORMS: dict[str, Callable[[list[str]], str]] = {
    "as duckdb": lambda rows: "[\n\t" + ",\n\t".join(rows) + "\n]\n",
    "as sqlite": lambda rows: "[" + ",\n".join(rows) + "]\n",
    "as postgres": lambda rows: "[" + ", \n ".join(rows) + "]",
    "commas first": lambda rows: "[ " + "\n, ".join(rows) + "\n]",
    "in Windows": lambda rows: "\ufeff[\r\n" + ",\r\n".join(rows) + "\r\n]\r\n\r\n",
    "in old Macs": lambda rows: "[\r" + ",\r".join(rows) + "\r]\r",
    "with blanks": lambda rows: "\n \n[ \t\n\n  " + "  ,  \n\n  ".join(rows) + "   \n  ]  \n \t\n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["in.json", "in.jsonl", "in.ndjson", "IN.JSON.GZ"])
def test_an_array_of_one_object_a_line_is_read(form: str, name: str, tmp_path: Path) -> None:
    content = FORMS[form](DUMPED).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("GZ") else content)
    assert json.loads(content.decode("utf-8-sig")) == ROWS, "it is an array for others too"
    assert read(path) == ({row["id"]: row["text"] for row in ROWS}, {})


@pytest.mark.parametrize("content", ["[]", "[\n]", " [ ] \n", "\ufeff[]\r\n", "[\n\n\n]\n"])
def test_an_array_of_nothing_has_no_rows(content: str, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_bytes(content.encode())
    assert read(tmp_path / "in.json") == ({}, {})


def test_one_object_alone(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(f"[{DUMPED[0]}]")
    assert read(tmp_path / "in.json") == ({"r0": "play"}, {})


def test_a_row_has_the_place_of_its_line(tmp_path: Path) -> None:
    lines = ["[", DUMPED[0] + ",", "{broken},", "", "5,", "null,", '"],"', DUMPED[1], "]", DUMPED[2], "]"]
    (tmp_path / "in.json").write_text("\n".join(lines))
    texts, codes = read(tmp_path / "in.json")
    assert texts.keys() == {"r0", "r1"}
    # Behind the end of the array nothing is a row of it.
    assert codes == dict.fromkeys((2, 4, 5, 6, 9, 10), "not_json")


SEVERAL, LONG = "with several objects on a line", "whose first object has several lines"
REFUSED: dict[str, tuple[str, str]] = {
    "pandas": (pd.DataFrame(ROWS).to_json(orient="records"), SEVERAL),
    "pandas, indented": (pd.DataFrame(ROWS).to_json(orient="records", indent=2), LONG),
    "json.dumps": (json.dumps(ROWS), SEVERAL),
    "json.dumps, indented": (json.dumps(ROWS, indent=1), LONG),
    "two a line": ("[" + ",\n".join(f"{a}, {a}" for a in DUMPED) + "]", SEVERAL),
    "two on a later line": ("[\n" + ",\n".join(DUMPED) + ",\n" + ",".join(DUMPED) + "\n]", SEVERAL),
    "of numbers": ("[\n1,\n2\n]", "whose elements are not objects"),
    "of arrays": ('[\n[1, "a"],\n[2, "b"]\n]', "whose elements are not objects"),
    "cut off": ("[\n" + ",\n".join(DUMPED), "that does not end with ]"),
    "only its beginning": ("[\n", "that does not end with ]"),
}


IN_PARTS: dict[str, str] = {
    "Prettier, whose first object is short": "[\n" + f"  {DUMPED[0]},\n" + json.dumps(ROWS * 5, indent=2)[1:],
    "an answer of an API": '{"data": [\n' + ",\n".join(DUMPED * 3) + "\n]}",
    "an answer of an API, indented": '{"a": 1}\n' + json.dumps({"data": ROWS * 3}, indent=1),
    "lines with commas": ",\n".join(DUMPED * 3),
}


@pytest.mark.parametrize("kind", IN_PARTS)
def test_lines_that_are_parts_of_something_larger_are_refused_and_no_dead_letters(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_text(IN_PARTS[kind])
    with pytest.raises(PlanError, match=r"lines are parts of a larger JSON value.*jq -c '\.\[\]'"):
        plan_inputs([str(path)], ColumnsRequest())


def test_damaged_lines_among_good_ones_are_no_parts_of_something_larger(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    cut = ['{"id": "x", "text": "cut', "null", "x,", '"just": 1']
    for lines in ([*DUMPED, *DUMPED, *cut], [DUMPED[0], "x,", "y,"]):
        path.write_text("\n".join(lines))
        assert plan_inputs([str(path)], ColumnsRequest()).rows


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("packed", [False, True])
def test_other_arrays_are_refused_with_the_way_out(kind: str, packed: bool, tmp_path: Path) -> None:
    content, why = REFUSED[kind]
    path = tmp_path / ("in.json.gz" if packed else "in.json")
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    with pytest.raises(PlanError) as error:
        plan_inputs([str(path)], ColumnsRequest())
    assert f"{path}: is a JSON array {why}" in str(error.value)
    assert "jq -c '.[]'" in str(error.value) or why not in (SEVERAL, LONG)


def test_a_large_array_on_one_line_is_refused_before_it_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.inspect_file.HEAD_BYTES", 1_000)
    monkeypatch.setattr("transforms.read.formats.lines.MAX_LINE_BYTES", 2_000)
    (tmp_path / "in.json").write_text(json.dumps(ROWS * 100))
    with pytest.raises(PlanError, match=SEVERAL):
        plan_inputs([str(tmp_path / "in.json")], ColumnsRequest())


@pytest.mark.parametrize("packed", [False, True])
def test_an_array_that_is_cut_off_behind_its_first_lines_is_no_whole_input(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.inspect_file.HEAD_BYTES", 100)
    monkeypatch.setattr("transforms.read.inspect_file.MAX_HEAD_BYTES", 100)
    content = ("[\n" + ",\n".join(DUMPED * 50)).encode()
    path = tmp_path / ("in.json.gz" if packed else "in.json")
    path.write_bytes(gzip.compress(content) if packed else content)
    if packed:
        plan = plan_inputs([str(path)], ColumnsRequest())
        with pytest.raises(NotWhatItClaimsError, match="is a JSON array that does not end"):
            list(read_rows(plan.splits[0].pieces[0], 0, plan.columns))
    else:
        with pytest.raises(PlanError, match="is a JSON array that does not end"):
            plan_inputs([str(path)], ColumnsRequest())


def test_lines_that_were_read_before_are_read_as_they_were(tmp_path: Path) -> None:
    """A JSONL file with an array for a first line is still JSONL."""
    for first in ('["a"]', "[1]", "[]", f"[{DUMPED[1]}]"):
        (tmp_path / "in.jsonl").write_text(f"{first}\n{DUMPED[0]}\n")
        assert read(tmp_path / "in.jsonl") == ({"r0": "play"}, {0: "not_json"})


VALUES = st.dictionaries(st.sampled_from(["text", "z"]), st.one_of(st.text(max_size=5), st.integers(), st.none()))
BLANK = st.text(" \t", max_size=2)


@relaxed
@given(
    st.lists(VALUES, min_size=1, max_size=12), BLANK, BLANK, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(),
    st.integers(1, 40), st.integers(1, 40),
)  # fmt: skip
def test_however_it_is_written_and_cut_it_is_what_json_loads_reads(
    monkeypatch: pytest.MonkeyPatch,
    values: list[dict[str, Any]],
    before: str,
    behind: str,
    end: str,
    apart: bool,
    chunk: int,
    split: int,
) -> None:
    rows = [{"id": str(i), **value} for i, value in enumerate(values)]
    lines = (f"{behind},{behind}{end}{before}").join(json.dumps(row, ensure_ascii=False) for row in rows)
    space = end if apart else before
    content = f"[{space}{lines}{space}]{behind}".encode()
    assert json.loads(content) == rows
    monkeypatch.setattr("transforms.read.formats.lines.CHUNK_BYTES", chunk)
    monkeypatch.setattr("transforms.read.inspect_file.SPLIT_BYTES", split)
    whole = Piece(number=0, file="f", size=len(content), version="", format="json_array")
    for pieces in ([whole], list(cut_lines(io.BytesIO(content), whole))):
        found: dict[int, Any] = {}
        for piece in pieces:
            for block in read_jsonl(io.BytesIO(content), piece, Columns(text="text", id="id")):
                found |= dict(zip(block.positions.tolist(), block.rows.to_pylist(), strict=True))
                found |= {int(at): damage.code for damage in block.damage for at in damage.positions}
        expected = [
            "wrong_type" if isinstance(row.get("text"), int)
            else {"id": row["id"].encode(), "text": None if row.get("text") is None else row["text"].encode()}
            for row in rows
        ]  # fmt: skip
        assert [found[at] for at in sorted(found)] == expected


@pytest.mark.parametrize("last", ['"tags": ["x"]', '"tags": [{"x": 1}]'])
def test_a_list_inside_the_last_object_does_not_end_an_array_that_is_cut_off(last: str, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(f'[\n{DUMPED[0]},\n{{"id": "r1", "text": "b", {last}')
    with pytest.raises((NotWhatItClaimsError, PlanError), match=r"does not end with \]"):
        read(tmp_path / "in.json")


def test_a_damaged_object_that_ends_with_a_list_costs_no_other_row(tmp_path: Path) -> None:
    damaged = '{"id": "x", "text": "b", "tags": ["x"]'
    lines = ["[", f"{DUMPED[0]},", damaged, f",{DUMPED[1]},", DUMPED[2], "]"]
    (tmp_path / "in.json").write_text("\n".join(lines))
    texts, codes = read(tmp_path / "in.json")
    assert (texts, codes) == ({row["id"]: row["text"] for row in ROWS[:3]}, {2: "not_json"})
