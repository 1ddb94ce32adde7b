"""Rows nobody wants to meet, through the whole pipeline: each is scored or a dead letter, and the row counts agree."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from support.files.bad_rows import balanced, faults, row, scored, write
from support.jobs import Score, many_texts, write_parquet


def raw(values: Sequence[bytes | None]) -> pa.Array:
    """Strings whose bytes are not UTF-8, as a careless writer leaves them in Parquet."""
    return pa.array(values, pa.binary()).cast(pa.string(), safe=False)


BLANKS = ["", " ", "\t\r\n", "\u00a0", "\u3000", "\u2003\u00a0 "]


def test_null_empty_and_white_space_texts_are_dead_letters(run_job: Score, tmp_path: Path) -> None:
    texts = ["good", None, *BLANKS, "also good"]
    file = write_parquet(tmp_path / "in.parquet", {"id": [f"r{i}" for i in range(len(texts))], "text": texts})
    outcome = balanced(run_job(file))
    assert scored(outcome) == ["r0", f"r{len(texts) - 1}"]
    assert faults(outcome) == {1: "missing_text"} | dict.fromkeys(range(2, 2 + len(BLANKS)), "blank_text")
    assert {letter["stage"] for letter in outcome.dead()} == {"Validate"}
    assert not any(letter["text_hash"] for letter in outcome.dead())


def test_null_empty_and_white_space_ids_are_dead_letters(run_job: Score, tmp_path: Path) -> None:
    ids = ["a", None, *BLANKS, None, "", "b"]
    file = write_parquet(tmp_path / "in.parquet", {"id": ids, "text": ["play a song"] * len(ids)})
    outcome = balanced(run_job(file))
    assert scored(outcome) == ["a", "b"]
    assert set(faults(outcome).values()) == {"missing_id"}, "two empty ids are not duplicates of each other"
    assert all(letter["source"] == str(file) for letter in outcome.dead())


def test_a_json_line_without_id_or_text_is_a_dead_letter(run_job: Score, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", row("a"), '{"text": "x"}', '{"id": "c"}', "{}", row(None), row("f", None))
    outcome = balanced(run_job(file))
    assert scored(outcome) == ["a"]
    assert faults(outcome) == {1: "missing_id", 2: "missing_text", 3: "missing_id", 4: "missing_id", 5: "missing_text"}


def test_the_later_of_two_equal_ids_is_a_dead_letter_that_names_the_first(run_job: Score, tmp_path: Path) -> None:
    rows = {"id": ["a", "b", "a", "c", "a"], "text": many_texts(5)}
    file = write_parquet(tmp_path / "in.parquet", rows)
    outcome = balanced(run_job(file))
    assert scored(outcome) == ["a", "b", "c"]
    assert [(d["row"], d["id"], d["code"]) for d in sorted(outcome.dead(), key=lambda d: d["row"])] == [
        (2, "a", "duplicate_id"),
        (4, "a", "duplicate_id"),
    ]
    assert {d["reason"] for d in outcome.dead()} == {f"the id stands first at {file}#0"}


@pytest.mark.slow
def test_equal_ids_far_apart_and_in_two_files_are_found_alike_by_one_worker_and_two(
    run_job: Score, tmp_path: Path
) -> None:
    many = 70_000  # More than one reading of the ids takes.
    ids = [f"r{i}" for i in range(many)] + ["r7", "new"]
    texts = many_texts(8)
    first = write_parquet(
        tmp_path / "a.parquet", {"id": ids, "text": [texts[i % 8] for i in range(many + 2)]}, row_group_size=20_000
    )
    second = write_parquet(tmp_path / "b.parquet", {"id": ["new", f"r{many - 1}", "other"], "text": texts[:3]})
    found = []
    for workers in (1, 2):
        outcome = balanced(run_job([second, first], output=tmp_path / f"out{workers}", workers=workers))
        assert outcome.manifest["counts"]["scored"] == many + 2
        found.append(sorted((d["source"], d["row"], d["code"], d["reason"]) for d in outcome.dead()))
    assert found[0] == found[1]
    assert found[0] == [
        (str(first), many, "duplicate_id", f"the id stands first at {first}#7"),
        (str(second), 0, "duplicate_id", f"the id stands first at {first}#{many + 1}"),
        (str(second), 1, "duplicate_id", f"the id stands first at {first}#{many - 1}"),
    ]


def test_ids_are_not_compared_with_trust_ids(run_job: Score, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a", "a"], "text": many_texts(2)})
    assert scored(balanced(run_job(file, trust_ids=True))) == ["a", "a"]


@pytest.mark.parametrize("strict", [False, True])
def test_parquet_bytes_that_are_not_utf8_are_dead_letters_and_null_in_a_kept_column(
    strict: bool, run_job: Score, tmp_path: Path
) -> None:
    table = pa.table(
        {
            "id": raw([b"a", b"b", b"\xc3\x28", b"d", b"e", b"f"]),
            "text": raw([b"fine", b"\xff\xfe", b"x", b"caf\xc3\xa9", b"y", b"z"]),
            "note": raw([b"n", b"n", b"n", None, b"\x80", b"n"]),
        }
    )
    outcome = balanced(run_job(write_parquet(tmp_path / "in.parquet", table), strict_columns=strict))
    letters = {d["row"]: d for d in outcome.dead()}
    assert letters[1]["id"] == "b"
    assert letters[2]["id"] is None
    if strict:
        assert scored(outcome) == ["a", "d", "f"]
        assert faults(outcome) == {1: "not_utf8", 2: "not_utf8", 4: "not_utf8"}
        assert letters[4]["reason"] == "a value of 'note' is not valid UTF-8"
        assert outcome.manifest["kept_misfits"] == {}
    else:
        assert {row["id"]: row["note"] for row in outcome.rows()} == {"a": "n", "d": None, "e": None, "f": "n"}
        assert faults(outcome) == {1: "not_utf8", 2: "not_utf8"}
        # One null was there, one was made.
        assert outcome.manifest["kept_misfits"] == {"note": 1}


@pytest.mark.parametrize("kind", ["struct", "list"])
def test_only_the_row_whose_nested_value_is_not_utf8_has_a_null_there(
    kind: str, run_job: Score, tmp_path: Path
) -> None:
    strings = raw([b"a", b"b", b"\xff", b"d"])
    nested = (
        pa.StructArray.from_arrays([strings], ["s"])
        if kind == "struct"
        else pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4], pa.int32()), strings)
    )
    # The name would be a field of a format string.
    table = pa.table({"id": ["r0", "r1", "r2", "r3"], "text": many_texts(4), "{x}": nested})
    outcome = balanced(run_job(write_parquet(tmp_path / "in.parquet", table)))
    kept = {row["id"]: row["{x}"] for row in outcome.rows()}
    assert [kept[f"r{i}"] is None for i in range(4)] == [False, False, True, False]
    assert outcome.manifest["kept_misfits"] == {"{x}": 1}
    assert not outcome.dead()


def test_jsonl_bytes_that_are_not_utf8_are_dead_letters(run_job: Score, tmp_path: Path) -> None:
    lines = [
        row("a", kept="k", nested={"s": "t"}),
        b'{"id": "b", "text": "\xff", "kept": "k"}',
        b'{"id": "\xff", "text": "x", "kept": "k"}',
        b'{"id": "d", "text": "x", "kept": "\xff"}',
        b'{"id": "e", "text": "x", "nested": {"s": "\xff"}}',
        b'{"id": "f", "text": "x", "\xff": 1}',
        b'{"id": "g", "text": "half a pair \\ud83d"}',
        b'{"id": "h", "text": "a pair \\ud83d\\ude00"}',
        b'{"id": "i", "text": "the other half \\udcff"}',
        b'{"id": "j", "text": "x", "\\ud800": "a key no schema can hold"}',
    ]
    outcome = balanced(run_job(write(tmp_path / "in.jsonl", *lines)))
    assert scored(outcome) == ["a", "d", "e", "f", "h", "j"]
    assert faults(outcome) == dict.fromkeys((1, 2, 6, 8), "not_utf8")
    kept = {row["id"]: (row["kept"], row["nested"]) for row in outcome.rows()}
    assert (kept["a"], kept["d"], kept["e"]) == (("k", {"s": "t"}), (None, None), (None, None))
    assert outcome.manifest["kept_misfits"] == {"kept": 1, "nested": 1}


def test_csv_bytes_that_are_not_utf8_are_dead_letters(run_job: Score, tmp_path: Path) -> None:
    file = write(tmp_path / "in.csv", "id,text,kept", "a,x,k", b"b,\xff,k", b"\xff,x,k", b"d,x,\xff", "e,caf\u00e9,k")
    outcome = balanced(run_job(file))
    assert {row["id"]: row["kept"] for row in outcome.rows()} == {"a": "k", "d": None, "e": "k"}
    assert faults(outcome) == {1: "not_utf8", 2: "not_utf8"}
    assert outcome.manifest["kept_misfits"] == {"kept": 1}


def test_plain_text_has_its_positions_as_ids_and_its_bad_lines_as_dead_letters(run_job: Score, tmp_path: Path) -> None:
    file = write(tmp_path / "in.txt", b"\xef\xbb\xbffirst", b"\xff\xff\r", b"\r  ", b"last\r")
    outcome = balanced(run_job(file))
    assert scored(outcome) == [f"{file}#0", f"{file}#4"]
    assert faults(outcome) == {1: "not_utf8", 2: "blank_text", 3: "blank_text"}


def test_long_odd_and_invisible_texts_are_scored(run_job: Score, tmp_path: Path) -> None:
    texts = [
        "play " * 140_000,
        "nul \0 bell \a escape \x1b",
        "\U0001f600 \U0001f468\u200d\U0001f469",
        "\u200b",
        "\0",
        "x",
    ]
    file = write_parquet(tmp_path / "in.parquet", {"id": [str(i) for i in range(len(texts))], "text": texts})
    outcome = balanced(run_job(file))
    rows = {row["id"]: row for row in outcome.rows()}
    assert sorted(rows) == [str(i) for i in range(len(texts))]
    assert [rows[str(i)]["truncated"] for i in range(len(texts))] == [True, *[False] * 5]
    assert rows["0"]["token_count"] == 64
    assert rows["4"]["token_count"] == 2, "nothing but [CLS] and [SEP]"


NESTED = b"[" * 100_000 + b"]" * 100_000
NASTY_LINES: list[tuple[bytes, str]] = [
    (b'{"id": "r0", "text": "good", "n": 1, "s": "t"}', "ok"),
    (b"not json", "not_json"),
    (b"null", "not_json"),
    (b"", "blank"),
    (b'["an", "array"]', "not_json"),
    (b'"a string"', "not_json"),
    (b'{"id": "two", "text": "x"}{"id": "objects", "text": "y"}', "not_json"),
    (b'{"id": "two", "text": "x"} null {"id": "objects", "text": "y"}', "not_json"),
    (b'{"id": "spans",', "not_json"),
    (b'"text": "two lines"}', "not_json"),
    (b'{"id": "r10", "text": "ignored depth", "z": ' + NESTED + b"}", "ok"),
    (b'{"id": "r11", "text": ' + NESTED + b"}", "not_json"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "missing_id"),
    (b'{"id": "r13", "text": 5}', "wrong_type"),
    (b'{"id": "r14", "text": ["x"]}', "wrong_type"),
    (b'{"id": "r15", "text": "x", "text": "y"}', "not_json"),
    (b'{"id": "r16", "text": "twice what nobody reads", "z": 1, "z": 2}', "ok"),
    (b'{"id": "r17", "text": "NaN nobody reads", "z": NaN}', "ok"),
    (b'{"id": "r18", "text": NaN}', "not_json"),
    (b'{"id": "r19", "text": "\\ud800"}', "not_utf8"),
    (b"   \t ", "blank"),
    (b'  {"id": "r21", "text": "white space around"}\t', "ok"),
    (b'{"id": "r22", "text": "a raw \t tab"}', "not_json"),
    (b'{"id": "r23", "text": "a raw \0 nul"}', "not_json"),
    (b'{"id": "r24", "text": "escaped \\u0000 nul"}', "ok"),
    (b'{"id": "r25", "text": "trailing comma",}', "not_json"),
    (b'{"id": true, "text": "x"}', "wrong_type"),
    (b'{"id": 1.5, "text": "x"}', "wrong_type"),
    (b'{"id": 28, "text": "an integer is a fine id"}', "ok"),
    (b'{"id": 123456789012345678901234567890, "text": "even this one"}', "ok"),
    (b'{"id": "r30", "text": "x", "n": "no number"}', "ok"),
    (b'{"id": "r31", "text": "x", "n": 1.5}', "ok"),
    (b'{"id": "r32", "text": "x", "s": 7}', "ok"),
    (b'{"id": "r33", "text": "x", "s": {"o": [1, null, "\\u00e9"]}}', "ok"),
    (b"{}", "missing_id"),
    (b"{", "not_json"),
    (b"}", "not_json"),
    (b'{"id": "r37", "text": "carriage return"\t}', "ok"),
    (b'{"id": "r0", "text": "seen before"}', "duplicate_id"),
    (b'{"id": "r39", "text": " "}', "blank_text"),
    (b'{"id": "r40", "text": "x", "n": NaN, "s": "t"}', "ok"),
    (b'{"id": "r41", "text": "x", "n": 1, "n": 2, "s": "t"}', "ok"),
    (b'{"id": "r42", "text": "x", "n": 1, "s": ' + NESTED + b"}", "ok"),
    (b'{"id": "r43", "text": "x", "n": 1e999, "s": [1.10, 12345678901234567890.5]}', "ok"),
    (b'{"id": "r44", "text": "x", "n": 9007199254740993, "s": "\\ud800"}', "ok"),
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_nasty_json_line_is_judged_alone(end: bytes, run_job: Score, tmp_path: Path) -> None:
    # The first thousand lines fix the types: n is a double, s a string, z nothing anybody kept.
    good = [row(f"g{i}", f"good {i}", n=i + 0.5, s="t").encode() for i in range(1_000)]
    file = write(tmp_path / "in.jsonl", *good, *(line for line, _ in NASTY_LINES), end=end)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes()[: -len(end)])  # and no line end after the last line
    outcome = balanced(run_job(file))
    expected = {1_000 + i: code for i, (_, code) in enumerate(NASTY_LINES) if code not in ("ok", "blank")}
    assert faults(outcome) == expected
    fine = [line for line, code in NASTY_LINES if code == "ok"]
    wanted = [re.search(rb'"id": "?(\w+)', line)[1].decode() for line in fine]  # type: ignore[index]
    assert [row["id"] for row in outcome.rows() if not row["id"].startswith("g")] == wanted
    kept = {row["id"]: (row["n"], row["s"]) for row in outcome.rows()}
    assert kept["r31"] == (1.5, None)
    assert kept["r32"] == (None, "7")
    assert kept["r33"] == (None, '{"o": [1, null, "\u00e9"]}')
    assert kept["r30"] == (None, None)
    assert (kept["r40"], kept["r41"], kept["r42"]) == ((None, "t"), (None, "t"), (1.0, None))
    assert (kept["r43"], kept["r44"]) == ((None, "[1.10, 12345678901234567890.5]"), (None, None))
    assert outcome.manifest["kept_misfits"] == {"n": 5, "s": 2}


def test_a_text_that_is_quoted_in_no_reason(run_job: Score, tmp_path: Path) -> None:
    lines = [
        row("a"),
        "SECRET",
        '{"id": "b", "text": ["SECRET"]}',
        b'{"id": "c", "text": "SECRET\xff"}',
        row("SECRET2", " "),
    ]
    outcome = balanced(run_job(write(tmp_path / "in.jsonl", *lines)))
    assert len(outcome.dead()) == 4
    assert not any("SECRET" in letter["reason"] for letter in outcome.dead())


def test_a_json_column_of_several_kinds_is_kept_as_json(run_job: Score, tmp_path: Path) -> None:
    values = ["word", 5, 1.5, True, None, [1, "x"], {"a": {}}, 2**70]
    lines = [
        row(f"r{i}", f"text {i}", k=value, e={}, deep=json.loads("[" * 90 + "]" * 90)) for i, value in enumerate(values)
    ]
    outcome = balanced(run_job(write(tmp_path / "in.jsonl", *lines)))
    kept = {row["id"]: row["k"] for row in outcome.rows()}
    assert kept == {f"r{i}": v if v is None or isinstance(v, str) else json.dumps(v) for i, v in enumerate(values)}
    assert {row["e"] for row in outcome.rows()} == {"{}"}, "Parquet has no struct without fields"


def test_json_dates_declared_by_the_job_are_dates(run_job: Score, tmp_path: Path) -> None:
    lines = [
        row("a", day="2026-01-31", at="2026-01-31T10:00:00Z"),
        row("b", day="31.1.2026"),
        row("c", day=5),
        row("d"),
    ]
    outcome = balanced(run_job(write(tmp_path / "in.jsonl", *lines), schema={"day": "date", "at": "timestamp"}))
    kept = {row["id"]: (str(row["day"]), str(row["at"])) for row in outcome.rows()}
    assert kept == {"a": ("2026-01-31", "2026-01-31 10:00:00+00:00")} | dict.fromkeys("bcd", ("None", "None"))
    assert outcome.manifest["kept_misfits"] == {"day": 2}


def test_above_the_budget_nothing_is_published_and_the_dead_letters_stay(run_job: Score, tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a", "b", None], "text": ["x", " ", "y"]})
    outcome = run_job(file, max_dead_fraction=0.01)
    assert outcome.verdict.status == "over_budget"
    assert outcome.verdict.problems == ("2 of 3 rows are dead letters; --max-dead-fraction allows 0.01",)
    assert outcome.verdict.dead_codes == {"blank_text": [1, f"{file}#1"], "missing_id": [1, f"{file}#2"]}
    assert outcome.verdict.counts == {"read": 3, "scored": 1, "skipped": 0, "dead": 2}
    assert not list(outcome.output.glob("dt=*"))
    assert not (outcome.output / "_dead_letters").exists()
    assert list((outcome.output / "_runs" / outcome.verdict.run_id / "staged").iterdir())
