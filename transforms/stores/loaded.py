"""What a process has loaded from bundles: a second pipeline of the same process does not load it again.

A graph takes seconds to load and to compile, and the same fingerprint is the same graph. Only the newest few are kept:
a process that scores with one bundle after the other must not hold all of them.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
KEPT = 4
"""Graphs at most; a bundle has two, one of preprocessing and one of scoring."""
_loaded: OrderedDict[tuple[str, str], Any] = OrderedDict()
_lock = threading.RLock()


def once_a_process(what: str, fingerprint: str, load: Callable[[], T]) -> T:
    """`load()`, or what it gave when this process last asked for `what` of the bundle with this fingerprint.

    Threads that ask at once wait for the first one. What `load` gives must not change: pipelines share it.
    """
    key = what, fingerprint
    with _lock:
        if key not in _loaded:
            while len(_loaded) >= KEPT:  # First: one more at a time could be too many for the memory.
                _loaded.popitem(last=False)
            _loaded[key] = load()
        _loaded.move_to_end(key)
        found: T = _loaded[key]
        return found
