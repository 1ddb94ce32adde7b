"""Where files are cut, and what columns the plan gives a job."""

import io
import socket
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.jobs import write_parquet

from pipeline.errors import cause
from transforms.batches.schemas import Columns
from transforms.errors import FileGoneError, PlanError
from transforms.read import inspect_file as look
from transforms.read.columns import ColumnsRequest, SchemaUnion, check_names, resolve
from transforms.read.formats.lines import lines_of
from transforms.read.plan_files import plan_inputs
from transforms.read.step import list_splits
from transforms.runs.plan import Piece, Plan, TableInput, planned_splits, read_plan, write_plan
from transforms.runs.resume import read_taken
from transforms.stores.choose import store_for

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@relaxed
@given(
    st.lists(st.sampled_from([b"a", b"\n", b"bcd\n", b"\r\n", b"\r", b"\xef\xbb\xbf"])).map(b"".join),
    st.integers(1, 20),
    st.integers(1, 12),
)
def test_pieces_together_have_the_lines_and_positions_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, content: bytes, split: int, chunk: int
) -> None:
    monkeypatch.setattr("transforms.read.inspect_file.SPLIT_BYTES", split)
    monkeypatch.setattr("transforms.read.formats.lines.CHUNK_BYTES", chunk)
    whole = Piece(number=0, file="f", size=len(content), version="", format="jsonl")
    pieces = list(look.cut_lines(io.BytesIO(content), whole))
    assert [piece.start for piece in pieces] == [0, *(piece.end for piece in pieces)][: len(pieces)]
    assert not pieces or pieces[-1].end == len(content)

    def numbered(parts: list[Piece]) -> list[tuple[int, bytes]]:
        found = [lines for part in parts for lines in lines_of(io.BytesIO(content), part)]
        return [(lines.first + i, lines.line(i)) for lines in found for i in range(len(lines.starts))]

    assert numbered(pieces) == numbered([whole])


def test_large_files_are_cut_and_small_ones_share_a_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", 100)
    monkeypatch.setattr("transforms.read.inspect_file.MAX_ROWS", 30)
    rows = {"id": [str(i) for i in range(250)], "text": ["x"] * 250}
    write_parquet(tmp_path / "a.parquet", rows, row_group_size=30)
    for name in "bcd":
        write_parquet(tmp_path / f"{name}.parquet", {"id": ["1"] * 40, "text": ["x"] * 40})
    plan = plan_inputs([str(tmp_path / "*.parquet")], ColumnsRequest())
    names = [[(Path(p.file).stem, p.first_row, p.rows) for p in split.pieces] for split in plan.splits]
    assert names == [[("a", 0, 90)], [("a", 90, 90)], [("a", 180, 70)], [("b", 0, 40), ("c", 0, 40)], [("d", 0, 40)]]
    numbers = [p.number for split in plan.splits for p in split.pieces]
    assert numbers == sorted(set(numbers))
    assert (plan.rows, plan.exact) == (370, True)
    store = store_for(str(tmp_path))
    write_plan(store, str(tmp_path / "plan"), plan, {"run": "r"})
    assert read_plan(store, str(tmp_path / "plan")) == (list(plan.splits), {"run": "r"})


def union(request: ColumnsRequest, *kinds: pa.DataType, loose: bool = False) -> pa.DataType:
    schemas = SchemaUnion(request, loose=loose)
    for number, kind in enumerate(kinds):
        schemas.add(pa.schema([("k", kind)]), f"file {number}")
    return schemas.schema.field("k").type


ORDINARY = ColumnsRequest()


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([pa.int16(), pa.int64()], pa.int64()),
        ([pa.int64(), pa.float64()], pa.float64()),
        ([pa.null(), pa.null()], pa.string()),
        ([pa.null(), pa.date32()], pa.date32()),
        ([pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.string_view()], pa.string()),
        ([pa.dictionary(pa.int8(), pa.int64())], pa.int64()),
        ([pa.list_(pa.null())], pa.list_(pa.string())),
        ([pa.list_(pa.null()), pa.list_(pa.float64())], pa.list_(pa.float64())),
        ([pa.list_(pa.large_string()), pa.list_(pa.string())], pa.list_(pa.string())),
        ([pa.struct({"a": pa.int64()}), pa.struct({"b": pa.null()})], pa.struct({"a": pa.int64(), "b": pa.string()})),
    ],
)
def test_types_of_one_meaning_are_one_type(kinds: list[pa.DataType], expected: pa.DataType) -> None:
    assert union(ORDINARY, *kinds) == expected


def test_types_of_two_meanings_are_refused_by_the_name_of_the_file() -> None:
    lists = pa.list_(pa.int64())
    with pytest.raises(PlanError, match="file 1: column 'k' is list<item: int64>, but int64 in the files before it"):
        union(ORDINARY, pa.int64(), lists)
    assert union(ORDINARY, pa.int64(), pa.bool_()) == pa.string(), "single values meet as text"
    assert union(ORDINARY, pa.int64(), pa.string(), loose=True) == pa.string()
    assert union(ColumnsRequest(keep=()), pa.int64(), lists) == pa.string()
    assert union(ColumnsRequest(types={"k": pa.float64()}), pa.int64(), pa.string()) == pa.float64()
    assert union(ColumnsRequest(id="k"), pa.int64(), pa.string()) == pa.string()


def test_names_that_clash_or_do_nothing_are_refused() -> None:
    schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("a", pa.int64()), ("b", pa.int64())])
    assert resolve(schema, ORDINARY).kept_from == ("a", "b")
    assert resolve(schema, ColumnsRequest(keep=("b", "id"))).kept_from == ("b",)
    with pytest.raises(PlanError, match="two columns the same name: 'b'"):
        resolve(schema, ColumnsRequest(rename={"a": "b"}))
    with pytest.raises(PlanError, match="column 'b' is not among those kept"):
        resolve(schema, ColumnsRequest(keep=("a",), rename={"b": "c"}))
    with pytest.raises(PlanError, match="no column 'c' in the input; it has 'id', 'text', 'a', 'b'"):
        resolve(schema, ColumnsRequest(keep=("c",)))


def test_a_table_has_no_folders_of_dates_whose_key_could_clash() -> None:
    schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("dt", pa.string()), ("n", pa.int64())])
    columns = resolve(schema, ORDINARY)
    check_names(columns, "classification", folder=False)
    with pytest.raises(PlanError, match="column 'dt' has the name of an output column"):
        check_names(columns, "classification")


def test_a_small_job_has_some_splits_and_a_large_one_splits_of_the_full_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("transforms.read.plan_files.SPLIT_ROWS", 64)
    for module in ("read.inspect_file", "read.plan_files"):
        monkeypatch.setattr(f"transforms.{module}.MAX_ROWS", 8)

    def splits(rows: int) -> list[int]:
        write_parquet(tmp_path / "in.parquet", {"id": ["1"] * rows, "text": ["x"] * rows}, row_group_size=4)
        plan = plan_inputs([str(tmp_path / "in.parquet")], ColumnsRequest())
        assert all(len(split.pieces) == 1 for split in plan.splits)
        return [sum(piece.rows or 0 for piece in split.pieces) for split in plan.splits]

    assert splits(20) == [8, 8, 4]
    assert splits(256) == [16] * 16
    assert splits(2_048) == [64] * 32


def session_of(plan: str) -> object:
    """Asks for the streams of a table that has no read session."""
    table = asdict(TableInput(source="bq://p.d.t", project="p", columns=("text",)))
    write_plan(store_for(plan), plan, Plan(columns=Columns(text="text")), {"table_input": table})
    return planned_splits(plan)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (lambda path: list(list_splits(path)), "the plan of the run"),
        (session_of, "the read session of the run"),
        (read_taken, "what the run took over"),
    ],
)
def test_a_worker_on_a_host_that_does_not_see_the_folder_of_the_run_says_so(
    asked: Callable[[str], object], what: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out" / "_runs" / "20261121T020003Z-5f3a9c"
    with pytest.raises(FileGoneError) as caught:
        asked(str(folder / "plan.parquet"))
    # As a worker process tells it, whose messages are withheld unless they are ours.
    name = f"{type(caught.value).__module__}.{type(caught.value).__name__}"
    said = cause(RuntimeError(f"Traceback (most recent call last):\n{name}: {caught.value} [while running 'Read']\n"))
    assert f"{what} is not there. Either host {socket.gethostname()} does not see the folder {folder}, " in said
