"""A run that cannot keep its error budget any more ends early, and one that could keep it never does."""

import bz2
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import Score
from support.runs.publishing import judge_and_publish_counts, planned, row_counts

from transforms.errors import PublishError
from transforms.runs.error_budget import (
    MOST_MADE,
    ErrorBudget,
    Spending,
    ended_early,
    exceeded_by_one,
    mark_of,
    most_rows,
    note_dead,
)
from transforms.runs.plan import Piece, Split
from transforms.runs.resume import find_resumable
from transforms.runs.verdict_record import OVER_BUDGET
from transforms.runs.verdicts import read_verdict
from transforms.stores.choose import store_for


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8),
    st.integers(0, 100),
    st.floats(0, 1),
    st.none() | st.integers(0, 60),
    st.booleans(),
)
def test_a_run_that_keeps_its_budget_is_never_ended(
    splits: list[tuple[int, int]], spare: int, fraction: float, rows: int | None, known: bool
) -> None:
    dead, read = sum(bad for bad, _ in splits), sum(bad + good for bad, good in splits)
    budget = ErrorBudget(fraction=fraction, rows=rows)
    most = read + spare if known else None
    ended = [exceeded_by_one(budget, number, bad, most) for number, (bad, _) in enumerate(splits) if bad]
    if budget.exceeded(dead, read) is None:
        assert ended == [None] * len(ended)
    if known and not spare and len(ended) == 1:
        assert (ended[0] is None) == (budget.exceeded(dead, read) is None)


@given(st.lists(st.binary(max_size=4).filter(lambda line: b"\n" not in line), max_size=6), st.booleans())
def test_a_text_file_has_at_most_so_many_rows_as_bytes(lines: list[bytes], ended: bool) -> None:
    content = b"\n".join(lines) + b"\n" * ended
    piece = Piece(number=0, file="in.txt", size=len(content), version="", format="text")
    count = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
    most = most_rows([Split(number=0, pieces=(piece,))])
    assert most is not None
    assert count <= most


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"format": "parquet", "rows": 7}, 7),
        ({"format": "jsonl", "start": 100, "end": 250}, 150),
        ({"format": "csv"}, 1_000),
        ({"format": "text", "compression": "gzip"}, 1_032_000),
        ({"format": "csv", "compression": "zstd"}, 32_768_000),
        ({"format": "text", "compression": "bz2"}, 1_250_000_000),
        ({"format": "bigquery"}, None),
    ],
)
def test_what_nobody_can_say_of_a_piece_is_not_guessed(fields: dict[str, Any], expected: int | None) -> None:
    piece = Piece(**{"number": 0, "file": "x", "size": 1_000, "version": "", **fields})
    assert most_rows([Split(number=0, pieces=(piece,))]) == expected
    other = Piece(number=1, file="y", size=5, version="", format="parquet", rows=5)
    both = most_rows([Split(number=0, pieces=(piece,)), Split(number=1, pieces=(other,))])
    assert both == (None if expected is None else expected + 5)


def test_a_split_counts_its_own_dead_letters_and_the_mark_is_seen_by_all(tmp_path: Path) -> None:
    run = planned(str(tmp_path), budget=ErrorBudget(fraction=0.5))  # Five rows.
    spending = Spending(run.plan, run.staged, run.budget)
    for _ in range(3):
        assert spending.begin()
        note_dead(2)
        assert not spending.is_over(0)
    note_dead(1)
    assert spending.is_over(0)
    assert not Spending(run.plan, run.staged, run.budget).begin()
    assert ended_early(run.staged) == (
        "reading was ended early: split 0 alone has 3 dead letters and the whole input at most 5 rows; "
        "--max-dead-fraction allows 0.5"
    )


def test_row_counts_of_a_run_that_was_ended_early_need_not_balance(tmp_path: Path) -> None:
    run = planned(str(tmp_path))
    store_for(run.output).write(mark_of(run.staged), b"reading was ended early: x; --max-dead-rows allows 1")
    read, scores, dead = row_counts(run)
    with pytest.raises(PublishError, match="reading was ended early"):
        judge_and_publish_counts(run, (read[:1], scores[:1], dead))
    verdict = read_verdict(run.verdict)
    assert verdict is not None
    assert (verdict.status, verdict.at_least, verdict.counts["read"]) == (OVER_BUDGET, True, read[0].rows)


def test_empty_lines_end_a_run_early_and_the_same_command_reads_nothing_again(
    run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One chunk of the file has all lines.
    monkeypatch.setattr("transforms.read.formats.lines.MANY", 1_000)
    monkeypatch.setattr("transforms.read.step.MAX_ROWS", 1_000)
    file = tmp_path / "in.txt"
    file.write_bytes(b"a text\n" + b"\n" * 100_000)
    outcome = run_job(file, max_dead_fraction=0.01)
    verdict = outcome.verdict
    assert (verdict.status, verdict.at_least) == ("over_budget", True)
    assert 1_000 < verdict.counts["dead"] < 5_000
    assert verdict.counts["read"] == verdict.counts["scored"] + verdict.counts["dead"]
    assert verdict.dead_codes["blank_text"][0] == verdict.counts["dead"]
    assert sum(part.rows for part in verdict.dead_letters) == verdict.counts["dead"]

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.scoring.beam.Pipeline", None)
        assert run_job(file, max_dead_fraction=0.01).verdict == verdict
    # Another budget is other work, and so is another input.
    assert run_job(file, max_dead_fraction=1.0).verdict.status == "published"


def test_a_budget_exceeded_by_rows_is_not_tried_again_and_one_exceeded_by_the_model_is(tmp_path: Path) -> None:
    for code, again in (("blank_text", True), ("not_scored", False)):
        output = str(tmp_path / code)
        run = planned(output, budget=ErrorBudget(fraction=0.1))
        with pytest.raises(PublishError, match="dead letters"):
            judge_and_publish_counts(run, row_counts(run))
        found = store_for(output).read(run.verdict)
        assert found is not None
        store_for(output).write(run.verdict, found.replace(b"not_json", code.encode()))
        resumed = find_resumable(run, None)  # type: ignore[arg-type]  The plan of `planned` has no digest.
        assert (resumed is not None and resumed.over_budget) == again


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_no_file_is_decompressed_to_more_than_is_taken_for_possible(codec: str) -> None:
    # The best that a compressor makes of lines: one byte again and again.
    content = b"\n" * 50_000_000
    best = min(len(pa.Codec(codec, level).compress(content)) for level in (1, 9))
    assert len(content) <= MOST_MADE[codec] * best
    # And no other figure is much nearer.
    assert len(content) > 0.5 * MOST_MADE[codec] * best


def test_bzip2_makes_no_more_of_a_byte_either() -> None:
    content = b"\n" * 45_899_235  # One block of its largest kind.
    packed = bz2.compress(content)
    assert 0.5 * MOST_MADE["bz2"] * len(packed) < len(content) <= MOST_MADE["bz2"] * len(packed)


@pytest.mark.parametrize(("codec", "name"), [("gzip", "in.txt.gz"), ("zstd", "in.txt.zst")])
def test_a_compressed_file_of_empty_lines_ends_early_too(
    codec: str, name: str, run_job: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.read.formats.lines.MANY", 1_000)
    monkeypatch.setattr("transforms.read.step.MAX_ROWS", 1_000)
    with pa.CompressedOutputStream(str(tmp_path / name), codec) as sink:
        sink.write(b"a text\n" + b"\n" * 200_000)
    verdict = run_job(tmp_path / name, max_dead_fraction=0.01).verdict
    assert (verdict.status, verdict.at_least) == ("over_budget", True)
    assert verdict.counts["dead"] < 50_000
