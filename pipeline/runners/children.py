"""Processes that are started by a command and end with it."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

POLL_SECONDS = 0.1


class Interrupted(BaseException):
    """A signal asked this process to end."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a process ended: exit code (minus the number of the signal that ended it) and what it wrote."""

    code: int
    out: str
    err: str


class Children:
    """Commands of this program in processes of their own, by name. Those still running are killed when the block ends.

    Ctrl-C, SIGTERM and SIGHUP kill them too, and then do what they would have done without this block.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._running: dict[str, tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]] = {}
        self._signals: list[int] = []
        self._before: dict[int, Any] = {}
        # The same modules as this process has, whatever is in the working directory.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._environment = {**os.environ, **environment, "PYTHONPATH": path}

    def __len__(self) -> int:
        return len(self._running)

    def __enter__(self) -> "Children":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                # Only noted: a process that is just being started must not be missed.
                self._before[number] = signal.signal(number, lambda number, _: self._signals.append(number))
        return self

    def __exit__(self, *_: object) -> None:
        for process, *_files in self._running.values():
            _kill_group(process.pid)
            process.wait()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._signals:
            signal.raise_signal(self._signals[0])

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Starts `bert-batch` with these arguments; raises Interrupted."""
        self._stop_if_interrupted()
        # Files, not pipes, which would have to be emptied. They are closed when the process has ended.
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-P", "-m", "pipeline", *arguments]
        # A process group of its own: if the command dies its workers stay, and would wait for it for ever.
        process = subprocess.Popen(
            command, env=self._environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, process_group=0
        )
        self._running[name] = (process, out, err)

    def wait(self) -> dict[str, Result]:
        """Waits until some have ended, and gives those, none if none is running; raises Interrupted."""
        ended: list[str] = []
        while self._running and not ended:
            time.sleep(POLL_SECONDS)
            self._stop_if_interrupted()
            ended = [name for name, (process, *_) in self._running.items() if process.poll() is not None]
        return {name: _result(*self._running.pop(name)) for name in ended}

    def _stop_if_interrupted(self) -> None:
        if self._signals:
            raise Interrupted


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _result(process: "subprocess.Popen[bytes]", *files: IO[bytes]) -> Result:
    _kill_group(process.pid)
    texts = []
    for file in files:
        with file:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Result(code=process.returncode, out=texts[0], err=texts[1])
