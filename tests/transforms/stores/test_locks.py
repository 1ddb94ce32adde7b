"""A lock that somebody else holds: said soon, and given up after a while."""

import fcntl
import logging
import os
import time
from pathlib import Path

import pytest

import transforms
from pipeline.errors import cause
from pipeline.runners.silence import quiet_stderr
from pipeline.terminal.quiet import steps_are_heard
from transforms.errors import LockedError
from transforms.stores.local import LocalStore
from transforms.stores.locks import LOCK_SECONDS


def test_a_lock_that_a_reader_holds_is_told_and_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, path, lock = LocalStore(lock_seconds=0.8), str(tmp_path / "manifest"), tmp_path / ".manifest.lock"
    assert store.swap(path, None, b"old")
    # Whoever may read can hold it.
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        start = time.monotonic()
        with pytest.raises(LockedError, match=r"has held this lock for 0\.8 s") as caught:
            store.swap(path, b"old", b"new")
        assert 0.8 <= time.monotonic() - start < 10
    assert cause(caught.value).startswith(f"LockedError: {lock}: another process has held")
    assert [record.getMessage() for record in caplog.records] == [
        f"{lock}: another process holds this lock; waiting for it, for 1 s at most"
    ]
    assert store.read(path) == b"old"
    assert store.swap(path, b"old", b"new")
    assert len(caplog.records) == 1


def test_what_the_steps_log_is_seen_while_stderr_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    from apache_beam.portability.api import beam_fn_api_pb2

    def of_a_worker(message: str, place: str) -> str:
        return str(beam_fn_api_pb2.LogEntry(severity=5, message=message, log_location=place))

    root = logging.getLogger()
    with steps_are_heard(), quiet_stderr():
        logging.getLogger("transforms.stores.locks").error("%s: is held", "/a\nb")
        root.error(of_a_worker('"x": is hélas held', f"{os.path.dirname(transforms.__file__)}/stores/locks.py:3"))
        root.error(of_a_worker("a text of somebody", "/a/apache_beam/runners/worker.py:3"))
        root.error(of_a_worker("a text of somebody", "/a/apache_beam/transforms/core.py:3"))
        root.error(of_a_worker("a text of somebody", "/transforms/venv/apache_beam/runners/worker.py:3"))
        logging.getLogger("somebody").error("a text of somebody")
    assert capfd.readouterr().err == 'warning: /a\\nb: is held\nwarning: "x": is hélas held\n'


def test_a_lock_is_given_up_after_a_minute_unless_one_says_otherwise() -> None:
    assert LocalStore()._lock_seconds == LOCK_SECONDS == 60
