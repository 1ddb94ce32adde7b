"""Hostile rows through the whole pipeline, against independent parsers."""

from pathlib import Path

import pytest
from support.files.hostile_rows import hostile_files
from support.jobs import Score

from pipeline.terminal.console import console_for

SEED = 1


@pytest.mark.parametrize("kind", ["csv.gz", "tsv", "jsonl.zst", "txt.bz2", "parquet"])
def test_a_whole_run_publishes_what_the_independent_parser_says(kind: str, run_job: Score, tmp_path: Path) -> None:
    file = next(file for file in hostile_files(tmp_path, 400, SEED) if file.path.name.endswith(kind))
    outcome = run_job(file.path, **file.dialect)
    assert outcome.verdict.status == "published", outcome.verdict.problems
    dead = {letter["row"] for letter in outcome.dead()}
    assert dead == {row for row, fate in file.rows.items() if fate is None}
    assert outcome.manifest["counts"]["read"] == len(file.rows)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_marks_behind_the_first_thousand_lines_are_counted_over_workers_and_told_once(
    run_job: Score, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.tsv", "b.tsv"):
        lines = [f"{name}{i}\tplay a song" for i in range(1_100)] + [
            f'{name}x\t"play',
            f'"{name}y"\tbook"',
            f'{name}z\t"',
        ]
        (tmp_path / name).write_text("id\ttext\n" + "\n".join(lines))
    outcome = run_job([tmp_path / "a.tsv", tmp_path / "b.tsv"], workers=2)
    assert outcome.verdict.status == "published", outcome.verdict.problems
    assert outcome.manifest["notes"] == outcome.verdict.notes == {"fields_with_quotation_mark": 6}
    assert outcome.manifest["counts"] == {"read": 2_206, "scored": 2_206, "skipped": 0, "dead": 0}
    assert '"a.tsvy"' in {row["id"] for row in outcome.rows()}
    console_for("text").verdict(outcome.verdict)
    told = capsys.readouterr().out
    assert told.count("6 fields begin with a quotation mark, read as part of the text") == 1
