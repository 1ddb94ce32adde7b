"""The commands of README and of the pages on nights, failures and BigQuery, run as they stand there."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery
from support.cloud.emulators import Emulators
from support.commands import ROOT, run_command, run_forked
from support.documents import README, page, scripts
from support.jobs import write_parquet
from support.runs.door import forked_program

from transforms.runs.fail_points import VARIABLE

DAYS = [f"2026-11-{day}" for day in range(17, 24)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder as the documents assume it: texts of some days, the examples, and the command on the path.

    The command's processes are forked: how it starts is tested elsewhere (test_wheel.py, test_readme.py).
    """
    rows = pq.read_table(ROOT / "examples/snips/validation.parquet").select(["id", "text"]).slice(0, 12)
    for day in DAYS:
        write_parquet(tmp_path / "texts" / f"day={day}" / "rows.parquet", rows)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with forked_program(tmp_path / "bin" / "bert-batch", "-m", "pipeline"):
        yield tmp_path


def run(folder: Path, commands: str, code: int = 0, **environment: str) -> str:
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    shell = ["bash", "-euo", "pipefail", "-c", commands]
    # A page has up to nine commands, and the machine may have other work.
    return run_command(shell, folder=folder, code=code, seconds=1_200, PATH=path, **environment)


def manifest(folder: Path, day: str) -> dict[str, Any]:
    return json.loads((folder / "scored" / f"dt={day}" / "_manifest.json").read_bytes())


def test_own_texts(folder: Path) -> None:
    rows = pq.read_table(ROOT / "examples/snips/validation.parquet").select(["id", "text"]).slice(0, 12)
    write_parquet(folder / "texts" / "rows.parquet", rows)
    run(folder, scripts(README.read_text(encoding="utf-8")))
    (published,) = folder.glob("scored/dt=*/_manifest.json")
    assert json.loads(published.read_bytes())["counts"]["scored"] == 12


def test_every_night_and_when_something_fails(folder: Path) -> None:
    shown = run(folder, scripts(page("use/every-night.md")))
    assert [manifest(folder, day)["counts"]["read"] for day in DAYS[:5]] == [12] * 5
    assert manifest(folder, "2026-11-21")["counts"] == {"read": 12, "scored": 0, "skipped": 12, "dead": 0}
    assert manifest(folder, "2026-11-21")["compared_with"]["date"] == "2026-11-20"
    assert all(day in shown for day in DAYS[:5])
    for day, point in (("2026-11-22", "after record_read"), ("2026-11-23", "before commit")):
        score = [sys.executable, "-m", "pipeline", "score", "--job", "nightly.yaml", "--date", day]
        run_forked(score, folder=folder, code=-signal.SIGKILL, **{VARIABLE: point})
    died = {path.parent.name: path for path in folder.glob("scored/_runs/*/verdict.json")}
    (waiting,) = (name for name, path in died.items() if json.loads(path.read_bytes())["status"] == "passed")
    commands = scripts(page("use/failures.md"))
    (example,) = re.findall(r"publish (\S+)", commands)
    shown = run(folder, commands.replace(example, waiting))
    assert waiting in shown
    assert [manifest(folder, day)["counts"]["read"] for day in DAYS[5:]] == [12] * 2
    assert manifest(folder, "2026-11-23")["run_id"] == waiting


def test_two_models(folder: Path) -> None:
    rows = pq.read_table(ROOT / "examples/snips/validation.parquet").slice(0, 12).rename_columns({"label": "intent"})
    for day in DAYS:
        write_parquet(folder / "texts" / f"day={day}" / "rows.parquet", rows)
    (folder / "challenger").symlink_to(ROOT / "examples/snips")
    shown = run(folder, scripts(page("use/compare.md")))
    assert shown.count("0 of 12 texts have another label in B") == 2
    assert "A is right in 12 of 12 texts" in shown
    assert "</html>" in (folder / "compared.html").read_text(encoding="utf-8")


def test_the_morning_after(folder: Path) -> None:
    shown = run(folder, scripts(page("use/report.md")))
    assert "Sat 2026-11-21: published" in shown
    for name, day in (("report", "Sat 2026-11-21"), ("earlier", "Fri 2026-11-20")):
        assert f"<h1>{day}: published</h1>" in (folder / f"{name}.html").read_text(encoding="utf-8")


def test_bigquery(folder: Path, cloud: Emulators, dataset: str) -> None:
    schema = [bigquery.SchemaField(*field) for field in (("id", "STRING"), ("text", "STRING"), ("day", "DATE"))]
    # Here the command starts for real: it imports what it needs of Google's clients by itself.
    (folder / "bin" / "bert-batch").write_text(f'#!/bin/sh\nexec {sys.executable} -m pipeline "$@"\n')
    with bigquery.Client() as client:
        client.create_table(bigquery.Table(f"{dataset}.daily", schema))
        rows = [{"id": f"r{i}", "text": f"play song {i}", "day": "2026-11-21"} for i in range(5)]
        assert client.insert_rows_json(f"{dataset}.daily", [*rows, {**rows[0], "day": "2026-11-20"}]) == []
        commands = (
            scripts(page("use/bigquery.md")).replace("my-project.texts", dataset).replace("my-bucket", cloud.bucket)
        )
        run(folder, commands)
        found = client.query(f"SELECT id FROM `{dataset}.scores` WHERE logical_date = '2026-11-21'").result()
        assert sorted(row.id for row in found) == [f"r{i}" for i in range(5)]
    assert manifest(folder, "2026-11-21")["counts"]["scored"] == 5
