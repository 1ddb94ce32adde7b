"""How every command starts and ends."""

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import typer

from pipeline.runners.silence import quiet_stderr
from pipeline.terminal.escaping import escaped
from pipeline.terminal.quiet import steps_are_heard

INTERRUPTED = 130
_THRESHOLDS = gc.get_threshold()
_folders: list[str] = []
"""Temporary ones of this command."""
_what_stays = "a date that is not published yet stays as it was"


def imports_begin() -> None:
    """Lets the collector wait for more objects.

    TensorFlow and Beam make a million that stay; by default Python looks through them again and again while they are
    imported, which takes a seventh of the time of a short command.
    """
    gc.set_threshold(100_000, *_THRESHOLDS[1:])


def imports_are_done() -> None:
    """What is imported is never looked at again, and all else as usual."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def run(command: Callable[[], int], log_format: str) -> None:
    """Runs a command and ends the process with its exit code; an error of the user's making is one line."""
    _end_when_interrupted()
    with steps_are_heard():
        try:
            code = command()
        except Exception as error:
            with quiet_stderr():
                from pipeline.terminal.report import explain

            code = explain(error, log_format)
    raise typer.Exit(code)


def end_of_process(application: Callable[[], object]) -> None:
    """Runs the application, which ends with SystemExit, and ends the process with its exit code.

    Before Python 3.14, a thread that needs the interpreter while it shuts down is killed, and C++ then aborts the
    process with 134. A thread of Arrow that closed a Parquet file did so after a date was published.
    """
    process = os.getpid()
    code: list[int] = []

    def end() -> None:
        if not code or os.getpid() != process:
            return
        try:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
        except (OSError, ValueError):
            return  # Output was lost: Python reports it, with an exit code of its own.
        os._exit(code[0])

    # Registered first, so called last of all exit handlers, and before the interpreter shuts down.
    atexit.register(end)
    try:
        application()
    except SystemExit as ended:
        code.append(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
        raise


def when_interrupted(sentence: str) -> None:
    """What Ctrl-C prints from now on, if others than this process work on the job."""
    global _what_stays
    _what_stays = sentence


def _end_when_interrupted() -> None:
    """Ctrl-C ends the process at once: the runner would turn it into an error of some step."""
    if threading.current_thread() is not threading.main_thread():
        return
    terminal = os.dup(2)

    def end(*_: object) -> None:
        show_cursor = b"\x1b[?25h\n" if os.isatty(terminal) else b""
        os.write(terminal, show_cursor + f"interrupted; {escaped(_what_stays)}\n".encode())
        _remove_folders()
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, end)


@contextmanager
def folder_until_the_end() -> Iterator[str]:
    """A temporary folder that is gone with the command, also where that is interrupted or asked to end."""
    with tempfile.TemporaryDirectory(prefix="bert-batch-") as folder, ExitStack() as stack:
        _folders.append(folder)
        stack.callback(_folders.remove, folder)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                # Without a handler they end the process where it stands, and the folder stays. nohup has one ignored.
                if (before := signal.getsignal(number)) != signal.SIG_IGN:
                    stack.callback(signal.signal, number, before)
                    signal.signal(number, _end_and_remove)
        yield folder


def _end_and_remove(number: int, _: object) -> None:
    _remove_folders()
    os._exit(128 + number)


def _remove_folders() -> None:
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
