"""What the commit before has written is read, finished, published and gone on with. See tests/data/before/ORIGIN.md."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.commands import DATA, ROOT, invoke
from support.runs.cleaning import everything

from transforms.publish.tidy import finish_pending

OUTPUTS = DATA / "before" / "outputs"
BUNDLE = ROOT / "examples" / "snips" / "bundle"
MADE_IN = "/tmp/fixture"
CHANGED = 1_795_000_000_000_000_000
STATES = {"2026-11-19": "not_ended", "2026-11-20": "passed", "2026-11-21": "over_budget"}


def rewrite_plan(plan: Path, folder: str) -> None:
    """Puts the folder where the plan names that in which it was made, and into what its digest was computed of."""
    table = pq.read_table(plan)
    about = json.loads(table.schema.metadata[b"about"].replace(MADE_IN.encode(), folder.encode()))
    digested = OUTPUTS / f"digested-{about['run']['date']}.json"
    if digested.exists():
        content = json.loads(digested.read_text().replace(MADE_IN, folder))
        about["digest"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    rows = table.to_pylist()
    for row in rows:
        row["file"] = row["file"].replace(MADE_IN, folder)
    schema = table.schema.with_metadata({b"about": json.dumps(about).encode()})
    pq.write_table(table.from_pylist(rows, schema), plan, compression="zstd")


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A copy of the output, as if it had been made where it lies."""
    for name in ("in", "out"):
        shutil.copytree(OUTPUTS / name, tmp_path / name)
    for file in (tmp_path / "in").iterdir():
        os.utime(file, ns=(0, CHANGED))
    for file in (tmp_path / "out").rglob("*.json"):
        file.write_text(file.read_text().replace(MADE_IN, str(tmp_path)))
    for plan in (tmp_path / "out").rglob("plan.parquet"):
        rewrite_plan(plan, str(tmp_path))
    return tmp_path / "out"


def shown(output: Path) -> Any:
    code, out, err = invoke("runs", "--output", output, "--format", "json")
    assert (code, err) == (0, "")
    return json.loads(out)


def manifest(output: Path, date: str) -> Any:
    return json.loads((output / f"dt={date}" / "_manifest.json").read_bytes())


def rows(output: Path, date: str) -> list[str]:
    files = [output / part["path"] for part in manifest(output, date)["files"]]
    return sorted(id_ for file in files for id_ in pq.ParquetFile(file).read(["id"])["id"].to_pylist())


def test_it_is_shown_as_it_is(before: Path) -> None:
    there = everything(str(before))
    found = shown(before)
    (published, committed) = found["dates"]
    assert (published["date"], published["pending"], published["rows"]) == ("2026-11-17", None, 4)
    assert (committed["date"], committed["pending"], committed["dead"]) == ("2026-11-22", "files", 1)
    assert {run["date"]: run["state"] for run in found["runs"]} == STATES
    assert everything(str(before)) == there


def test_what_is_committed_is_finished_and_what_passed_is_published(before: Path) -> None:
    found = shown(before)
    assert invoke(*found["dates"][1]["finish"].split()[1:])[0] == 0
    assert manifest(before, "2026-11-22")["finished"]
    codes = {run["date"]: invoke("publish", run["run_id"], "--output", before)[0] for run in found["runs"]}
    assert codes == {"2026-11-19": 1, "2026-11-20": 0, "2026-11-21": 3}
    assert "summary" not in manifest(before, "2026-11-20")
    for date in ("2026-11-17", "2026-11-20", "2026-11-22"):
        assert rows(before, date) == [f"{date}-{i}" for i in range(4)]
    assert finish_pending(str(before)) == []


def test_a_run_that_died_is_gone_on_with(before: Path) -> None:
    (dead,) = (run["run_id"] for run in shown(before)["runs"] if run["date"] == "2026-11-19")
    source, date = f"{before.parent}/in/{{date}}.jsonl", "2026-11-19"
    job = ("--bundle", BUNDLE, "--input", source, "--output", before, "--date", date, "--max-dead-fraction", "1")
    code, out, err = invoke("score", *job)
    assert code == 0, out + err
    found = manifest(before, date)
    assert (found["run_id"], found["splits_taken_over"]) == (dead, 1)
    assert (found["summary"]["not_summarised"], found["summary"]["rows"]) == (4, 0)
    assert rows(before, date) == [f"{date}-{i}" for i in range(4)]


def test_cleaning_takes_the_dead_runs_and_nothing_that_counts(before: Path) -> None:
    code, out, err = invoke("clean", "--output", before, "--older-than-days", "0")
    assert (code, err, out.count("deleted run")) == (0, "", 3)
    assert shown(before)["runs"] == []
    assert [row["pending"] for row in shown(before)["dates"]] == [None, None]
    for date in ("2026-11-17", "2026-11-22"):
        assert rows(before, date) == [f"{date}-{i}" for i in range(4)]
