"""Ends a job whose worker processes died or never began; a job server that does not notice would wait for ever.

The command listens to the heartbeats of the workers (transforms/runs/heartbeats.py). Clocks of two machines are never
compared: what counts is how long the listener has heard nothing new.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import ConfigError, WorkersLostError, is_ours
from transforms.runs.heartbeats import (
    HEARTBEAT_SECONDS,
    begin_listening,
    end_listening,
    hear,
    host_and_pid,
    publishes,
)

SILENT_SECONDS = 30.0
"""A process that is silent for so long is lost; loading a model, or a busy store, may delay a heartbeat by ten."""
START_SECONDS = 300.0
"""So long a cluster may take to start the first worker process, and then all others, unless START says otherwise."""
START = "BERT_BATCH_WORKER_START_SECONDS"
OFF = ("0", "off")
WAIT_LONGER = f"{START}=SECONDS waits longer, {START}=off for ever"
SHORT_SECONDS = 3 * HEARTBEAT_SECONDS
"""The same if it is known that a process died."""
DIED = "Channel closed prematurely"
"""What Beam's Python job server says if it notices that a worker died, which it does not between two Beam bundles."""
MAY_HAVE_DIED = ("SDK worker disconnected", "send on closed channel")
"""What Prism says then. It may go on to the next stage and fail there, also where a step had failed."""
POOL_CLOSED = "StatusCode.UNAVAILABLE"
NOT_BEGUN = (
    "does the job server reach the worker pool (--environment_config), "
    "is `python` there the one that has bert-batch, and does it see the output?"
)
CANCEL_SECONDS = 5.0
LOOK_SECONDS = 1.0
GAP_SECONDS = 5.0
"""The longest time between two looks that counts as silence: a listener that was stopped itself could hear nothing."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One process that was heard: when first and last, in seconds of listening, and its last heartbeat."""

    name: str
    first: float
    last: float
    heartbeat: str
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Heard:
    """All that was heard in `time` seconds of listening; workers in the order in which they began.

    `published` is when a process last said that it publishes the run.
    """

    time: float = 0.0
    published: float = 0.0
    workers: tuple[Worker, ...] = ()


def listen(heard: Heard, heartbeats: Mapping[str, str], elapsed: float) -> Heard:
    """What is known after one more look, `elapsed` seconds after the last one. A file that is gone is a normal end."""
    now = heard.time + min(elapsed, GAP_SECONDS)
    known = {worker.name for worker in heard.workers}
    old = [_again(worker, heartbeats.get(worker.name), now) for worker in heard.workers]
    begun = sorted(heartbeats.keys() - known)
    new = [Worker(name=name, first=now, last=now, heartbeat=heartbeats[name]) for name in begun]
    workers = (*old, *new)
    publishing = any(worker.last == now and publishes(worker.heartbeat) for worker in workers)
    return Heard(time=now, published=now if publishing else heard.published, workers=workers)


def _again(worker: Worker, heartbeat: str | None, now: float) -> Worker:
    if heartbeat is None:
        return replace(worker, ended=True)
    if heartbeat == worker.heartbeat:
        return worker
    return replace(worker, last=now, heartbeat=heartbeat, ended=False)


def silent(heard: Heard, limit: float) -> list[Worker]:
    """The processes that have not ended and that nothing was heard of for longer than `limit` seconds.

    While a process says that it publishes, no other need be heard: a runner may have ended them all. Their silence
    counts from its last word, so nobody is excused for ever.
    """
    return [
        worker
        for worker in heard.workers
        if not worker.ended and heard.time - max(worker.last, heard.published) > limit
    ]


def lost(heard: Heard, expected: int, limit: float) -> list[Worker]:
    """The processes that are silent for longer than `limit` and were not replaced by one that began later.

    The first `expected` processes that began replace no other: a job starts that many, though not all at once.
    """
    in_place = [worker.first for worker in heard.workers[expected:]]
    missing = []
    # Begins with the one that was heard last: the fewest processes began after it.
    for worker in sorted(silent(heard, limit), key=lambda worker: worker.last, reverse=True):
        later = [first for first in in_place if first > worker.last]
        if later:
            in_place.remove(max(later))
        else:
            missing.append(worker)
    # Of one that died while it published the job waits; a runner may have ended the others.
    return [worker for worker in missing[::-1] if publishes(worker.heartbeat)] or missing[::-1]


def start_seconds(environment: Mapping[str, str]) -> float | None:
    """How long worker processes may take to begin; None if the watchdog is off. Raises ConfigError."""
    given = environment.get(START, "").strip().lower()
    if given in OFF:
        return None
    try:
        seconds = float(given or START_SECONDS)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigError(f"{START}={given!r}: is neither seconds, as 1800, nor `off`")
    return seconds


def problem(heard: Heard, expected: int, start: float, needed: int | None = None) -> str | None:
    """Why waiting is of no use any more, as a sentence; None while it is.

    The first process may take `start` seconds to begin, and all `needed` as long after it, or after publishing. These
    are all of the `expected` unless fewer have work.
    """
    if not heard.workers:
        late = heard.time > start
        return f"no worker process has begun within {start:.0f} s; {NOT_BEGUN} {WAIT_LONGER}" if late else None
    if missing := lost(heard, expected, SILENT_SECONDS):
        silence = heard.time - missing[0].last
        return (
            f"worker process {_names(missing)} was not heard of for {silence:.0f} s and none took its place "
            f"(of a runner that ends idle processes itself, {START}=off waits for ever)"
        )
    # A process that stopped before its first heartbeat is never heard, and its work never ends.
    late = heard.time - max(heard.workers[0].first, heard.published) > start
    needed = expected if needed is None else needed
    if late and (begun := len(heard.workers)) < needed:
        return (
            f"only {begun} of {needed} worker processes have begun within {start:.0f} s of the first; "
            f"does the runner start as many as --workers says, and do all see the output? {WAIT_LONGER}"
        )
    return None


@contextmanager
def listening(folder: str) -> Iterator[None]:
    """Worker processes may have their heartbeats in `folder` meanwhile."""
    begin_listening(folder)
    try:
        yield
    finally:
        with suppress(Exception):  # Files that stay are harmless; an error must not hide how the job ended.
            end_listening(folder)


def wait(result: Any, folder: str, workers: int, start: float | None, with_work: Callable[[], int]) -> None:
    """Waits for the job of a Beam PipelineResult, and raises what waiting raises.

    Of its `workers` processes a runner may start only those `with_work`, which is asked before a job is given up.

    If the job will never end (see `problem`), tries to cancel it and raises WorkersLostError; never if `start` is None.
    """
    waiting, ear, needed = _Call(result.wait_until_finish), _Ear(folder), workers
    while not waiting.ended(LOOK_SECONDS):
        ear.listen()
        if start is not None and problem(ear.heard, workers, start, needed):
            needed = with_work()
        if start is not None and (why := problem(ear.heard, workers, start, needed)):
            # Here too a job server may wait for the lost process.
            _Call(result.cancel).ended(CANCEL_SECONDS)
            # Beam's Python job server only forgets the job: a process that wakes up continues it.
            raise WorkersLostError(f"{why}; the job server was asked to cancel the job, which may still publish")
    if waiting.error is not None:
        told = _told(waiting.error, ear, workers)
        if told is None:
            raise waiting.error
        raise told from waiting.error


def _told(error: BaseException, ear: "_Ear", expected: int) -> Exception | None:
    """What to say about an error of the job server; None if its own message is clear."""
    import grpc

    if isinstance(error, grpc.RpcError):
        return ConnectionError("the job server does not answer any more; its job may still publish")
    if not ear.heard.workers and POOL_CLOSED in str(error):
        return WorkersLostError(f"no worker process has begun; {NOT_BEGUN}")
    if is_ours(error) or not any(phrase in str(error) for phrase in (DIED, *MAY_HAVE_DIED)):
        return None
    # The job server knows that a process died, but not which: the silent one.
    until = time.monotonic() + SHORT_SECONDS + 2 * LOOK_SECONDS
    while time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        ear.listen()
    names = _names(lost(ear.heard, expected, SHORT_SECONDS))
    if not names and DIED not in str(error):
        return None
    return WorkersLostError(f"worker process {names or 'of the job'} died: the job server lost its channel")


class _Ear:
    """Listens to the heartbeats in a folder."""

    def __init__(self, folder: str) -> None:
        self._folder, self._before = folder, time.monotonic()
        self.heard = Heard()

    def listen(self) -> None:
        try:
            heartbeats = hear(self._folder)
            now = time.monotonic()
            self.heard, self._before = listen(self.heard, heartbeats, now - self._before), now
        except Exception:  # The store failed for a moment; the time until the next look does not count.
            self._before = time.monotonic()


def _names(workers: Iterable[Worker]) -> str:
    return ", ".join(f"{host_and_pid(worker.name)} (host-pid)" for worker in workers)


class _Call:
    """A call in a thread of its own, which need not be waited for."""

    def __init__(self, act: Any) -> None:
        self._act = act
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._act()
        except BaseException as error:
            self.error = error

    def ended(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()
