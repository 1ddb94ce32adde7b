"""Memory follows bytes: blocks are cut by what all their columns have, and texts and values have a limit."""

import bz2
import gzip
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import write_parquet

from transforms.batches.dialect import Dialect
from transforms.batches.schemas import Columns
from transforms.batches.sizes import cut, row_bytes, total_bytes
from transforms.errors import NotWhatItClaimsError, PlanError
from transforms.read.columns import ColumnsRequest
from transforms.read.formats import lines as line_files
from transforms.read.formats.blocks import Block, Damage, Unfit, planned, positions
from transforms.read.formats.bounded import bounded
from transforms.read.formats.piece import read_piece
from transforms.read.inspect_file import look
from transforms.read.plan_files import plan_inputs
from transforms.read.step import Joiner, read_rows
from transforms.read.values.json import kinds as json_kinds
from transforms.runs.plan import Piece
from transforms.stores.local import LocalStore
from transforms.validate import validate

NESTED = st.recursive(st.none() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=6)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of kilobytes, so that a test of megabytes is not needed."""
    for module in ("transforms.batches.sizes", "transforms.read.step", "transforms.read.formats.parquet"):
        monkeypatch.setattr(f"{module}.MAX_TEXT_BYTES", 4_000)
    for module in ("transforms.batches.sizes", "transforms.read.step"):
        monkeypatch.setattr(f"{module}.MAX_BATCH_BYTES", 10_000)
    for module in ("transforms.read.formats.bounded", "transforms.read.formats.jsonl"):
        monkeypatch.setattr(f"{module}.LARGEST_VALUE", 20_000)


def rows_of(file: Path, request: ColumnsRequest = ColumnsRequest()) -> tuple[list[pa.RecordBatch], Columns]:  # noqa: B008
    """All Rows of a file, as they leave Read."""
    plan, joiner = plan_inputs([str(file)], request), Joiner()
    pieces = [piece for split in plan.splits for piece in split.pieces]
    found = [batch for piece in pieces for batches, _, _ in read_rows(piece, 0, plan.columns) for batch in batches]
    return [*(out for batch in found for out in joiner.add(batch)), *joiner.rest()], plan.columns


def outcome(file: Path, request: ColumnsRequest = ColumnsRequest()) -> dict[str, str]:  # noqa: B008
    """id -> `scored` or the code of its dead letter."""
    found: dict[str, str] = {}
    batches, columns = rows_of(file, request)
    for batch in batches:
        good, dead = validate(batch, columns)
        found |= dict.fromkeys(good.column("id").to_pylist(), "scored")
        if dead is not None:
            found |= dict(zip(dead.column("id").to_pylist(), dead.column("code").to_pylist(), strict=True))
    return found


@given(st.lists(st.none() | st.text(max_size=20)), st.integers(0, 3))
def test_a_dictionary_counts_for_every_row_that_has_its_value(values: list[str | None], start: int) -> None:
    plain = pa.array(values, pa.string())
    expected = [len((value or "").encode()) for value in values][start:]
    for column in (plain, plain.dictionary_encode(), plain.cast(pa.large_string())):
        assert row_bytes(column.slice(start)).tolist() == expected


@given(st.lists(st.none() | st.lists(st.none() | st.text(max_size=5), max_size=4)), st.integers(0, 3))
def test_bytes_of_nested_rows_are_those_of_their_values(values: list[Any], start: int) -> None:
    expected = [sum(len((item or "").encode()) for item in value or []) for value in values][start:]
    for kind in (pa.list_(pa.string()), pa.large_list(pa.string())):
        lists = pa.array(values, kind).slice(start)
        assert row_bytes(lists).tolist() == expected
        structs = pa.StructArray.from_arrays([lists, lists], ["a", "b"])
        assert row_bytes(structs).tolist() == [2 * size for size in expected]
    maps = pa.array([[(f"k{i}", item) for i, item in enumerate(value or [])] for value in values],
                    pa.map_(pa.string(), pa.string())).slice(start)  # fmt: skip
    keys = [2 * len(value or []) for value in values][start:]
    assert row_bytes(maps).tolist() == [size + more for size, more in zip(expected, keys, strict=True)]


@given(st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 30_000)), max_size=30))
def test_cutting_keeps_every_row_and_no_part_is_above_a_limit_unless_it_is_one_row(
    sizes: list[tuple[int, int]],
) -> None:
    texts = pa.array([b"t" * text for text, _ in sizes], pa.binary())
    kept = pa.array([i for i, _ in enumerate(sizes)]), pa.array(["k" * size for _, size in sizes], pa.string())
    batch = pa.record_batch([texts, *kept], ["text", "i", "k"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.batches.sizes.MAX_TEXT_BYTES", 10_000)
        patch.setattr("transforms.batches.sizes.MAX_BATCH_BYTES", 40_000)
        patch.setattr("transforms.batches.sizes.MAX_ROWS", 7)
        parts = cut(batch)
    assert [i for part in parts for i in part.column("i").to_pylist()] == list(range(len(sizes)))
    for part in parts:
        assert part.num_rows == 1 or (part.num_rows <= 7 and int(row_bytes(part.column("text")).sum()) <= 10_000)
        assert part.num_rows == 1 or int(row_bytes(part.column("k")).sum()) <= 40_000


@pytest.mark.usefixtures("small")
def test_the_parts_of_a_block_answer_for_what_it_answered_for() -> None:
    columns = Columns(text="text", kept=pa.schema([("k", pa.string())]), kept_from=("k",))
    rows = pa.record_batch([[b"t"] * 30, ["x" * 900] * 30], ["text", "k"])
    place = np.delete(positions(5, 32), [3, 20])
    damage = [Damage(np.array([8, 25]), "not_json", "no")]
    block = Block(positions(5, 32), rows, place, damage, unfit=[Unfit("k", np.array([6, 30]), "wrong_type", "no")])
    parts = list(bounded(block, columns))
    assert sorted(np.concatenate([part.covered for part in parts]).tolist()) == list(range(5, 37))
    assert np.concatenate([part.positions for part in parts]).tolist() == place.tolist()
    assert [d for part in parts for d in part.damage] == damage
    assert max(total_bytes(part.rows) for part in parts) <= 10_000
    assert sorted(row for part in parts for lost in part.unfit for row in lost.positions.tolist()) == [6, 30]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("kind", ["flat", "list", "struct"])
def test_a_kept_column_of_parquet_streams_whatever_it_is_made_of(kind: str, dictionary: bool, tmp_path: Path) -> None:
    # One value in the file's dictionary stands for as much as all rows together.
    values = [f"{i % (2 if dictionary else 500)}" + "x" * 900 for i in range(500)]
    shapes = {"flat": values, "list": [[v] for v in values], "struct": [{"a": v, "b": 1} for v in values]}
    table = pa.table({"id": [f"r{i}" for i in range(500)], "text": ["play"] * 500, "k": shapes[kind]})
    pq.write_table(table, tmp_path / "in.parquet", use_dictionary=dictionary, row_group_size=300)
    batches, columns = rows_of(tmp_path / "in.parquet", ColumnsRequest(rename={"k": "other"}))
    assert max(total_bytes(batch) for batch in batches) <= 12_000
    found = pa.Table.from_batches(batches).select(["id", "kept:other"])
    assert found.to_pydict() == {"id": table["id"].to_pylist(), "kept:other": table["k"].to_pylist()}
    assert columns.kept.field("other").type == table.schema.field("k").type


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("keep", [None, ("doc",), ()])
def test_a_text_in_a_struct_streams_however_often_it_stands_there(keep: tuple[str, ...] | None, tmp_path: Path) -> None:
    # One page of the dictionary stands for as much as all rows together.
    docs = [{"text": f"{i % 2}" + "x" * 900, "n": i} for i in range(500)]
    table = pa.table({"id": [f"r{i}" for i in range(500)], "doc": docs})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=300)
    batches, _ = rows_of(tmp_path / "in.parquet", ColumnsRequest(text="doc.text", keep=keep))
    assert max(total_bytes(batch) for batch in batches) <= 12_000
    found = pa.Table.from_batches(batches)
    assert [text.decode() for text in found["text"].to_pylist()] == [doc["text"] for doc in docs]
    if keep != ():
        expected = docs if keep else [{"n": doc["n"]} for doc in docs]
        assert found["kept:doc"].to_pylist() == expected


def test_parquet_of_which_little_is_wanted_is_read_in_full_batches(tmp_path: Path) -> None:
    table = pa.table({"id": [f"r{i}" for i in range(9_000)], "text": ["play"] * 9_000, "k": ["x" * 5_000] * 9_000})
    pq.write_table(table, tmp_path / "in.parquet", use_dictionary=False, compression="zstd")
    batches, _ = rows_of(tmp_path / "in.parquet", ColumnsRequest(keep=()))
    assert [batch.num_rows for batch in batches] == [8_192, 808]


FORMATS = ["parquet", "jsonl", "csv", "tsv", "text"]


def write(folder: Path, kind: str, rows: list[tuple[str, str]]) -> Path:
    file = folder / f"in.{'txt' if kind == 'text' else kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"id": [i for i, _ in rows], "text": [text for _, text in rows]}), file)
    elif kind == "jsonl":
        file.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in rows))
    elif kind == "text":
        file.write_text("".join(text + "\n" for _, text in rows))
    else:
        mark = {"csv": ",", "tsv": "\t"}[kind]
        file.write_text("".join(f"{i}{mark}{text}\n" for i, text in [("id", "text"), *rows]))
    return file


@pytest.mark.parametrize("kind", FORMATS)
def test_a_text_above_the_limit_is_a_dead_letter_and_one_at_the_limit_is_scored(kind: str, tmp_path: Path) -> None:
    # The limit counts bytes, and cuts through no character: "é" has two.
    rows = [("a", "é" * 50), ("b", "é" * 50 + "x"), ("c", "x" * 5_000), ("d", "short"), ("e", "é" * 51)]
    request = ColumnsRequest(id=None if kind == "text" else "id", max_text_bytes=100)
    codes = list(outcome(write(tmp_path, kind, rows), request).values())
    assert sorted(codes) == ["scored"] * 2 + ["text_too_long"] * 3


def test_each_text_of_a_pair_has_the_limit_and_the_id_comes_first(tmp_path: Path) -> None:
    ten, eleven = "x" * 10, "x" * 11
    rows = [{"id": "a", "text": eleven, "b": "y"}, {"id": "b", "text": "x", "b": eleven}, {"id": "c", "b": eleven}]
    rows += [{"id": " ", "text": eleven, "b": "y"}, {"id": "d", "text": ten, "b": ten}]
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    request = ColumnsRequest(text_pair="b", max_text_bytes=10)
    codes = {"a": "text_too_long", "b": "text_too_long", "c": "missing_text", " ": "missing_id", "d": "scored"}
    assert outcome(file, request) == codes


@pytest.mark.parametrize("limit", [50, 16 * 1024 * 1024])
@pytest.mark.usefixtures("small")
def test_a_long_line_of_jsonl_keeps_its_id_and_gives_up_what_is_too_large(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_files, "CHUNK_BYTES", 4_096)
    rows = [{"id": "a", "text": "x", "k": 1}, {"id": "b", "text": "x", "k": "v" * 30_000},
            {"id": "c", "text": "y" * 30_000, "k": "1"}, {"id": "d", "text": "x", "k": 2}]  # fmt: skip
    lines = [json.dumps(row) for row in rows]
    lines.insert(2, '{"id": "broken", "text": "' + "z" * 30_000)
    file = tmp_path / "in.jsonl"
    file.write_text("\n".join(lines) + "\n")
    request = ColumnsRequest(types={"k": pa.string()}, max_text_bytes=limit)
    plan = plan_inputs([str(file)], request)
    blocks = list(read_piece(plan.splits[0].pieces[0], plan.columns))
    assert sorted(np.concatenate([block.covered for block in blocks]).tolist()) == [0, 1, 2, 3, 4]
    assert [(d.positions.tolist(), d.code) for block in blocks for d in block.damage] == [([2], "not_json")]
    # Of the line with a long text nothing that is kept is lost.
    assert [(lost.column, lost.positions.tolist()) for block in blocks for lost in block.unfit] == [("k", [1])]
    kept = {row["id"]: row["k"] for block in blocks for row in block.rows.to_pylist()}
    assert kept == {b"a": b"1", b"b": None, b"c": b"1", b"d": b"2"}
    last = "text_too_long" if limit == 50 else "scored"
    assert outcome(file, request) == {"a": "scored", "b": "scored", "c": last, "d": "scored"}


def test_a_string_of_escapes_is_measured_by_what_it_stands_for() -> None:
    line = b'{"id": "a", "text": "' + b"\\u0061" * 100 + b'", "k": "\\"' + b"v" * 700 + b'"}'
    assert json_kinds.abridged(line, 602, b'"~"') == line.replace(b'\\"' + b"v" * 700, b"~")
    assert json_kinds.abridged(line, 601, b'"~"').count(b"~") == 2


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_line_that_is_no_line_is_found_early_or_by_the_worker(early: bool, compression: str | None, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 3_000_000)
    content = (b"" if early else b"a\n" * 600_000) + b"\0" * 4_000_000
    file = tmp_path / ("in.txt.gz" if compression else "in.txt")
    with pa.CompressedOutputStream(str(file), compression) if compression else file.open("wb") as sink:
        sink.write(content)
    if early:
        with pytest.raises(PlanError, match=r"a line of more than 3,000,000 bytes"):
            plan_inputs([str(file)], ColumnsRequest(id=None))
        return
    plan = plan_inputs([str(file)], ColumnsRequest(id=None))
    with pytest.raises(NotWhatItClaimsError, match=r"in.txt.*: has a line of more than 3,000,000 bytes"):
        list(read_piece(plan.splits[0].pieces[0], plan.columns))


def test_a_late_long_line_of_a_large_file_is_found_where_it_is_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(line_files, "MAX_LINE_BYTES", 9_000_000)
    monkeypatch.setattr("transforms.read.inspect_file.SPLIT_BYTES", 2_000_000)
    (tmp_path / "in.txt").write_bytes(b"a\n" * 1_000_000 + b"b" * 20_000_000)
    with pytest.raises(PlanError, match="a line of more than 9,000,000 bytes"):
        plan_inputs([str(tmp_path / "in.txt")], ColumnsRequest(id=None))


class Growing(io.BytesIO):
    """A file to which somebody adds lines while it is read."""

    def read(self, size: int | None = -1) -> bytes:
        data, at = super().read(size), self.tell()
        self.seek(0, io.SEEK_END)
        self.write(b'{"id": "late", "text": "late"}\n')
        self.seek(at)
        return data


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_of_a_file_that_grows_the_planned_bytes_are_read(compression: str | None) -> None:
    content = b"".join(b'{"id": "%d", "text": "x"}\n' % i for i in range(50))
    data = gzip.compress(content) if compression else content
    piece = Piece(number=0, file="in.jsonl", size=len(data), version="", format="jsonl", compression=compression)
    lines = list(line_files.lines_of(planned(Growing(data), len(data)), piece))
    assert sum(len(some.starts) for some in lines) == 50


def test_of_a_file_that_grows_while_it_is_planned_no_piece_goes_past_its_listed_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.inspect_file.SPLIT_BYTES", 100)
    file = tmp_path / "in.txt"
    file.write_bytes(b"a\n" * 500)
    info = LocalStore().stat(str(file))
    assert info is not None
    with file.open("ab") as more:
        more.write(b"late\n" * 100)
    os.utime(file, ns=(int(info.version), int(info.version)))
    assert look(info, "text", None, Dialect()).pieces[-1].end == 1_000


def test_a_piece_of_a_file_that_grows_ends_where_it_was_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"".join(b'{"id": "%d", "text": "x"}\n' % i for i in range(50))
    monkeypatch.setattr(LocalStore, "open", lambda store, path, version: Growing(data))
    piece = Piece(number=0, file="in.jsonl", size=len(data), version="", format="jsonl")
    blocks = list(read_piece(piece, Columns(id="id", text="text")))
    assert sum(block.rows.num_rows for block in blocks if isinstance(block, Block)) == 50


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zeros.jsonl.bz2", "line.txt", "line.csv"])
def test_a_line_of_a_gigabyte_is_refused_within_seconds(name: str, tmp_path: Path) -> None:
    file, start = tmp_path / name, time.process_time()
    if name.endswith("bz2"):
        file.write_bytes(bz2.compress(bytes(64 << 20)) * 16)
    else:
        file.touch()
        os.truncate(file, 1 << 30)
    with pytest.raises((NotWhatItClaimsError, PlanError), match="268,435,456 bytes"):
        plan_inputs([str(file)], ColumnsRequest())
    assert time.process_time() - start < 30


@pytest.mark.parametrize("kind", ["list", "struct", "list of structs", "map"])
def test_a_value_that_is_repeated_inside_of_a_column_is_read_in_few_rows_at_once(kind: str, tmp_path: Path) -> None:
    """A file of some kilobytes stands for gigabytes, written out."""
    value, rows = "x" * 300_000, 400
    column = {
        "list": pa.array([[value]] * rows),
        "struct": pa.array([{"body": value}] * rows),
        "list of structs": pa.array([[{"body": value}]] * rows),
        "map": pa.array([[("k", value)]] * rows, pa.map_(pa.string(), pa.string())),
    }[kind]
    texts = pa.array([f"text {i}" for i in range(rows)])
    file = write_parquet(tmp_path / "in.parquet", pa.table({"id": texts, "text": texts, "k": column}))
    assert file.stat().st_size < 2_000_000
    before = pa.total_allocated_bytes()
    plan = plan_inputs([str(file)], ColumnsRequest())
    peak, read = 0, 0
    for piece in (piece for split in plan.splits for piece in split.pieces):
        for batches, dead, _ in read_rows(piece, 0, plan.columns):
            assert not dead
            read += sum(batch.num_rows for batch in batches)
            peak = max(peak, pa.total_allocated_bytes() - before)
            del batches
    assert read == rows
    assert peak < 100_000_000, "all of them at once are 120 MB, several times"
