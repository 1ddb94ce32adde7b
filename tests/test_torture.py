"""Kill -9 at every fail point and at some seeded moments; `make torture` runs the long form."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_a_killed_run_loses_and_doubles_nothing() -> None:
    # A process of its own: what it forks must not inherit the threads of a TensorFlow that has computed.
    done = subprocess.run(
        [sys.executable, "benchmarks/torture.py", "--short"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if "problems=[]" not in line)
