"""Heartbeats: a worker process rewrites a small file of its own while it lives, so that its death can be noticed.

Only where the runner does not do this itself. The heartbeat goes on from the set-up of the first step to the end of the
process, or until the listener removes the file by which it shows that it listens.
"""

import atexit
import itertools
import os
import secrets
import socket
import threading
from contextlib import suppress

from transforms.outputs.deletion import delete_beats
from transforms.stores.choose import each, store_for
from transforms.stores.paths import join, literal

BEAT_SECONDS = 2.0
LISTENER = "_listener"
_beating: set[tuple[int, str]] = set()
_lock = threading.Lock()


def beat(folder: str | None) -> None:
    """Has this process beat in `folder` from now on, however often it is asked; nowhere for None."""
    me = (os.getpid(), folder or "")
    with _lock:
        if folder is None or me in _beating:
            return
        _beating.add(me)
    path, stop = join(folder, _new_name()), threading.Event()
    thread = threading.Thread(target=_beat, args=(folder, path, stop), name="beats", daemon=True)
    thread.start()

    def end() -> None:
        # After the last beat, or it would look as if the process had died.
        stop.set()
        thread.join(BEAT_SECONDS)
        delete_beats(folder, [path], prune=False)

    atexit.register(end)


def _new_name() -> str:
    # Containers that share the name of their host may number their processes alike.
    return f"{socket.gethostname()}-{os.getpid()}.{secrets.token_hex(4)}"


def host_and_pid(name: str) -> str:
    """`<host>-<pid>` of the process whose beats have this name."""
    return name.rpartition(".")[0]


def _beat(folder: str, path: str, stop: threading.Event) -> None:
    store = store_for(folder)
    for number in itertools.count():
        with suppress(Exception):  # Of a store that is out of order for a moment: the next beat may be heard.
            if store.read(join(folder, LISTENER)) is None:
                delete_beats(folder, [path])
                return
            store.write(path, b"%d\n" % number)
        if stop.wait(BEAT_SECONDS):
            return


def begin_listening(folder: str) -> None:
    """Lets worker processes beat in `folder`."""
    store_for(folder).write(join(folder, LISTENER), b"")


def hear(folder: str) -> dict[str, str]:
    """Which processes beat, by name, each with what its file holds: something else since the last time is a beat."""
    store = store_for(folder)
    paths = [info.path for info in store.match(join(literal(folder), "*"))]
    # On a network file system a file that is opened is the newest one; its times may be those of a minute ago.
    held = zip(paths, each(store.read, paths), strict=True)
    return {path.rsplit("/", 1)[1]: data.decode() for path, data in held if data is not None}


def end_listening(folder: str) -> None:
    """Deletes all beats, and lets no process beat any more."""
    delete_beats(folder, [join(folder, LISTENER)], prune=False)
    delete_beats(folder, store_for(folder).list(folder))
