"""Files nobody wants to meet: damaged, not what they claim, changing, without rows, or unlike each other."""

import gzip
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.bundles import Built
from support.commands import ROOT, command, invoke
from support.files.bad_files import Refusal, jsonl, published
from support.jobs import DATE, Score, many_texts, write_parquet

import pipeline.scoring
from pipeline.errors import BadInputError
from pipeline.terminal.report import explain
from transforms.errors import NoInputError


def damage(file: Path, group: int, column: int, at: float, length: int = 64) -> None:
    """Overwrites bytes inside one column chunk of a Parquet file."""
    chunk = pq.ParquetFile(file).metadata.row_group(group).column(column)
    start = chunk.data_page_offset if chunk.dictionary_page_offset is None else chunk.dictionary_page_offset
    data = bytearray(file.read_bytes())
    place = start + int(chunk.total_compressed_size * at)
    data[place : place + length] = bytes(byte ^ 0x5A for byte in data[place : place + length])
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("options", [{"compression": "none", "write_page_checksum": True}, {"compression": "zstd"}])
@pytest.mark.parametrize("kept", [False, True])
def test_a_damaged_row_group_is_dead_row_for_row_and_the_others_are_scored(
    kept: bool, options: dict[str, Any], run_job: Score, tmp_path: Path
) -> None:
    columns: dict[str, Any] = {"id": [f"r{i}" for i in range(300)], "text": many_texts(300)}
    if kept:
        columns["tags"] = [[i] for i in range(300)]
    file = write_parquet(tmp_path / "in.parquet", columns, row_group_size=100, use_dictionary=False, **options)
    damage(file, group=1, column=1, at=0.5)
    outcome = published(run_job(file), scored=200, dead=100)
    assert {row["id"] for row in outcome.rows()} == {f"r{i}" for i in (*range(100), *range(200, 300))}
    dead = outcome.dead()
    assert sorted(letter["row"] for letter in dead) == list(range(100, 200))
    assert {(d["stage"], d["code"], d["reason"]) for d in dead} == {
        ("Read", "unreadable_row_group", "row group 1: the row group cannot be decoded")
    }


def test_a_damaged_row_group_is_found_where_only_the_ids_are_damaged(run_job: Score, tmp_path: Path) -> None:
    rows = {"id": [f"r{i}" for i in range(90)], "text": many_texts(90)}
    file = write_parquet(
        tmp_path / "in.parquet", rows, row_group_size=30, use_dictionary=False, write_page_checksum=True,
        compression="none",
    )  # fmt: skip
    damage(file, group=2, column=0, at=0.7, length=1)
    outcome = published(run_job(file), scored=60, dead=30)
    assert sorted(letter["row"] for letter in outcome.dead()) == list(range(60, 90))


def test_a_damaged_row_group_of_many_rows_loses_what_stands_behind_the_damage(run_job: Score, tmp_path: Path) -> None:
    rows = {"id": [f"r{i}" for i in range(20_000)], "text": [f"play {i}" for i in range(20_000)]}
    file = write_parquet(
        tmp_path / "in.parquet", rows, use_dictionary=False, write_page_checksum=True, compression="none",
        data_page_size=4_096,
    )  # fmt: skip
    damage(file, group=0, column=1, at=0.9)
    outcome = run_job(file, keep="none")
    counts = outcome.manifest["counts"]
    assert counts["scored"] + counts["dead"] == counts["read"] == 20_000
    assert counts["scored"] >= 8_192
    assert sorted(letter["row"] for letter in outcome.dead()) == list(range(counts["scored"], 20_000))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("in.parquet", b'{"id": "a", "text": "x"}\n', "is read as Parquet but has no readable Parquet footer"),
        ("in.parquet", b"", "is read as Parquet but has no readable Parquet footer"),
        ("in.parquet.gz", gzip.compress(b"PAR1", mtime=0), "is read as Parquet but has no readable Parquet footer"),
        ("in.csv", gzip.compress(b"id,text\na,x\n", mtime=0), "is read as CSV but is gzip"),
        ("in.csv", b"PK\x03\x04rest of a workbook", "is read as CSV but is zip"),
        ("in.csv", "id,text\na,x\n".encode("utf-16-le"), "the header has NUL bytes; if this is UTF-16, say --encoding"),
        ("in.csv.gz", gzip.compress("id,text\na,x\n".encode("utf-16"), mtime=0), "is read as CSV but is UTF-16"),
        ("in.csv", "id,text\na,x\n".encode("utf-16"), "is read as CSV but is UTF-16"),
        ("in.txt", "a text\n".encode("utf-16"), "is read as TEXT but is UTF-16"),
        ("in.csv", b"id,text,\xff\na,x,y\n", "the header is not UTF-8"),
        ("in.csv", b"id,text,id\na,x,y\n", "columns 1, 3 have names that stand twice in the header"),
        ("in.jsonl.gz", b'{"id": "a", "text": "x"}\n', "is read as gzip but is something else"),
        ("in.jsonl.gz", gzip.compress(b'{"id": "a"}\n' * 99, mtime=0)[:30], "cannot be decompressed as gzip"),
        ("in.jsonl", b"id,text\na,x\n", "none of its first lines is a JSON object"),
        ("in.jsonl", b'["a", "x"]', "none of its first lines is a JSON object"),
        ("in.jsonl", b"null\n", "none of its first lines is a JSON object"),
        ("in.xml", b"<a/>", "the name tells no format"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_claims_is_named_before_anything_is_written(
    name: str, content: bytes, says: str, refusal: Refusal, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    message = refusal(file)
    assert str(file) in message
    assert says in message


def test_parquet_named_jsonl_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.jsonl", {"id": ["a"], "text": ["x"]})
    assert f"{file}: is read as JSONL but is Parquet" in refusal(file)


def test_a_parquet_footer_that_is_not_utf8_is_no_readable_footer(refusal: Refusal, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["x"], "kept": ["k"]}, store_schema=False)
    file.write_bytes(file.read_bytes().replace(b"kept", b"k\xff\xff\xff"))
    assert f"{file}: is read as Parquet but has no readable Parquet footer" in refusal(file)


def test_words_like_the_first_bytes_of_another_format_are_no_other_format(run_job: Score, tmp_path: Path) -> None:
    for name, first in (("a.txt", "PAR1S is a city"), ("b.txt", "BZh is no word")):
        (tmp_path / name).write_text(first + "\n")
    published(run_job([tmp_path / "a.txt", tmp_path / "b.txt"]), scored=2)


def test_one_file_that_is_not_what_it_claims_stops_the_others(refusal: Refusal, tmp_path: Path) -> None:
    good = write_parquet(tmp_path / "a.parquet", {"id": ["a"], "text": ["x"]})
    bad = tmp_path / "b.parquet"
    bad.write_bytes(good.read_bytes()[:-20])
    assert str(bad) in refusal(good, bad)
    assert "mixes csv and parquet" in refusal(good, jsonl(tmp_path / "c.csv", {"id": 1}))


def test_missing_columns_are_named_with_those_there_are(refusal: Refusal, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "body": ["x"], "n": [1]})
    message = refusal(file)
    assert "has no column 'text'; it has 'id', 'body', 'n': choose with --text-column" in message
    message = refusal(file, text_column="body", id_column="key")
    assert "has no column 'key'; it has 'id', 'body', 'n'" in message
    assert "--id-from position" in message
    assert "column 'n' is int64, not text" in refusal(file, text_column="n")
    assert "no column 'm' in the input" in refusal(file, text_column="body", keep="m")


def test_json_objects_without_any_key_have_no_text_column(refusal: Refusal, tmp_path: Path) -> None:
    assert "it has no columns" in refusal(jsonl(tmp_path / "in.jsonl", {}, {}))


def test_ids_from_positions_leave_the_id_column_an_ordinary_one(
    refusal: Refusal, run_job: Score, tmp_path: Path
) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["same", "same"], "text": ["x", "y"]})
    assert "--rename id=input_id" in refusal(file, id_from="position")
    rows = published(run_job(file, id_from="position", rename={"id": "input_id"}), scored=2).rows()
    assert {(row["id"], row["input_id"]) for row in rows} == {(f"{file}#0", "same"), (f"{file}#1", "same")}


def test_no_matching_file_is_not_yet_there_unless_that_is_allowed(
    refusal: Refusal, run_job: Score, tmp_path: Path
) -> None:
    message = refusal(tmp_path / "nothing-*.parquet", error=NoInputError)
    assert message.endswith("nothing-*.parquet; is it written yet? (or --allow-missing)")
    # These have no such flag.
    for other in (("train", "--name", "n", "--output", tmp_path / "b"), ("certify", ROOT / "examples/snips/bundle")):
        code, _, err = invoke(*other, "--input", tmp_path / "nothing-*.parquet")
        assert (code, err.rstrip().endswith("nothing-*.parquet; is it written yet?")) == (75, True), err
    published(run_job(tmp_path / "nothing-*.parquet", allow_missing=True), scored=0)


def test_each_of_several_inputs_must_be_there(run_job: Score, tmp_path: Path) -> None:
    """Half of the inputs of a night are not a night."""
    here, there = write_parquet(tmp_path / "shop.parquet", {"id": ["1"], "text": ["x"]}), tmp_path / "web-*.parquet"
    (tmp_path / "empty").mkdir()
    for missing in (there, tmp_path / "web.parquet", tmp_path / "empty"):
        for inputs in ((here, missing), (missing, here)):
            with pytest.raises(NoInputError, match=f"^no input file matches {re.escape(str(missing))}; is it written"):
                run_job([*inputs])
    published(run_job([here, there], allow_missing=True), scored=1)


def test_a_link_to_a_file_that_is_not_there_is_told(run_job: Score, tmp_path: Path) -> None:
    """Of a disk that is not mounted, for example: its rows would be missing."""
    write_parquet(tmp_path / "in" / "1.parquet", {"id": ["1"], "text": ["x"]})
    (tmp_path / "in" / "2.parquet").symlink_to(tmp_path / "disk" / "2.parquet")
    for source in (tmp_path / "in", tmp_path / "in" / "*.parquet"):
        with pytest.raises(FileNotFoundError, match="is a link to a file that is not there") as raised:
            run_job(source)
        assert raised.value.filename == str(tmp_path / "in" / "2.parquet")
        assert explain(raised.value, "text") == 2
    write_parquet(tmp_path / "disk" / "2.parquet", {"id": ["2"], "text": ["y"]})
    published(run_job(tmp_path / "in"), scored=2)


def test_folders_that_are_named_like_files_are_told(run_job: Score, refusal: Refusal, tmp_path: Path) -> None:
    """Spark's output `b.parquet` is a folder: a pattern of files would pass it over."""
    write_parquet(tmp_path / "a.parquet", {"id": ["1"], "text": ["x"]})
    published(run_job(tmp_path / "*.parquet", output=tmp_path / "1"), scored=1)
    (tmp_path / "b.parquet").mkdir()
    (tmp_path / "b.parquet" / "_SUCCESS").touch()
    published(run_job(tmp_path / "*.parquet", output=tmp_path / "22"), scored=1)
    write_parquet(tmp_path / "b.parquet" / "part-0.parquet", {"id": ["2"], "text": ["y"]})
    said = refusal(tmp_path / "*.parquet")
    assert f"matches a folder, that of {tmp_path}/b.parquet/part-0.parquet" in said
    assert f"--input '{tmp_path}/*.parquet/**'" in said
    both = [tmp_path / "a.parquet", tmp_path / "*.parquet" / "**"]
    published(run_job(both, output=tmp_path / "23"), scored=2)
    # A pattern that is not for files of a kind may match folders: what is in them is not asked for.
    published(run_job(tmp_path / "[ab].*", output=tmp_path / "24"), scored=1)
    said = refusal(tmp_path / "b*", error=NoInputError)
    assert f"it matches folders, whose files '{tmp_path}/b*/**' names; is it written yet?" in said


def test_a_pipe_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.jsonl")
    assert "rows.jsonl: is a pipe, a device or the like" in refusal(tmp_path / "rows.jsonl")
    assert "/dev/null: is a pipe, a device or the like" in refusal("/dev/null", allow_missing=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.jsonl", b""),
        ("in.jsonl", b"\n  \n\r\n"),
        ("in.jsonl", b"\xef\xbb\xbf\n"),
        ("in.csv", b""),
        ("in.csv", b"\n\n"),
        ("in.csv", b"id,text,kept\n"),
        ("in.csv", b"id,text"),
        ("in.txt", b""),
        ("in.jsonl.gz", gzip.compress(b"", mtime=0)),
    ],
)
def test_a_text_file_without_rows_publishes_an_empty_date(
    name: str, content: bytes, run_job: Score, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    published(run_job(tmp_path / name), scored=0)


def test_parquet_without_rows_and_with_row_groups_without_rows(run_job: Score, tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    empty = write_parquet(tmp_path / "a.parquet", schema.empty_table())
    published(run_job(empty, output=tmp_path / "one"), scored=0)
    rows = pa.table({"id": ["a", "b"], "text": ["x", "y"]}, schema)
    with pq.ParquetWriter(tmp_path / "b.parquet", schema) as writer:
        for part in (schema.empty_table(), rows, schema.empty_table()):
            writer.write_table(part)
    outcome = published(run_job([empty, tmp_path / "b.parquet"], output=tmp_path / "two"), scored=2)
    assert {row["id"] for row in outcome.rows()} == {"a", "b"}


@pytest.mark.parametrize("change", ["touched", "longer", "gone"])
def test_a_file_that_changes_after_the_plan_fails_the_run_by_name(
    change: str, run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a"], "text": ["x"]})
    write_plan = pipeline.scoring.write_plan

    def and_change(*args: Any) -> None:
        write_plan(*args)
        if change == "touched":
            os.utime(file, ns=(1, 1))
        elif change == "longer":
            write_parquet(file, {"id": ["a", "b"], "text": ["x", "y"]})
        else:
            file.unlink()

    monkeypatch.setattr(pipeline.scoring, "write_plan", and_change)
    with pytest.raises(Exception, match=str(file)):
        run_job(file)
    assert not (tmp_path / "out" / f"dt={DATE}").exists()


@pytest.mark.parametrize("name", ["in.jsonl.gz", "in.csv.gz"])
def test_a_compressed_file_damaged_behind_its_first_lines_fails_the_run_by_name(
    name: str, run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.inspect_file.HEAD_BYTES", 1_000)
    line = '{{"id": "{0}", "text": "play {0}"}}' if "jsonl" in name else "{0},play {0}"
    head = "" if "jsonl" in name else "id,text\n"
    data = gzip.compress((head + "".join(line.format(i * 7919) + "\n" for i in range(50_000))).encode())
    (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(Exception, match=f"{tmp_path / name}: cannot be decompressed as gzip to its end"):
        run_job(tmp_path / name)
    assert not (tmp_path / "out" / f"dt={DATE}").exists()


def test_a_line_without_end_is_refused_before_it_takes_the_memory(
    refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.formats.lines.MAX_LINE_BYTES", 5_000_000)
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(b" " * 10_000_000, mtime=0))
    assert "has a line of more than 5,000,000 bytes" in refusal(tmp_path / "in.jsonl.gz")


def test_a_csv_that_cannot_be_read_on_fails_the_run_by_name(
    run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.formats.delimited.CHUNK_BYTES", 1_000)
    monkeypatch.setattr("transforms.read.formats.delimited.MAX_RECORD_BYTES", 1_000)
    monkeypatch.setattr("transforms.read.formats.delimited.MAX_LINE_BYTES", 10_000)
    file = tmp_path / "in.csv"
    file.write_text("id,text\na,x\nb," + "y" * 20_000 + "\nc,z\n")
    with pytest.raises(Exception, match=f"{file}: has a line of more than 10,000 bytes") as caught:
        run_job(file)
    assert isinstance(caught.value, BadInputError)
    assert not (tmp_path / "out" / f"dt={DATE}").exists()


@pytest.mark.parametrize("name", ["in.jsonl.gz", "in.txt.gz", "in.csv"])
def test_a_line_without_end_behind_the_head_is_bad_input_by_file_and_place(
    name: str, classes: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("lines", "delimited"):
        monkeypatch.setattr(f"transforms.read.formats.{module}.MAX_LINE_BYTES", 2_000_000)
        monkeypatch.setattr(f"transforms.read.formats.{module}.CHUNK_BYTES", 100_000)
    monkeypatch.setattr("transforms.read.formats.delimited.MAX_RECORD_BYTES", 500_000)
    monkeypatch.setattr("transforms.read.inspect_file.HEAD_BYTES", 1_000)
    row = {"in.jsonl.gz": '{{"id": "{0}", "text": "play {0}"}}', "in.txt.gz": "play {0}", "in.csv": "{0},play {0}"}[
        name
    ]
    head = "id,text\n" if name == "in.csv" else ""
    content = (head + "".join(row.format(i) + "\n" for i in range(2_000)) + "y" * 3_000_000 + "\n").encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    arguments = command(classes, tmp_path / name, tmp_path / "out")[3:]
    code, _, err = invoke(*arguments, *(["--id-from", "position"] if "txt" in name else []))
    assert code == 2, err
    place = "row 2,000" if name == "in.csv" else "line 2,001"
    (told,) = [line for line in err.splitlines() if line.startswith("error")]
    assert f"{tmp_path / name}: has a line of more than 2,000,000 bytes" in told
    assert place in told
    assert told.endswith("; mend or remove the file")
    assert not (tmp_path / "out" / f"dt={DATE}").exists()
