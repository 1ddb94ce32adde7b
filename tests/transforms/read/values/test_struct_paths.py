"""Parts of structs and folders of paths, against plain dictionaries."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.jobs import write_parquet

from transforms.batches.schemas import Columns
from transforms.read.columns import ColumnsRequest
from transforms.read.formats.blocks import Block, Unfit
from transforms.read.formats.jsonl import json_block, keys_of
from transforms.read.formats.lines import split_lines
from transforms.read.formats.parquet import read_blocks
from transforms.read.plan_files import plan_inputs
from transforms.read.values.folders import NULL, folders_of, unnamed_part
from transforms.read.values.paths import find, inside, picked, pruned, pruned_type
from transforms.runs.plan import Piece, Plan, Split, plan_digest, read_plan, write_plan
from transforms.stores.choose import store_for

STRUCTS = st.recursive(
    st.none() | st.integers(0, 9),
    lambda part: st.fixed_dictionaries({"a": part, "b": part}),
    max_leaves=8,
)
KIND = pa.struct([("a", pa.struct([("a", pa.int64()), ("b", pa.int64())])), ("b", pa.int64())])
ROWS = st.lists(
    st.none()
    | st.fixed_dictionaries(
        {
            "a": st.none() | st.fixed_dictionaries({"a": st.none() | st.integers(0, 9), "b": st.integers(0, 9)}),
            "b": st.none() | st.integers(0, 9),
        }
    ),
    min_size=1,
    max_size=20,
)


def value_at(row: Any, way: tuple[str, ...]) -> Any:
    for key in way:
        row = None if row is None else row[key]
    return row


def without(row: Any, way: tuple[str, ...]) -> Any:
    if row is None:
        return None
    if len(way) == 1:
        return {key: value for key, value in row.items() if key != way[0]}
    return {key: without(value, way[1:]) if key == way[0] else value for key, value in row.items()}


@settings(deadline=None)
@given(ROWS, st.integers(0, 3), st.sampled_from([("a",), ("b",), ("a", "a"), ("a", "b")]))
def test_parts_and_what_is_left_are_those_of_dictionaries(rows: list[Any], start: int, way: tuple[str, ...]) -> None:
    column = pa.array(rows, KIND).slice(start)
    assert inside(column, way).to_pylist() == [value_at(row, way) for row in rows[start:]]
    left = pruned(column, way)
    assert left.to_pylist() == [without(row, way) for row in rows[start:]]
    assert left.type == pruned_type(KIND, way)


def test_a_way_is_found_through_structs_and_the_longest_name_with_dots_comes_first() -> None:
    schema = pa.schema(
        [
            ("a", pa.struct([("b", pa.struct([("c", pa.int8())])), ("b.c", pa.int16())])),
            ("a.b", pa.struct([("c", pa.int32())])),
            ("list", pa.list_(pa.struct([("x", pa.int8())]))),
            ("nothing", pa.null()),
        ]
    )
    assert find("a.b.c", schema) == (("a.b", "c"), pa.int32())
    assert find("a.b.c", [schema.field("a")]) == (("a", "b.c"), pa.int16())
    assert find("a.b", schema) == (("a.b",), schema.field("a.b").type)
    assert find("nothing.at.all", schema) == (("nothing", "at", "all"), pa.null())
    for name in ("a.x", "list.x", "b", "a.", ".a", "a..b", "."):
        assert find(name, schema) is None, name


def test_nothing_is_left_of_a_struct_of_one_part() -> None:
    assert pruned_type(pa.struct([("a", pa.struct([("b", pa.string())]))]), ("a", "b")) is None
    assert pruned_type(pa.string(), ("a",)) == pa.string()


def test_what_is_unfit_of_a_struct_is_so_of_its_parts() -> None:
    rows = pa.record_batch({"doc": [{"at": None}]})
    place = np.zeros(1, np.int64)
    block = Block(place, rows, place, [], unfit=[Unfit("doc", place, "wrong_type", "why")])
    found = picked(block, Columns(text="doc.at", paths={"doc.at": ("doc", "at")}))
    assert found.rows.schema.names == ["doc.at"]
    assert [lost.column for lost in found.unfit] == ["doc", "doc.at"]


def test_only_what_is_wanted_of_a_struct_is_read_from_parquet(tmp_path: Path) -> None:
    rows = pa.table({"id": ["a"], "doc": [{"text": "x", "large": "y" * 1_000, "in": {"n": 1, "m": 2}}]})
    file = write_parquet(tmp_path / "in.parquet", rows)
    plan = plan_inputs([str(file)], ColumnsRequest(text="doc.text", keep=("doc.in.n",)))
    assert plan.columns.selected == ["id", "doc.text", "doc.in.n"]
    piece = plan.splits[0].pieces[0]
    (block,) = read_blocks(io.BytesIO(file.read_bytes()), piece, plan.columns.selected)
    assert block.rows.to_pylist() == [{"id": "a", "doc": {"text": "x", "in": {"n": 1}}}]
    # And a struct that is read whole is not read in parts as well.
    assert plan_inputs([str(file)], ColumnsRequest(text="doc.text")).columns.selected == ["id", "doc"]


LINES = [
    b'{"id": 1, "doc": {"text": "x", "n": 1, "more": [1, {"a": 2}]}}',
    b'{"id": 2, "doc": {"text": "y", "new": {"z": 1}}, "other": 1}',
    b'{"id": 3, "doc": null}',
    b'{"id": 4}',
    b'{"id": 5, "doc": {"text": 5}}',
    b'{"id": 6, "doc": "x"}',
    b'{"id": 7, "doc": {"text": "\xff", "n": 1.5}}',
    b'{"id": 8, "doc": {"text": "a", "text": "b"}}',
    b'{"id": 9, "doc": {"n": 3}, "doc": {}}',
    b'{"id": 10, "doc": {"text": "z", "n": 9007199254740993, "in": {"k": "v"}}}',
]
WAYS = {"doc.text": ("doc", "text"), "doc.n": ("doc", "n"), "doc.in.k": ("doc", "in", "k")}


@settings(deadline=None)
@given(st.permutations(LINES), st.sampled_from(["parts", "whole", "json"]))
def test_what_becomes_of_a_json_line_with_objects_depends_on_that_line_only(lines: list[bytes], kept: str) -> None:
    kinds = {
        "parts": [("doc.n", pa.int64()), ("doc.in.k", pa.string())],
        "whole": [("doc", pa.struct([("n", pa.int64()), ("more", pa.string())]))],
        "json": [("doc", pa.string()), ("doc.n", pa.int64())],
    }[kept]
    columns = Columns(
        text="doc.text",
        id="id",
        id_type=pa.int64(),
        kept=pa.schema(kinds),
        kept_from=tuple(name for name, _ in kinds),
        paths=WAYS,
        without=(("doc", "text"),) if kept != "parts" else (),
    )

    def outcomes(lines: list[bytes]) -> dict[int, Any]:
        block = json_block(split_lines(b"\n".join(lines), 0), keys_of(columns))
        found: dict[int, Any] = {int(at): damage.code for damage in block.damage for at in damage.positions}
        found |= dict(zip(block.positions.tolist(), block.rows.to_pylist(), strict=True))
        for lost in block.unfit:
            for at in lost.positions.tolist():
                found[at] = {**found[at], f"unfit {lost.column}": lost.code}
        return found

    assert outcomes(lines) == {i: outcomes([line])[0] for i, line in enumerate(lines)}


# === Folders ===

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=4))
def test_folders_in_per_cent_codes_are_read_as_they_were_meant(pairs: list[tuple[str, str]]) -> None:
    path = "/".join(["/data", *(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in pairs), "x=y.csv"])
    assert folders_of(path) == tuple(pairs)


def test_what_is_no_key_and_value_is_a_folder_like_any_other() -> None:
    assert folders_of("gs://b/=x/k=/a=b=c/plain/%3D=1/d=%zz/e=%ff/n=" + NULL + "/x=1.parquet") == (
        ("k", ""), ("a", "b=c"), ("=", "1"), ("d", "%zz"), ("e", "%ff"), ("n", None),
    )  # fmt: skip
    assert folders_of("x=1.parquet") == folders_of("/x=1.parquet") == ()


def test_folders_that_the_pattern_does_not_name_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "a=1" / "b=2"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    for pattern, expected in (
        ("c=3/x.csv", {"c": "3"}),
        ("./c=3/x.csv", {"c": "3"}),
        ("../d=4/x.csv", {"d": "4"}),
        ("../b=2/x.csv", {"b": "2"}),
        ("*/../../d=4/x.csv", {"d": "4"}),
        (f"{here}/x.csv", {"a": "1", "b": "2"}),
    ):
        path = str((here / pattern.replace("*", "any")).parent.resolve() / "x.csv")
        found = dict(folders_of(path, unnamed_part(pattern)))
        assert {key: value for key, value in found.items() if "pytest" not in key} == expected, pattern


def test_folders_travel_in_the_plan_and_old_plans_have_none(tmp_path: Path) -> None:
    for value in ("x", NULL):
        write_parquet(tmp_path / f"in/k={value}/a.parquet", {"id": [value], "text": ["x"]})
    plan = plan_inputs([str(tmp_path / "in")], ColumnsRequest())
    store, path = store_for(str(tmp_path)), str(tmp_path / "plan.parquet")
    write_plan(store, path, plan, {})
    splits, _ = read_plan(store, path)
    assert splits == list(plan.splits)
    assert [piece.folders for split in splits for piece in split.pieces] == [(("k", None),), (("k", "x"),)]
    table = pq.read_table(path)
    write_parquet(Path(path), table.drop_columns(["folders"]))
    assert [piece.folders for split in read_plan(store, path)[0] for piece in split.pieces] == [(), ()]


def test_a_plan_without_folders_and_structs_has_the_digest_that_it_had() -> None:
    """Computed by the version before there were any: runs that it has staged are gone on with."""
    piece = Piece(number=0, file="f", size=1, version="1", format="csv")
    columns = Columns(text="text", id="id", kept=pa.schema([("n", pa.int64())]), kept_from=("n",))
    plan = Plan(columns=columns, splits=(Split(number=0, pieces=(piece,)),))
    before = "8b3d974131da5eeced000f00255f4e70fb15a2025c84906f8fd346f54dba7707"
    assert plan_digest(plan, {"a": 1}) == before
    others = (
        replace(plan, columns=replace(columns, paths={"text": ("a", "b")})),
        replace(plan, columns=replace(columns, without=(("a", "b"),))),
        replace(plan, splits=(Split(number=0, pieces=(replace(piece, folders=(("k", "v"),)),)),)),
    )
    assert len({before, *(plan_digest(other, {"a": 1}) for other in others)}) == 4
