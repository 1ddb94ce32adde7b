"""Runs a command as a scheduler does: in a process group of its own."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


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
