"""Peak memory of whole commands on rows that are much too large; `make bench-memory` has more of them."""

import subprocess
import sys

import pytest
from support.commands import ROOT

from benchmarks.levels.memory import CASES

KINDS = [
    "JSONL, a text of 250",
    "Parquet, a text of 250",
    "Parquet, a kept column of 300 KB, 2,048",
    "CSV, a kept column of 300 KB, 2,048",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_is_much_too_large_takes_less_than_the_limit(kind: str) -> None:
    assert sum(kind in name for name in CASES) == 1
    # In a process between: the peak of a child is never below what its parent has.
    command = [sys.executable, "-m", "benchmarks.levels.memory", kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, kind in done.stdout) == (0, True), done.stdout + done.stderr
