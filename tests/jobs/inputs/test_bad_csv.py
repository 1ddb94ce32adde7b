"""CSV and TSV nobody wants to meet, through the whole pipeline: each record is scored or a dead letter."""

import csv
import gzip
from pathlib import Path

import pytest
from support.files.bad_rows import balanced, faults, row, scored, write
from support.jobs import Score, write_parquet

NASTY_CSV: list[tuple[bytes, str | None]] = [
    (b"r0,good,1,t", "ok"),
    (b"r1,good,2", "too_few_fields"),
    (b"r2,good,3,t,more", "too_many_fields"),
    (b"", None),
    (b'r3,"quoted\nline\r\nbreaks",4,t', "ok"),
    (b'r4,"doubled ""quotes"", and a comma",5,t', "ok"),
    (b'r5,5" pipe,6,t', "ok"),
    (b"r6,,7,t", "blank_text"),
    (b",no id,8,t", "missing_id"),
    (b"r8,caf\xe9,9,t", "not_utf8"),
    (b"r9,a nul \0,10,t", "ok"),
    (b"   ", "too_few_fields"),
    (b"r11,no number,ten,t", "ok"),
    (b"r12,no number either,1.5,t", "ok"),
    (b"r13,nothing is fine,,", "ok"),
    (b"r0,seen before,14,t", "duplicate_id"),
    (b'r15,"",15,t', "blank_text"),
    (b"r16," + b"long " * 40_000 + b",16,t", "ok"),
    (b"007,an id stays as it is written,17,t", "ok"),
]


@pytest.mark.parametrize(("end", "start"), [(b"\n", b""), (b"\r\n", b"\xef\xbb\xbf"), (b"\r", b"")])
def test_every_nasty_csv_record_is_judged_alone(end: bytes, start: bytes, run_job: Score, tmp_path: Path) -> None:
    good = [f"g{i},good {i},{i},t".encode() for i in range(1_000)]
    file = write(tmp_path / "in.csv", start + b"id,text,n,s", *good, *(line for line, _ in NASTY_CSV), end=end)
    file.write_bytes(file.read_bytes()[: -len(end)])
    outcome = balanced(run_job(file, schema={"n": "int64"}))
    records = [(line, code) for line, code in NASTY_CSV if code is not None]
    assert faults(outcome) == {1_000 + i: code for i, (_, code) in enumerate(records) if code != "ok"}
    kept = {row["id"]: (row["n"], row["s"]) for row in outcome.rows() if not row["id"].startswith("g")}
    assert kept == {
        "r0": (1, "t"), "r3": (4, "t"), "r4": (5, "t"), "r5": (6, "t"), "r9": (10, "t"), "r13": (None, ""),
        "r16": (16, "t"), "007": (17, "t"), "r11": (None, "t"), "r12": (None, "t"),
    }  # fmt: skip
    assert outcome.manifest["kept_misfits"] == {"n": 2}


def test_the_csv_text_is_what_pythons_csv_module_reads(run_job: Score, tmp_path: Path) -> None:
    texts = ["plain", 'quote " inside', "a,b", "two\nlines", '"', "two\r\nlines", " spaces "]
    with (tmp_path / "in.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["id", "text"], *([i, text] for i, text in enumerate(texts))])
    same = write_parquet(tmp_path / "in.parquet", {"id": [str(i) for i in range(len(texts))], "text": texts})
    hashes = [
        {row["id"]: row["text_hash"] for row in balanced(run_job(file, output=tmp_path / file.suffix[1:])).rows()}
        for file in (tmp_path / "in.csv", same)
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("keep", ["all", "none"])
@pytest.mark.parametrize("line", [b'"b,y,2', b'b,"y,2', b'b,y,"2'])
def test_an_unclosed_quote_is_a_dead_letter_and_the_lines_after_it_are_scored(
    keep: str, line: bytes, run_job: Score, tmp_path: Path
) -> None:
    file = write(tmp_path / "in.csv", "id,text,n", 'a,"two\nlines",1', line, "c,z,3", "d,w,4", "e,v,5")
    outcome = balanced(run_job(file, keep=keep))
    assert scored(outcome) == ["a", "c", "d", "e"]
    assert faults(outcome) == {1: "unclosed_quote"}


def test_a_csv_cut_off_inside_a_quoted_text_does_not_lose_that_silently(run_job: Score, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes(b'id,text\na,x\nb,"half a te')
    assert faults(balanced(run_job(file))) == {1: "unclosed_quote"}


def test_odd_quotes_inside_plain_fields_hurt_nobody(run_job: Score, tmp_path: Path) -> None:
    file = write(tmp_path / "in.csv", "id,text", 'a,5" pipe', 'b,"two\nlines"')
    assert scored(balanced(run_job(file))) == ["a", "b"]


def test_tsv_and_compressed_files_are_read(run_job: Score, tmp_path: Path) -> None:
    write(tmp_path / "in.tsv", "id\ttext\tn", "a\tx, y\t1", 'b\t"tab\tinside"\t2', "c\tz")
    outcome = balanced(run_job(tmp_path / "in.tsv", output=tmp_path / "tsv", quote='"'))
    assert (scored(outcome), faults(outcome)) == (["a", "b"], {2: "too_few_fields"})
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(b"id,text\na,x\nb\n"))
    outcome = balanced(run_job(tmp_path / "in.csv.gz", output=tmp_path / "csv"))
    assert (scored(outcome), faults(outcome)) == (["a"], {1: "too_few_fields"})
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(f"{row('a')}\n".encode()) + gzip.compress(b"null\n"))
    outcome = balanced(run_job(tmp_path / "in.jsonl.gz", output=tmp_path / "jsonl"))
    assert (scored(outcome), faults(outcome)) == (["a"], {1: "not_json"})
