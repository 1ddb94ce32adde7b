"""Hostile rows through the whole pipeline, against independent parsers."""

from pathlib import Path

import pytest
from conftest import Score
from hostile_rows import hostile_files

SEED = 1


@pytest.mark.parametrize("kind", ["csv.gz", "tsv", "jsonl.zst", "txt.bz2", "parquet"])
def test_a_whole_run_publishes_what_the_independent_parser_says(kind: str, run_job: Score, tmp_path: Path) -> None:
    file = next(file for file in hostile_files(tmp_path, 400, SEED) if file.path.name.endswith(kind))
    outcome = run_job(file.path, **file.dialect)
    assert outcome.verdict.status == "published", outcome.verdict.problems
    dead = {letter["row"] for letter in outcome.dead()}
    assert dead == {row for row, fate in file.rows.items() if fate is None}
    assert outcome.manifest["counts"]["read"] == len(file.rows)
