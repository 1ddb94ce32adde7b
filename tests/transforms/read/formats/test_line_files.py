"""Lines and JSON lines, against plain loops over str.split and json.loads."""

import io
import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transforms.batches.coder import RecordBatchCoder
from transforms.batches.schemas import Columns
from transforms.read.columns import ColumnsRequest, SchemaUnion
from transforms.read.formats import lines as line_files
from transforms.read.formats.blocks import Block
from transforms.read.formats.jsonl import json_block, keys_of, read_jsonl
from transforms.read.formats.lines import Lines, lines_of, read_plain, split_lines
from transforms.read.values.json.kinds import infer, objects
from transforms.runs.plan import Piece

BOM = b"\xef\xbb\xbf"
BYTES = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"{", b"}", b" ", b"\xff", b"\0", BOM])).map(b"".join)
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def plain_lines(content: bytes) -> list[bytes]:
    """Lines of a whole file as one would write it down."""
    lines = re.split(rb"\r\n|\r|\n", content)
    if lines[-1] == b"":
        lines.pop()
    if lines and lines[0].startswith(BOM):
        lines[0] = lines[0][3:]
    return lines


def piece_of(content: bytes, **more: Any) -> Piece:
    return Piece(number=0, file="f", size=len(content), version="", format="jsonl", **more)


def all_lines(parts: list[Lines]) -> list[bytes]:
    return [part.line(i) for part in parts for i in range(len(part.starts))]


@relaxed
@given(BYTES, st.integers(1, 9))
def test_lines_are_those_of_split_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch, content: bytes, chunk: int
) -> None:
    monkeypatch.setattr("transforms.read.formats.lines.CHUNK_BYTES", chunk)
    parts = list(lines_of(io.BytesIO(content), piece_of(content)))
    assert all_lines(parts) == plain_lines(content)
    assert [part.first for part in parts] == np.cumsum([0, *(len(part.starts) for part in parts)]).tolist()[:-1]


@relaxed
@given(BYTES)
def test_each_line_of_plain_text_is_a_row(content: bytes) -> None:
    blocks = list(read_plain(io.BytesIO(content), piece_of(content), Columns(text="text")))
    assert [text for block in blocks for text in block.rows.column("text").to_pylist()] == plain_lines(content)
    assert [at for block in blocks for at in block.covered.tolist()] == list(range(len(plain_lines(content))))


COLUMNS = Columns(
    text="text",
    id="id",
    kept=pa.schema(
        [("i", pa.int64()), ("f", pa.float64()), ("b", pa.bool_()), ("s", pa.string()), ("l", pa.list_(pa.int64()))]
    ),
    kept_from=("i", "f", "b", "s", "l"),
)
KEYS = keys_of(COLUMNS)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-9, 9),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.one_of(st.integers(0, 9), st.none(), st.text(max_size=1)), max_size=2),
    st.dictionaries(st.text(max_size=1), st.integers(), max_size=2),
)
OBJECTS = st.dictionaries(st.sampled_from(["id", "text", "i", "f", "b", "s", "l", "z"]), VALUES)
DUMPED = st.tuples(OBJECTS, st.booleans()).map(
    lambda given: json.dumps(given[0], ensure_ascii=given[1]).encode("utf-8")
)
GARBAGE = [
    b"", b"  ", b"null", b"{", b"}", b"[]", b"{}{}", b"{} null {}", b"5", b'"x"', b"{}", b'{"id":', b'"a"}', b"\xff",
    b'{"id": "a", "text": "\xff"}', b'{"id": "a", "text": "x", "s": "\xff", "l": []}', b'{"text": "\\ud800"}',
    b'{"id": "a", "text": "x", "z": NaN}', b'{"id": "a", "z": 1, "z": 2}', b'{"id": "a", "id": "b"}',
    b'{"id": "a", "text": "x", "z": ' + b"[" * 3_000 + b"]" * 3_000 + b"}", b' {"id": "a", "text": "x"} ', b"{]}",
    b'{"id": 7, "text": "\t"}', b'{"f": Infinity}', b'{"f": 1e999}', b'{"i": 1.0}', b'{"i": 1e2}', b'{"f": 5}',
]  # fmt: skip
LINES = st.lists(st.one_of(DUMPED, st.sampled_from(GARBAGE)), max_size=40)


def unfit(block: Block) -> dict[int, list[tuple[str, str]]]:
    """row -> the columns whose value did not fit, with codes."""
    found: dict[int, list[tuple[str, str]]] = {}
    for column, places, code, _ in block.unfit:
        for at in places.tolist():
            found.setdefault(at, []).append((column, code))
    # A block names columns in the order in which it met them.
    return {at: sorted(lost) for at, lost in found.items()}


def by_row(block: Block) -> dict[int, Any]:
    """row -> its values and what did not fit, or its code and reason; each covered row has one of them, once."""
    rows = [tuple(map(repr, row.values())) for row in block.rows.to_pylist()]
    rows = [(*row, *unfit(block).get(at, [])) for at, row in zip(block.positions.tolist(), rows, strict=True)]
    found = list(zip(block.positions.tolist(), rows, strict=True))
    found += [(int(at), tuple(damage[1:])) for damage in block.damage for at in damage.positions]
    assert sorted(at for at, _ in found) == sorted(block.covered.tolist())
    assert block.rows.schema.equals(KEYS.given)
    return dict(found)


@relaxed
@given(LINES, st.sampled_from([1, 3, 32]))
def test_what_becomes_of_a_line_depends_on_that_line_only(
    monkeypatch: pytest.MonkeyPatch, lines: list[bytes], few: int
) -> None:
    monkeypatch.setattr("transforms.read.formats.jsonl._FEW", few)
    together = by_row(json_block(split_lines(b"\n".join(lines), 5), KEYS))
    alone = {
        5 + i: by_row(json_block(split_lines(line, 9), KEYS))[9] for i, line in enumerate(lines) if line.strip()
    }  # fmt: skip
    assert together == alone


def test_a_value_is_neither_bent_nor_refused_for_what_stands_beside_it() -> None:
    lines = [
        b'{"id": 1, "i": 1.5}',
        b'{"id": 2, "f": true}',
        b'{"id": 3, "f": 9007199254740993}',
        b'{"id": 4, "i": 2.0}',
    ]
    found = by_row(json_block(split_lines(b"\n".join(lines), 0), KEYS))
    assert [found[at][-1] for at in (0, 1, 2)] == [("i", "wrong_type"), ("f", "wrong_type"), ("f", "wrong_type")]
    assert [found[0][2], found[1][3], found[2][3], found[3][2]] == ["None", "None", "None", "2"]


def test_nan_is_no_json_whatever_stands_beside_it() -> None:
    for lines in ([b'{"f": NaN}'], [b'{"f": NaN}', b'{"f": 1}'], [b'{"f": NaN}', b"{}{}"]):
        block = json_block(split_lines(b"\n".join(lines), 0), KEYS)
        assert by_row(block)[0][3:] == ("None",) * 4 + (("f", "not_json"),)


def as_read(row: dict[str, Any]) -> dict[str, Any] | str:
    """What json.loads and the documents say of an object: its values, null where a kept one does not fit, or a code."""
    out: dict[str, Any] = {}
    for name, value in ((name, row.get(name)) for name in KEYS.given.names):
        if value is None:
            out[name] = None
        elif name == "text" and isinstance(value, str):
            out[name] = value.encode()
        elif name == "id" and isinstance(value, str | int) and not isinstance(value, bool):
            out[name] = str(value).encode()
        elif name == "s":
            out[name] = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()
        elif (name == "b" and isinstance(value, bool)) or (
            name == "l" and isinstance(value, list) and not any(isinstance(v, str | float) for v in value)
        ):
            out[name] = value
        elif name in "if" and isinstance(value, int | float) and not isinstance(value, bool):
            fits = (value == int(value) and -(2**63) <= value < 2**63) if name == "i" else float(value) == value
            out[name] = (float(value) if name == "f" else value) if fits else None
        elif name == "id" and isinstance(value, float) and value == int(value) and abs(value) < 2**53:
            out[name] = str(int(value)).encode()
        elif name in ("id", "text"):
            return "wrong_type"
        else:
            out[name] = None
    return out


@relaxed
@given(st.lists(st.dictionaries(st.sampled_from(["id", "text", "i", "f", "b", "s", "l", "z"]), st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(-1e15, 1e15), st.text(max_size=4),
    st.lists(st.one_of(st.integers(0, 9), st.none(), st.text(max_size=1), st.just(0.5)), max_size=2),
)), max_size=30))  # fmt: skip
def test_json_lines_are_read_as_json_loads_reads_them(rows: list[dict[str, Any]]) -> None:
    block = json_block(split_lines(b"\n".join(json.dumps(row).encode() for row in rows), 0), KEYS)
    found: dict[int, Any] = dict(zip(block.positions.tolist(), block.rows.to_pylist(), strict=True))
    found |= {int(damage.positions[0]): damage.code for damage in block.damage}
    expected = dict(enumerate(as_read(row) for row in rows))
    assert found == expected or not rows


@relaxed
@given(LINES, st.integers(1, 60))
def test_jsonl_is_the_same_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch, lines: list[bytes], chunk: int) -> None:
    content = b"\r\n".join(lines)
    whole = [by_row(block) for block in read_jsonl(io.BytesIO(content), piece_of(content), COLUMNS)]
    with monkeypatch.context() as small:
        small.setattr("transforms.read.formats.lines.CHUNK_BYTES", chunk)
        parts = [by_row(block) for block in read_jsonl(io.BytesIO(content), piece_of(content), COLUMNS)]
    assert {at: row for part in parts for at, row in part.items()} == {
        at: row for part in whole for at, row in part.items()
    }


@relaxed
@given(st.lists(st.one_of(DUMPED, st.sampled_from(GARBAGE)), max_size=20))
def test_inferred_types_can_be_declared_written_and_read_again(lines: list[bytes]) -> None:
    rows = objects(lines)
    assert len(rows) <= len(lines)
    kinds = infer(rows)
    union = SchemaUnion(ColumnsRequest(), loose=False, json=True)
    union.add(pa.schema(list(kinds.items())), "f")
    kept = [field for field in union.schema if field.name not in ("id", "text")]
    columns = Columns(text="text", id="id", kept=pa.schema(kept), kept_from=tuple(field.name for field in kept))
    block = json_block(split_lines(b"\n".join(lines), 0), keys_of(columns))
    assert block.rows.num_rows + len(block.damage) == len(block.covered)
    coder = RecordBatchCoder()
    assert coder.decode(coder.encode(block.rows)).schema.equals(block.rows.schema)
    pq.write_table(pa.Table.from_batches([block.rows]), pa.BufferOutputStream())


@given(st.lists(st.binary(max_size=3).filter(lambda line: not set(line) & set(b"\r\n")), min_size=1, max_size=30))
def test_many_lines_come_a_few_at_a_time(lines: list[bytes]) -> None:
    whole = split_lines(b"\n".join(lines), 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_files, "MANY", 4)
        parts = list(line_files.few_at_once(iter([whole])))
    assert [part.line(i) for part in parts for i in range(len(part.starts))] == lines
    assert [part.first for part in parts] == list(range(5, 5 + len(lines), 4))
