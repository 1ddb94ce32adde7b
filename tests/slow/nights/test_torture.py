"""Kill -9 at every fail point and at some seeded moments; `make torture` runs the long form."""

import sys

from support.commands import run_command


def test_a_killed_run_loses_and_doubles_nothing() -> None:
    # A process of its own: what it forks must not inherit the threads of a TensorFlow that has computed.
    run_command([sys.executable, "-m", "benchmarks.nightly.torture", "--short"], seconds=600)
