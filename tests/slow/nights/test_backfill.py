"""Back-fills of real scores: each date in a process of its own, one that is killed, and an interrupt."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.bundles import Built
from support.commands import DATES, ROOT, backfill_command, command, invoke, lines, run_forked
from support.jobs import DATE
from support.runs.forked import Forked
from support.runs.publishing import read_parts, ready

from transforms.publish.commit import publish
from transforms.runs.history import list_runs, published_verdict
from transforms.runs.run import date_folder, manifest_path, read_manifest

LONG = 100_000
"""Rows of a date that is still being scored when a signal comes."""


def ids(output: Path, date: str) -> list[str]:
    return [id_ for id_, _ in read_parts(str(output), dt.date.fromisoformat(date))]


def run_id(output: Path, date: str) -> str:
    there = published_verdict(str(output), dt.date.fromisoformat(date))
    return there.run_id if there else ""


@pytest.fixture
def forked_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of the dates are forked: for tests of what they do, not of how they end."""

    def start(command: list[str], **settings: Any) -> Forked:
        return Forked([word for word in command if word != "-P"], **settings)

    forking = SimpleNamespace(**{**vars(subprocess), "Popen": start})
    monkeypatch.setattr("pipeline.runners.children.subprocess", forking)


@pytest.mark.usefixtures("forked_children")
def test_a_back_fill_publishes_each_date_and_goes_on_where_it_stopped(classes: Built, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for number, date in ((0, DATES[0]), (2, DATES[2])):
        lines(tmp_path / "in" / f"{date}.jsonl", 3 + number, f"d{number}-")
    code, out, err = invoke(*backfill_command(classes, tmp_path, "--max-parallel", 2))
    assert code == 75
    assert sorted(out.splitlines()[:-1]) == [
        f"{DATES[0]}  published, 3 rows, 0 dead letters",
        f"{DATES[1]}  failed (exit code 75)",
        f"{DATES[2]}  published, 5 rows, 0 dead letters",
    ]
    assert out.splitlines()[-1] in ("3 dates: 2 published, 1 failed", "3 dates: 1 failed, 2 published")
    assert f"no input file matches {tmp_path}/in/{DATES[1]}.jsonl" in err
    runs = [run_id(output, date) for date in DATES]

    lines(tmp_path / "in" / f"{DATES[1]}.jsonl", 4, "d1-")
    code, out, _ = invoke(*backfill_command(classes, tmp_path))
    assert code == 0
    assert out.splitlines() == [
        f"{DATES[0]}  already published, 3 rows, 0 dead letters",
        f"{DATES[1]}  published, 4 rows, 0 dead letters",
        f"{DATES[2]}  already published, 5 rows, 0 dead letters",
        "3 dates: 2 already published, 1 published",
    ]
    assert [ids(output, date) for date in DATES] == [[f"d{n}-{i}" for i in range(3 + n)] for n in range(3)]
    assert [run_id(output, DATES[0]), run_id(output, DATES[2])] == [runs[0], runs[2]]


def children_of(process: Forked) -> list[int]:
    """Processes below one, from the processes' own parents."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue  # It has just ended.
    found = [process.pid]
    for parent in found:
        found += [pid for pid, above in parents.items() if above == parent]
    return found[1:]


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def start(classes: Built, folder: Path, *more: object) -> Forked:
    """Begins a back-fill; the processes that it starts are new ones, as always."""
    arguments = [sys.executable, "-m", "pipeline", *backfill_command(classes, folder, *more)]
    return Forked(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_date_that_is_killed_takes_no_other_with_it(classes: Built, tmp_path: Path) -> None:
    for number, date in enumerate(DATES):
        lines(tmp_path / "in" / f"{date}.jsonl", (LONG, 3, 3)[number], f"d{number}-")
    publish(ready(str(tmp_path / "out"), date=dt.date.fromisoformat(DATES[1])))
    process = start(classes, tmp_path)
    assert wait_for(lambda: list_runs(str(tmp_path / "out")).keys() - {run_id(tmp_path / "out", DATES[1])})
    (child,) = children_of(process)
    os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out.splitlines() == [
        f"{DATES[0]}  failed (exit code 1)",
        f"{DATES[1]}  already published, 4 rows, 1 dead letters",
        f"{DATES[2]}  published, 3 rows, 0 dead letters",
        "3 dates: 1 failed, 1 already published, 1 published",
    ]
    assert err == "  its process was ended by SIGKILL\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_an_interrupt_ends_every_process_and_no_date_is_half_there(
    number: int, code: int, classes: Built, tmp_path: Path
) -> None:
    for date in DATES:
        lines(tmp_path / "in" / f"{date}.jsonl", LONG)
    process = start(classes, tmp_path, "--max-parallel", 2, "--workers", 2)
    # Both have planned: their worker processes are there, or are being started.
    assert wait_for(lambda: len(list_runs(str(tmp_path / "out"))) == 2)
    wait_for(lambda: len(children_of(process)) > 2, 5)
    below = children_of(process)
    assert len(below) >= 2
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert "interrupted" in err or number != signal.SIGINT
    assert wait_for(lambda: not [pid for pid in below if Path(f"/proc/{pid}/exe").exists()], 20)
    for date in DATES:
        assert sorted(ids(tmp_path / "out", date)) in ([], sorted(f"r{i}" for i in range(LONG)))


@pytest.mark.usefixtures("forked_children")
def test_one_date_needs_no_date_in_its_input(classes: Built, tmp_path: Path) -> None:
    given = backfill_command(classes, tmp_path)[:-2]
    found, out, _ = invoke(*given, "--input", tmp_path / "in.jsonl", "--to", DATES[0], "--log-format", "json")
    assert found == 75
    events = [json.loads(line) for line in out.splitlines()]
    assert [(event["event"], event.get("code"), event.get("failed")) for event in events] == [
        ("date", 75, None),
        ("dates", None, 1),
    ]


# === A run that died after its verdict ===


def test_a_score_killed_after_its_verdict_is_published_by_its_id(classes: Built, tmp_path: Path) -> None:
    killed = (
        "import os, sys; from pipeline.commands import app; from transforms.publish import commit\n"
        "commit._commit = lambda *given: os.kill(os.getpid(), 9)\n"
        "sys.argv = ['bert-batch', *sys.argv[1:]]; app.main()\n"
    )
    output = tmp_path / "out"
    arguments = command(classes, lines(tmp_path / "in.jsonl", 5), output)[3:]
    run_forked([sys.executable, "-c", killed, *arguments], code=-signal.SIGKILL)
    assert read_manifest(manifest_path(str(output), dt.date.fromisoformat(DATE))) == (None, None)
    ((run, _),) = list_runs(str(output)).items()
    _, out, _ = invoke("runs", "--output", output)
    assert f"bert-batch publish {run}" in out
    found, out, _ = invoke("publish", run, "--output", output)
    assert (found, f"published {date_folder(str(output), dt.date.fromisoformat(DATE))}" in out) == (0, True)
    assert ids(output, DATE) == [f"r{i}" for i in range(5)]
