"""Kill -9 at every fail point and at some seeded moments; `make torture` runs the long form."""

import sys

from support.commands import run_forked


def test_a_killed_run_loses_and_doubles_nothing() -> None:
    # Not in this process: what it forks must not inherit the threads of a TensorFlow that has computed.
    run_forked([sys.executable, "-m", "benchmarks.nightly.torture", "--short"], seconds=600)
