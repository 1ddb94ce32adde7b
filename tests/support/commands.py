"""Runs a command as a scheduler does: in a process group of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.bundles import Built
from support.jobs import DATE
from support.runs.forked import ROOT, Forked
from typer.testing import CliRunner

from pipeline.commands.app import app

DATA = ROOT / "tests" / "data"
DATES = [f"2026-11-{day}" for day in (19, 20, 21)]
"""Of a back-fill."""


def run_command(
    command: Sequence[str],
    *,
    folder: Path = ROOT,
    code: int = 0,
    seconds: int = 300,
    start: type["subprocess.Popen[str]"] = subprocess.Popen,
    **environment: str,
) -> str:
    """What the command prints; fails with all it printed if it ends with another code. A signal is a negative code.

    `start` is Forked where the command of Python need not start as a user's does.
    """
    with start(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == code, f"{process.returncode}\n{out}\n{err}"
    return out


def run_forked(command: Sequence[str], **more: Any) -> str:
    """As run_command, in a process that is forked."""
    return run_command(command, start=Forked, **more)


def invoke(*arguments: object) -> tuple[int, str, str]:
    """Runs a command in this process; exit code, stdout, stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def lines(path: Path, count: int, prefix: str = "r") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f'{{"id": "{prefix}{i}", "text": "play {i}"}}\n' for i in range(count)))
    return path


def command(classes: Built, source: object, output: object, *more: str) -> list[str]:
    arguments = ["score", "--bundle", classes.path, "--input", source, "--output", output, "--date", DATE, *more]
    return [sys.executable, "-m", "pipeline", *map(str, arguments)]


def backfill_command(classes: Built, folder: Path, *more: object) -> list[str]:
    arguments = ["--from", DATES[0], "--to", DATES[-1], "--bundle", classes.path, "--output", folder / "out"]
    return ["backfill", *map(str, [*arguments, "--input", folder / "in" / "{date}.jsonl", *more])]
