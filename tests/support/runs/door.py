"""A program that does what a command of this project does, in a process forked from the server of the tests.

For shell scripts: theirs is a small client on PATH, and all that is saved is the start of Python, TensorFlow and Beam.
"""

import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.runs.forked import check, server, without_limit

CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
door.connect({door!r})
request = {{"command": [{command}, *sys.argv[1:]], "folder": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(door, [json.dumps(request).encode()], [0, 1, 2, theirs.fileno()])
theirs.close()
if not ours.recv(64):
    sys.exit("the fork server has ended, or the process before it began")
code = os.waitstatus_to_exitcode(int(ours.recv(64)))
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextmanager
def forked_program(path: Path, *command: str) -> Iterator[None]:
    """Writes a program that stands for `python COMMAND…`, and serves it as long as the block lasts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ", ".join(map(repr, command))
    # The path of a socket may have a hundred characters, and a folder of a test has more.
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening,
    ):
        door = os.path.join(folder, "door")
        path.write_text(CLIENT.format(python=sys.executable, door=door, command=words), encoding="utf-8")
        path.chmod(0o755)
        without_limit(listening).bind(door)
        listening.listen()
        thread = threading.Thread(target=_serve, args=[listening], daemon=True)
        thread.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return  # Closed.
        with without_limit(connection):
            request, given, *_ = socket.recv_fds(connection, 1 << 20, 4)
            if given:
                check(json.loads(request)["environment"])
                socket.send_fds(server(), [request], given)
            for number in given:
                os.close(number)
