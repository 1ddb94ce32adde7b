"""Keeping what C++ libraries and worker processes write to stderr away from the user."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """What C++ libraries and worker processes write to stderr does not get through, whatever their log level says.

    That is TensorFlow's start-up notes, and tracebacks that may quote a text.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
