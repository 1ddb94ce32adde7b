"""A contestant's side of a contest: a live process that answers each line of JSON with another. No imports of ours."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

CORES = "BENCH_CORES"

if os.environ.get(CORES):
    # Before any library counts the cores there are.
    os.sched_setaffinity(0, {int(core) for core in os.environ[CORES].split(",")})

Reply = dict[str, Any]


def serve(handlers: Mapping[str, Callable[..., Reply]]) -> None:
    """Answers until the input ends: {"do": name, **arguments} -> what the handler of that name returns."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever a library prints must not stand between two replies.
    os.dup2(2, 1)
    _reply(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            _reply(replies, handlers[request.pop("do")](**request))
        except Exception:
            _reply(replies, {"error": traceback.format_exc()})


def _reply(replies: Any, content: Reply) -> None:
    replies.write(json.dumps(content) + "\n")
    replies.flush()
