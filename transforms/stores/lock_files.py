"""The lock files beside what is swapped on a file system: made, told from files of others, and deleted."""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from transforms.errors import LockedError
from transforms.stores.locks import wait_for_lock
from transforms.stores.walking import make_folder

_LOCK_NAME = re.compile(r"\.(?:_manifest|verdict|session)\.json\.lock")
"""Of what is swapped. Such a file is ours if it is empty; with any other name, or content, it is somebody else's."""


@contextmanager
def locked(path: str, seconds: float) -> Iterator[None]:
    """Holds the lock of the file at `path`; raises LockedError."""
    folder, name = os.path.split(path)
    with _lock(os.path.join(folder, f".{name}.lock"), seconds):
        yield


def _lock(path: str, seconds: float) -> BinaryIO:
    """The lock file at `path`, ours until it is closed."""
    while True:
        make_folder(os.path.dirname(path))
        with suppress(FileNotFoundError):
            lock = _open_lock(path)
            try:
                wait_for_lock(lock, path, seconds)
            except BaseException:
                lock.close()
                raise
            if _is_named(path, lock):
                return lock
            # It was deleted while we waited: no other process would see this lock.
            lock.close()


def _open_lock(path: str) -> BinaryIO:
    try:
        # Never through a link: it would make a file where it leads to.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise LockedError(f"{path}: is a link, in the place of a lock file of ours; remove the link") from error
    return os.fdopen(handle, "ab")


def is_own_lock(path: str) -> bool:
    """Whether it is a lock file that `locked` has made."""
    if not _LOCK_NAME.fullmatch(os.path.basename(path)) or os.path.islink(path):
        return False
    try:
        return os.stat(path).st_size == 0
    except FileNotFoundError:
        return True  # Deleted meanwhile, by whoever held it.


def delete_lock(path: str) -> None:
    """Deletes a lock file that no process holds and whose file is gone."""
    folder, name = os.path.split(path)
    with suppress(FileNotFoundError, BlockingIOError), open(path, "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_named(path, lock) and not os.path.exists(os.path.join(folder, name[1 : -len(".lock")])):
            os.unlink(path)


def _is_named(path: str, file: BinaryIO) -> bool:
    return os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(file.fileno()))
