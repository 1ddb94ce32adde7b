"""Runs a command as a scheduler does: in a process group of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.bundles import Built
from support.jobs import DATE
from typer.testing import CliRunner

from pipeline.commands.app import app

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"


def run_command(
    command: Sequence[str], *, folder: Path = ROOT, code: int = 0, seconds: int = 300, **environment: str
) -> str:
    """What the command prints; fails with all it printed if it ends with another code. A signal is a negative code."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


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
