"""Waiting for a lock file: the user is told soon, and no command waits for ever.

Anybody who may read a lock file can hold its lock, without the right to write anything.
"""

import fcntl
import logging
import time
from collections.abc import Callable
from typing import IO, Any

from transforms.errors import LockedError

LOCK_SECONDS = 60.0
TOLD_AFTER_SECONDS = 0.5
_LONGEST_PAUSE = 0.1


def wait_for_lock(
    lock: IO[Any] | int, path: str, seconds: float = LOCK_SECONDS, works: Callable[[], object] = lambda: None
) -> None:
    """Takes the lock of the open lock file at `path`; raises LockedError if it is not free within so many seconds.

    The seconds begin anew whenever `works` gives something else: whoever holds the lock is at work then.
    """
    start, pause, told = time.monotonic(), 0.001, False
    seen = works()
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waited = time.monotonic() - start
        if waited >= seconds and (now := works()) != seen:
            start, waited, seen = time.monotonic(), 0.0, now
        if waited >= seconds:
            raise LockedError(
                f"{path}: another process has held this lock for {seconds:g} s; end it (`fuser -v` with this path "
                "names it), then run the same command again"
            )
        if not told and waited >= TOLD_AFTER_SECONDS:
            told = True
            message = "%s: another process holds this lock; waiting for it, for %.0f s at most"
            logging.getLogger(__name__).error(message, path, seconds)
        time.sleep(min(pause, seconds - waited))
        pause = min(2 * pause, _LONGEST_PAUSE)
