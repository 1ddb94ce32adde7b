"""Named points of a run at which a test kills it: before and after each step that leaves something behind.

The list is the code's own, so a new step is killed at by the same test. In production the variable is not set.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "BERT_BATCH_KILL_AT"
STEPS = (
    "write_plan",
    "write_taken",
    "write_session",
    "fetch_unchanged",
    "stage_file",
    "record_file",
    "record_read",
    "write_verdict",
)
"""Steps of planning and staging, in their order; those of publishing are publish.STEPS."""


def reach(point: str) -> None:
    """Kills the whole process group if this is the point that the environment names."""
    if os.environ.get(VARIABLE) == point:
        os.killpg(0, signal.SIGKILL)


@contextmanager
def step(name: str) -> Iterator[None]:
    """The points before and after a step of STEPS."""
    if name not in STEPS:
        raise ValueError(f"step {name!r} is not in fail_points.STEPS")
    reach(f"before {name}")
    yield
    reach(f"after {name}")
