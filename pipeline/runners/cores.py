"""How processes that work side by side share the cores of this machine. Knows no Beam."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

INTRAOP_THREADS = "TF_NUM_INTRAOP_THREADS"


@contextmanager
def share_cores(workers: int) -> Iterator[None]:
    """Limits TensorFlow in worker processes started meanwhile: threads times processes are at most the cores."""
    before = os.environ.get(INTRAOP_THREADS)
    if workers > 1:
        # Read by TensorFlow when a worker process starts it; its own setter is too late once a graph is loaded. A share
        # that is set already is the share of one date of a back-fill, or the user's own.
        os.environ.setdefault(INTRAOP_THREADS, share_of_cores(workers))
    try:
        yield
    finally:
        if before is None and workers > 1:
            os.environ.pop(INTRAOP_THREADS, None)


def share_of_cores(processes: int) -> str:
    """What each of so many processes may use, as TensorFlow reads it from the environment."""
    return str(max(1, (os.cpu_count() or 1) // processes))
