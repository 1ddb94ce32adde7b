"""Imports everything once, then forks for each command that a test wants to run; `forked.py` is its client.

A child is a process like any other: of its own session, with its own standard streams, environment and exit code. All
that it does not do is start Python and import TensorFlow and Beam. Only such libraries are imported as start no thread
for that: TensorFlow makes its pools at the first operation, gRPC at the first channel. The threads that OpenBLAS and
Arrow's jemalloc start are taken down and begun anew by their own handlers of a fork.
"""

import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
import types
from typing import Any

PACKAGES = ("model", "pipeline", "transforms")
LIBRARIES = (
    "google.cloud.bigquery",
    "google.cloud.bigquery_storage",
    "google.cloud.storage",
    "pyarrow.dataset",
    "pydantic.dataclasses",
    "rich.progress",
    "tf_keras.src.engine.base_layer_v1",
)
"""What a command imports while it runs."""


def warm() -> None:
    """Imports all, and fails if that has started what no child may inherit."""
    importlib.import_module("pipeline.commands.app")  # First, as in a command: it says how TensorFlow is to log.
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if module.name != "pipeline.__main__":  # It is the command.
                importlib.import_module(module.name)
    for library in LIBRARIES:
        importlib.import_module(library)
    importlib.import_module("support.runs.beam_memo").keep_what_beam_inspects()
    from tensorflow.python.eager import context

    if threading.active_count() > 1:
        raise RuntimeError(f"an import has started threads, which a child would not have: {threading.enumerate()}")
    if context.context_safe() is not None and context.context()._initialized:
        raise RuntimeError("TensorFlow has made its devices, so its pools of threads, which a child would not have")
    gc.collect()
    gc.freeze()  # The collector of a child need not touch, so copy, what all share.
    gc.set_threshold(100_000, 20, 20)
    os.fsync = lambda handle: None  # A test kills processes, not the machine.


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Forks for each request. Gives the request in the child, and None in the server when its client is gone."""
    running: dict[int, socket.socket] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    while True:
        ready, *_ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 4_096)
            _tell_of_the_dead(running)
        if control in ready:
            data, given, *_ = socket.recv_fds(control, 1 << 20, 4)
            if not data:
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                return None
            answer = socket.socket(fileno=given[3])
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                # Of a shell's background job Python would leave it ignored.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                request: dict[str, Any] = json.loads(data)
                _become(request, given[:3])
                # Only now, so that nobody sends a signal to a group that is not there yet.
                answer.send(str(os.getpid()).encode())
                for closed in (control, answer, *running.values()):
                    closed.close()
                for number in (woken, wake, *given[:3]):
                    os.close(number)
                return request
            running[pid] = answer
            for number in given[:3]:
                os.close(number)


def _tell_of_the_dead(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as answer:
            try:
                answer.send(str(status).encode())
            except BrokenPipeError:
                continue  # Nobody waits for it any more.


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Makes of this process what a new one would be."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.stdout, sys.stderr = (_text(number, stream) for number, stream in ((1, sys.stdout), (2, sys.stderr)))
    sys.modules["numpy"].random.seed()


def _text(number: int, like: Any) -> Any:
    """What Python writes to a standard stream through. The server's own remembers that it was a file."""
    binary = os.fdopen(number, "wb", 0, closefd=False)
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    return io.TextIOWrapper(
        binary if at_once else io.BufferedWriter(binary),
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=number == 2 or os.isatty(number),
        write_through=at_once,
    )


def run(how: str, *arguments: str) -> None:
    """Does what `python HOW ARGUMENTS…` does; HOW is -m, -c, or a file."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [os.getcwd() if how == "-m" else "" if how == "-c" else os.path.dirname(how), *paths]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if how == "-m":
        sys.argv = list(arguments)
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif how == "-c":
        sys.argv = [how, *arguments[1:]]
        exec(compile(arguments[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = [how, *arguments]
        runpy.run_path(how, run_name="__main__")


def main() -> None:
    root, control = sys.argv[1:]
    sys.path[:1] = [root, os.path.join(root, "tests")]
    warm()
    del sys.path[:2]
    client = socket.socket(fileno=int(control))
    client.send(b"ready")
    if (request := serve(client)) is not None:
        from pipeline.commands.start import end_of_process

        def command() -> None:
            run(*request["command"])
            sys.exit(0)

        # All that is imported is not taken down at the end: that takes a second.
        end_of_process(command)


if __name__ == "__main__":
    main()
