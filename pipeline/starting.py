"""How every command starts and ends."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer


@contextmanager
def quiet_start() -> Iterator[None]:
    """TensorFlow's C++ start-up notes go to the stderr of the process whatever its log level says: not through here."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def run(command: Callable[[], int], log_format: str) -> None:
    """Runs a command and ends the process with its exit code; an error of the user's making is one line."""
    try:
        code = command()
    except Exception as error:
        with quiet_start():
            from pipeline.report import explain

        code = explain(error, log_format)
    raise typer.Exit(code)
