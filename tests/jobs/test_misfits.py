"""Kept values that did not fit, counted by column: by one worker and two, and for texts that were taken over."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.files.reading import csv
from support.jobs import Outcome, Score

from pipeline.terminal.console import Reporter, _Json, _Text


def night(outcome: Outcome) -> dict[str, tuple[Any, Any]]:
    return {row["id"]: (row["n"], row["s"]) for row in outcome.rows()}


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_misfits_are_counted_over_all_files_also_of_texts_taken_over(
    workers: int, run_job: Score, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"r{i},text {i % 7},{'x' if i % 3 else i},{i}" for i in range(60)] + ["r0,again,x,x", "q, ,x,x"]
    for shard in range(4):
        csv(tmp_path / f"{shard}.csv", "id,text,n,s", *lines[shard::4])
    settings: dict[str, Any] = {"schema": {"n": "int64"}, "workers": workers, "keep_text_digests": True}
    outcome = run_job([tmp_path / f"{shard}.csv" for shard in range(4)], **settings)
    assert night(outcome) == {f"r{i}": (None if i % 3 else i, str(i)) for i in range(60)}
    assert outcome.manifest["kept_misfits"] == dict(outcome.verdict.kept_misfits) == {"n": 40}
    tell: Reporter = _Json() if workers == 1 else _Text()
    tell.verdict(outcome.verdict)
    said = capsys.readouterr()
    warning = said.out.splitlines()[0] if workers == 1 else said.err
    assert "values that do not fit their kept column are null there: 'n' (40 rows);" in warning
    if workers == 1:
        assert json.loads(warning)["kept_misfits"] == {"n": 40}
        again = run_job([tmp_path / f"{shard}.csv" for shard in range(4)], only_new=True, **settings)
        assert again.manifest["counts"]["skipped"] == 60
        assert again.manifest["kept_misfits"] == {"n": 40}
