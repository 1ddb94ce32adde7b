"""Commands that only look at files, and mistakes, answer without Beam and TensorFlow."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.commands import ROOT, invoke
from support.runs.publishing import DATE, judged, planned, row_counts

from pipeline.commands import start
from transforms.publish.commit import publish

LOOK = """
import json, sys
from typer.testing import CliRunner
from pipeline.commands.app import app
for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, arguments)
    heavy = [name for name in ("apache_beam", "tensorflow", "google.cloud.storage", "pandas") if name in sys.modules]
    print(json.dumps([arguments, result.exit_code, heavy, result.output]))
"""


@pytest.fixture
def output(tmp_path: Path) -> str:
    """An output with one published date, and one run that waits for being published."""
    folder = str(tmp_path / "out")
    run = planned(folder)
    judged(run, row_counts(run))
    publish(run)
    waiting = planned(folder)
    judged(waiting, row_counts(waiting))
    return folder


@pytest.mark.slow
def test_what_only_looks_at_files_imports_neither_beam_nor_tensorflow(output: str, tmp_path: Path) -> None:
    waiting = max(os.listdir(f"{output}/_runs"))
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "play"}\n')
    (tmp_path / "job.yaml").write_text("output: 2024\n")
    bundle, source, new = str(ROOT / "examples/snips/bundle"), str(tmp_path / "a.jsonl"), str(tmp_path / "new")
    job = ["--bundle", bundle, "--input", source, "--output", new]
    # `score` and `check` say that the input is not there yet, and what is wrong with flags, before the heavy imports.
    commands = [
        (["runs", "--output", output], 0),
        (["runs", "--output", output, "--format", "json"], 0),
        (["report", "--output", output], 0),
        (["report", "--output", output, "--html", str(tmp_path / "report.html")], 0),
        (["clean", "--output", output, "--dry-run"], 0),
        (["publish", waiting, "--output", output], 0),
        (["inspect", f"{output}/dt=2026-11-21"], 0),
        (["inspect", bundle], 0),
        (["inspect", source], 2),
        (["compare", source, output], 2),
        *(
            ([command, *wrong], code)
            for command in ("score", "check")
            for wrong, code in (
                (["--no-such-flag"], 2),
                ([*job, "--top-k", "0"], 2),
                ([*job, "--date", "2026-W48-6"], 2),
                ([*job, "--bundle-fingerprint", "000"], 2),
                (["--bundle", source, *job[2:]], 2),
                ([*job[:2], "--input", f"{tmp_path}/none-*.jsonl", *job[4:]], 75),
                ([*job[:2], "--input", f"{tmp_path}/{{year}}.jsonl", *job[4:]], 2),
                (["--job", str(tmp_path / "job.yaml")], 2),
            )
        ),
        (["backfill", *job, "--from", "2026-11-22", "--to", "2026-11-21"], 2),
        (["submit", *job, "--profile", str(tmp_path / "none.yaml")], 2),
        (["train", "--input", source, "--name", "x", "--output", output], 2),
        (["import", source, "--name", "x", "--output", output], 2),
    ]
    done = subprocess.run(
        [sys.executable, "-c", LOOK, json.dumps([arguments for arguments, _ in commands])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for (arguments, code), (_, found, heavy, said) in zip(commands, answers, strict=True):
        assert (arguments, found, heavy) == (arguments, code, []), said


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["runs", "--output"], ["report", "--output"], ["clean", "--dry-run", "--output"], ["score", "--top-k"]]
)
def test_an_answer_takes_less_than_two_seconds(command: list[str], output: str) -> None:
    # Seconds of computing: a machine that does other things meanwhile takes longer by the clock.
    command = [*command, "0" if "--top-k" in command else output]
    seconds = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "pipeline", *command], cwd=ROOT, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 2


def test_the_collector_is_as_usual_once_all_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    usual = start._THRESHOLDS
    told = {"set_threshold": lambda *given: calls.append(given), "freeze": lambda: calls.append(("freeze",))}
    monkeypatch.setattr(start, "gc", SimpleNamespace(**told))
    start.imports_begin()
    assert calls[0][0] > 10 * usual[0]
    start.imports_are_done()
    assert calls[1:] == [("freeze",), usual]


def test_check_and_a_dry_clean_name_files_of_others(output: str, tmp_path: Path) -> None:
    foreign = Path(output) / f"dt={DATE}" / "part-00000-abc.snappy.parquet"
    foreign.write_bytes(b"of somebody else")
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "play"}\n')
    job = ["--bundle", ROOT / "examples/snips/bundle", "--input", tmp_path / "a.jsonl", "--output", output]
    for command in (["check", *job, "--date", "2026-11-22"], ["clean", "--output", output, "--dry-run"]):
        code, out, _ = invoke(*command)
        (told,) = [line for line in "".join(out).splitlines() if line.startswith("not ours ")]
        assert (code, foreign.name in out.replace("\n", "")) == (0, True), told
    assert foreign.read_bytes() == b"of somebody else"
