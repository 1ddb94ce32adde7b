"""Commands of this project in processes forked from one that has imported everything: they start in no time.

For tests of what a command does. One of how it starts (what it imports, and how long that takes; which variables it
reads then; what lies on its path) takes subprocess.
"""

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
SERVER = Path(__file__).with_name("fork_server.py")
AT_START = dict(os.environ)
READ_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "OMP_", "OPENBLAS_", "KMP_", "TF_", "XLA_", "GRPC_", "ARROW_")
"""What Python or a library reads when it begins, or is imported, begins so."""
MAY_DIFFER = {"PYTHONPATH", "TF_NUM_INTRAOP_THREADS", "TF_FORCE_GPU_ALLOW_GROWTH"}
"""Read later: by TensorFlow when it makes its devices and pools, or here."""

_servers: dict[int, socket.socket] = {}
_starting = threading.Lock()


class Forked(subprocess.Popen):  # type: ignore[type-arg]
    """As Popen for the command line of a Python program (-m, -c or a file), always in a session of its own.

    The process is a child of the server, which waits for it: only that is done otherwise than by Popen, in three of
    its methods, which the three Pythons have alike.
    """

    def _execute_child(
        self, args: Sequence[object], executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any,
        env: Mapping[str, str] | None, startupinfo: Any, creationflags: Any, shell: Any, *pipes_and_more: Any,
    ) -> None:  # fmt: skip
        pipes = pipes_and_more[:6]
        streams = [number if pipe == -1 else pipe for number, pipe in enumerate((pipes[0], pipes[3], pipes[5]))]
        program, *command = map(str, args)
        if program != sys.executable:
            raise ValueError(f"{program}: is not this Python; take subprocess.Popen")
        environment = dict(os.environ if env is None else env)
        check(environment)
        request = {"command": command, "folder": os.fspath(cwd or os.getcwd()), "environment": environment}
        self._answer, theirs = _pair()
        with theirs:
            socket.send_fds(server(), [json.dumps(request).encode()], [*streams, theirs.fileno()])
        self.pid = int(self._answer.recv(64) or 0)
        if not self.pid:
            raise RuntimeError("the fork server has ended, or the process before it began")
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, *_: Any, **_named: Any) -> int | None:
        if self.returncode is None:
            with self._waitpid_lock:  # type: ignore[attr-defined]
                _, status = self._try_wait(os.WNOHANG)
                if status is not None:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int | None]:
        try:
            told = self._answer.recv(64, socket.MSG_DONTWAIT if flags & os.WNOHANG else 0)
        except BlockingIOError:
            return 0, None
        self._answer.close()
        if not told:
            raise RuntimeError("the fork server has ended")
        return self.pid, int(told)


def without_limit(end: socket.socket) -> socket.socket:
    """A socket that waits: Beam's login sets a limit of 60 seconds for all of its process."""
    end.settimeout(None)
    return end


def _pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return without_limit(ours), without_limit(theirs)


def check(environment: Mapping[str, str]) -> None:
    for name in {*environment, *AT_START} - MAY_DIFFER:
        if name.startswith(READ_AT_START) and environment.get(name) != AT_START.get(name):
            raise ValueError(f"{name}: is read when a process begins; take subprocess.Popen where a test sets it")


def server() -> socket.socket:
    """The connection to the server of this process, which ends with it."""
    with _starting:
        if os.getpid() not in _servers:
            _servers[os.getpid()] = _started()
    return _servers[os.getpid()]


def _started() -> socket.socket:
    ours, theirs = _pair()
    with tempfile.TemporaryFile() as said:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, os.fspath(SERVER), os.fspath(ROOT), str(theirs.fileno())],
                env=AT_START,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        if ours.recv(64) != b"ready":
            said.seek(0)
            raise RuntimeError(f"the fork server ended with {process.wait()}:\n{said.read().decode()}")
    atexit.register(_end, ours, process)
    return ours


def _end(connection: socket.socket, server: "subprocess.Popen[bytes]") -> None:
    connection.close()
    server.wait()
