"""Text files before a run: what of them is asked or refused, and what the same file is in another encoding."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.bundling.training_job import TrainingJob
from pipeline.jobs.config import JobConfig
from transforms.batches.dialect import Dialect
from transforms.batches.schemas import Columns
from transforms.errors import PlanError
from transforms.read.columns import ColumnsRequest
from transforms.read.plan_files import plan_inputs
from transforms.read.step import read_rows
from transforms.runs.plan import Plan, Split, plan_digest, read_plan, write_plan
from transforms.stores.choose import store_for
from transforms.validate import validate

DUMP = [
    '"Alien" is a great film',
    '"Heat is too long',
    "play some jazz",
    "book a table",
    '"what a mess',
    "add this song",
]


def plan(file: Path, content: bytes, *, id: str | None = "id", **dialect: Any) -> Plan:
    file.write_bytes(content)
    return plan_inputs([str(file)], ColumnsRequest(id=id), dialect=Dialect(**dialect))


def texts(plan: Plan) -> tuple[dict[str, str], dict[int, str]]:
    """What a run would score, id -> text, and its dead letters, row -> code; asserts that the row counts agree."""
    good: dict[str, str] = {}
    bad: dict[int, str] = {}
    read = 0
    for piece in (piece for split in plan.splits for piece in split.pieces):
        for batches, dead, count in read_rows(piece, 0, plan.columns):
            read += count.rows
            for valid, rejected in (validate(batch, plan.columns) for batch in batches):
                good |= zip(valid.column("id").to_pylist(), valid.column("text").to_pylist(), strict=True)
                dead = [*dead, *([] if rejected is None else [rejected])]
            for letters in dead:
                bad |= zip(letters.column("row").to_pylist(), letters.column("code").to_pylist(), strict=True)
    assert read == len(good) + len(bad)
    return good, bad


def dump(lines: list[str], start: str = "id\ttext\n") -> bytes:
    return (start + "".join(f"{i}\t{text}\n" for i, text in enumerate(lines, 1))).encode()


def test_a_tsv_whose_texts_begin_with_a_mark_is_refused_with_both_readings(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        plan(tmp_path / "in.tsv", dump(DUMP))
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'in.tsv'}: in line 2 a field begins with a quotation mark")
    assert "ends on its line and loses its marks, and the first 7 lines are 4 records with the header" in said
    assert "every line is a record (7)" in said
    assert "--quote '\"' or --quote none" in said
    assert not [
        word for text in DUMP for word in text.split() if f" {word} " in said and word not in ("is", "a", "some")
    ]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["x", '"two\ttabs', "y", 'z"', "w"], "belongs to a record that takes lines 3 to 5"),
        (["x", '"never'], "is never closed there"),
    ],
)
def test_the_place_is_shown_by_its_lines(lines: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="in line 3 a field") as caught:
        plan(tmp_path / "in.tsv", dump(lines))
    assert says in str(caught.value)


def test_the_marks_of_a_tsv_are_text_or_quotes_as_the_job_says(tmp_path: Path) -> None:
    good, bad = texts(plan(tmp_path / "in.tsv", dump(DUMP), quote="none"))
    assert (list(good.values()), bad) == (DUMP, {})
    good, bad = texts(plan(tmp_path / "in.tsv", dump(['"a\tb"', "c"]), quote='"'))
    assert (good, bad) == ({"1": "a\tb", "2": "c"}, {})


@pytest.mark.parametrize(
    ("name", "header", "dialect"),
    [("in.tsv", '"id"\t"text"\n', {}), ("in.csv", 'id\ttext\n7\t"x"\n', {"delimiter": "tab"})],
)
def test_the_header_and_a_csv_with_tabs_are_asked_about_too(
    name: str, header: str, dialect: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match="begins with a quotation mark"):
        plan(tmp_path / name, dump(["x"], header), **dialect)
    assert texts(plan(tmp_path / name, dump(["x"], header), quote='"', **dialect))[0]["1"] == "x"


def test_a_comma_between_the_fields_leaves_nothing_to_ask(tmp_path: Path) -> None:
    assert texts(plan(tmp_path / "in.csv", b'id,text\n1,"x, y"\n'))[0] == {"1": "x, y"}
    assert texts(plan(tmp_path / "in.tsv", b'id;text\n1;"x; y"\n', delimiter=";"))[0] == {"1": "x; y"}


def test_long_lines_are_looked_at_to_the_thousandth(tmp_path: Path) -> None:
    lines = ["long " * 500] * 998
    plan(tmp_path / "in.tsv", dump([*lines, "x", "y", '"']))
    with pytest.raises(PlanError, match=r"in line 1,?000 a field"):
        plan(tmp_path / "in.tsv", dump([*lines, '"x']))


@pytest.mark.parametrize("content", [b"SECRET,Smith\nx,y\n", b"17,SECRET\n", b"SECRET\n", b'"SECRET one","two"\n'])
def test_a_first_line_that_is_no_header_is_not_quoted(content: bytes, tmp_path: Path) -> None:
    for id in ("id", None):
        with pytest.raises(PlanError, match=r"its first line has [12] field") as caught:
            plan(tmp_path / "in.csv", content, id=id)
        assert "SECRET" not in str(caught.value)
        assert "Smith" not in str(caught.value)
    with pytest.raises(PlanError, match="it has 'id', 'body'"):
        plan(tmp_path / "in.csv", b"id,body\n1,x\n")


@pytest.mark.parametrize("name", ["in.csv", "in.tsv", "in.txt", "in.jsonl"])
@pytest.mark.parametrize("where", [3, 1_500])
def test_nul_bytes_are_the_same_in_first_and_later_lines(name: str, where: int, tmp_path: Path) -> None:
    rows = [(f"r{i}", "a nul \0 in a text" if i == where else "x") for i in range(1_600)]
    separator = "," if name == "in.csv" else "\t"
    content = f"id{separator}text\n" + "".join(f"{id}{separator}{text}\n" for id, text in rows)
    if name == "in.jsonl":
        content = "".join(f'{{"id": "{id}", "text": "{text}"}}\n' for id, text in rows)
    if name == "in.txt":
        content = "".join(f"{text}\n" for _, text in rows)
    good, bad = texts(plan(tmp_path / name, content.encode(), id=None if name == "in.txt" else "id"))
    assert bad == ({where: "not_json"} if name == "in.jsonl" else {})
    assert len(good) == 1_600 - len(bad)


@pytest.mark.parametrize("name", ["in.csv", "in.tsv", "in.txt", "in.jsonl"])
@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", "mixed"])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_line_end_is_one_in_every_format(name: str, end: str, compressed: bool, tmp_path: Path) -> None:
    ends = ["\r", "\n", "\r\n"] if end == "mixed" else [end]
    separator = "," if name == "in.csv" else "\t"
    lines = [f"id{separator}text", *(f"r{i}{separator}text {i}" for i in range(2_000))]
    if name == "in.jsonl":
        lines = [json.dumps({"id": f"r{i}", "text": f"text {i}"}) for i in range(2_000)]
    if name == "in.txt":
        lines = [f"text {i}" for i in range(2_000)]
    content = "".join(line + ends[i % len(ends)] for i, line in enumerate(lines)).encode()
    file = tmp_path / (name + ".gz" * compressed)
    good, bad = texts(plan(file, gzip.compress(content, mtime=0) if compressed else content))
    assert (list(good.values()), bad) == ([f"text {i}" for i in range(2_000)], {})


@pytest.mark.parametrize("name", ["in.csv", "in.txt", "in.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "cp1252", "shift_jis"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_in_another_encoding_has_the_rows_of_the_same_in_utf8(
    name: str, encoding: str, compressed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.inspect_file.SPLIT_BYTES", 100)
    word = "日本" if encoding == "shift_jis" else "café"
    lines = {
        "in.csv": ["id,text", *(f'{i},"{word}\n{i}"' for i in range(99))],
        "in.txt": [f"{word} {i}" for i in range(99)],
        "in.jsonl": [json.dumps({"id": i, "text": f"{word} {i}"}, ensure_ascii=False) for i in range(99)],
    }[name]
    whole = "\n".join(lines)
    found = []
    for said in ("utf-8", encoding):
        content = whole.encode(said)
        file = tmp_path / (name + ".gz" * compressed)
        found.append(texts(plan(file, gzip.compress(content, mtime=0) if compressed else content, encoding=said)))
    assert found[0] == found[1]
    assert (len(found[0][0]), found[0][1]) == (99, {})


def test_a_byte_that_the_encoding_does_not_have_is_one_dead_letter(tmp_path: Path) -> None:
    good, bad = texts(plan(tmp_path / "in.csv", b"id,text\na,x\nb,\x81\nc,\xe9\n", encoding="cp1252"))
    assert (good, bad) == ({"a": "x", "c": "é"}, {1: "not_utf8"})


def test_utf16_without_its_mark_and_with_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="has no byte order mark, which --encoding utf-16 needs"):
        plan(tmp_path / "in.txt", "x".encode("utf-16-le"), encoding="utf-16")
    with pytest.raises(PlanError, match="is UTF-16"):
        plan(tmp_path / "in.txt", "x".encode("utf-16"))


@pytest.mark.parametrize(
    ("name", "dialect", "says"),
    [
        ("in.jsonl", {"quote": "none"}, "--quote is for CSV and TSV; the input is jsonl"),
        ("in.txt", {"max_record_lines": 5}, "--max-record-lines is for CSV and TSV; the input is text"),
        ("in.csv", {"escape": '"'}, "they must differ"),
    ],
)
def test_a_flag_that_says_nothing_of_the_input_is_refused(
    name: str, dialect: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match=says):
        plan(tmp_path / name, b'{"id": "a", "text": "x"}\n', **dialect)


def test_a_hundred_thousand_columns_are_planned_within_seconds(tmp_path: Path) -> None:
    names = ["id", "text", *(f"column_{i}" for i in range(100_000))]
    content = ",".join(names) + "\n" + "".join(f"r{i},play," + ",".join(["7"] * 100_000) + "\n" for i in range(20))
    start = time.process_time()
    found = plan(tmp_path / "in.csv", content.encode())
    assert time.process_time() - start < 20
    assert len(found.columns.kept) == 100_000


def test_the_dialect_is_in_the_digest_only_if_it_is_said_and_plans_stay_as_they_were(tmp_path: Path) -> None:
    found = plan(tmp_path / "in.csv", b"id,text\na,x\n")
    assert isinstance(found.columns, Columns)
    spoken = plan(tmp_path / "in.csv", b"id,text\na,x\n", quote="'")
    assert plan_digest(found, {}) != plan_digest(spoken, {})
    path = str(tmp_path / "plan.parquet")
    write_plan(store_for(path), path, spoken, {})
    splits, _ = read_plan(store_for(path), path)
    assert splits == [Split(number=0, pieces=spoken.splits[0].pieces)]


def test_a_job_and_a_training_say_it_alike(tmp_path: Path) -> None:
    said = {"delimiter": "tab", "quote": "none", "escape": "\\", "encoding": "latin-1", "max_record_lines": 7}
    job = JobConfig(bundle="b", input="i.csv", output=str(tmp_path), **said)
    training = TrainingJob(input=("i.csv",), output=str(tmp_path / "new"), name="n", **said)
    assert job.dialect == training.dialect == Dialect(**said)
    assert not {*said} & JobConfig(bundle="b", input="i.csv", output=str(tmp_path)).compared_settings.keys()
    assert job.compared_settings["quote"] == "none"
    with pytest.raises(ValueError, match="--quote is for files"):
        JobConfig(bundle="b", input="bq://p.d.t", output=str(tmp_path), quote="none")
