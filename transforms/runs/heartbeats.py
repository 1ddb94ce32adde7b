"""Heartbeats: a worker process rewrites a small file of its own while it lives, so that its death can be noticed.

Only for runners that do not do this themselves. The heartbeat lasts from the set-up of the first step to the end of the
process, or until the listener removes the file that says that it listens. It says whether the process publishes: by
then a runner may have ended all others, without leaving them the time to delete their files.
"""

import atexit
import itertools
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from transforms.outputs.deletion import delete_heartbeats
from transforms.stores.choose import each, store_for
from transforms.stores.paths import join, literal

HEARTBEAT_SECONDS = 2.0
LISTENER = "_listener"
PUBLISHES = "publishes"
_started: set[tuple[int, str]] = set()
_publishing: set[tuple[int, str]] = set()
_lock = threading.Lock()


def start_heartbeat(folder: str | None) -> None:
    """Starts the heartbeat of this process in `folder`; a second call changes nothing, and None starts none."""
    me = (os.getpid(), folder or "")
    with _lock:
        if folder is None or me in _started:
            return
        _started.add(me)
    path, stop = join(folder, _new_name()), threading.Event()
    thread = threading.Thread(target=_heartbeat, args=(folder, path, stop, me), name="heartbeats", daemon=True)
    thread.start()

    def end() -> None:
        # The file goes after the last heartbeat, or the process would seem to have died.
        stop.set()
        thread.join(HEARTBEAT_SECONDS)
        delete_heartbeats(folder, [path], prune=False)

    atexit.register(end)


@contextmanager
def publishing(folder: str | None) -> Iterator[None]:
    """The heartbeat of this process, which is started if need be, says meanwhile that it publishes the run."""
    me = (os.getpid(), folder or "")
    _publishing.add(me)
    try:
        start_heartbeat(folder)
        yield
    finally:
        # Also where publishing failed: a runner may begin the whole job anew in this process, or elsewhere.
        _publishing.discard(me)


def _new_name() -> str:
    # Containers that share the name of their host may number their processes alike.
    return f"{socket.gethostname()}-{os.getpid()}.{secrets.token_hex(4)}"


def host_and_pid(name: str) -> str:
    """`<host>-<pid>` of the process whose heartbeat has this name."""
    return name.rpartition(".")[0]


def publishes(heartbeat: str) -> bool:
    """Whether the process with this heartbeat publishes the run."""
    return heartbeat.endswith(f" {PUBLISHES}\n")


def _heartbeat(folder: str, path: str, stop: threading.Event, me: tuple[int, str]) -> None:
    store = store_for(folder)
    for number in itertools.count():
        with suppress(Exception):  # A store may fail for a moment: the next heartbeat may be heard.
            if store.read(join(folder, LISTENER)) is None:
                delete_heartbeats(folder, [path])
                return
            store.write(path, f"{number}{f' {PUBLISHES}' if me in _publishing else ''}\n".encode())
        if stop.wait(HEARTBEAT_SECONDS):
            return


def begin_listening(folder: str) -> None:
    """Lets worker processes have their heartbeats in `folder`."""
    store_for(folder).write(join(folder, LISTENER), b"")


def hear(folder: str) -> dict[str, str]:
    """The content of each heartbeat file, by name: content that differs from the last time is a heartbeat."""
    store = store_for(folder)
    paths = [info.path for info in store.match(join(literal(folder), "*"))]
    # On a network file system a file that is opened is the newest one; its times may be those of a minute ago.
    held = zip(paths, each(store.read, paths), strict=True)
    return {path.rsplit("/", 1)[1]: data.decode() for path, data in held if data is not None}


def end_listening(folder: str) -> None:
    """Ends all heartbeats, and deletes their files."""
    delete_heartbeats(folder, [join(folder, LISTENER)], prune=False)
    delete_heartbeats(folder, store_for(folder).list(folder))
