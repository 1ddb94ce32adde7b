"""The heartbeat of a worker process: while it lives, and whether it publishes."""

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.commands import ROOT
from support.runs.forked import Forked
from support.runs.publishing import ready

from transforms.errors import PublishError
from transforms.publish.step import judge_and_publish
from transforms.runs import heartbeats
from transforms.runs.verdict_record import Verdict
from transforms.runs.verdicts import read_verdict

BEATING = (
    "import sys; from transforms.runs.heartbeats import start_heartbeat as start; "
    "start(sys.argv[1]); start(sys.argv[1]); sys.stdin.read()"
)


def beating(folder: Path) -> Forked:
    return Forked([sys.executable, "-c", BEATING, str(folder)], cwd=ROOT, stdin=subprocess.PIPE)


def threads(process: Forked) -> int:
    return len(list(Path(f"/proc/{process.pid}/task").iterdir()))


def until(seconds: float, holds: object) -> bool:
    deadline = time.monotonic() + seconds
    while not (true := holds()) and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.02)
    return bool(true)


@pytest.mark.slow
def test_a_process_has_a_heartbeat_until_it_ends(tmp_path: Path) -> None:
    heartbeats.begin_listening(str(tmp_path / "beats"))
    with beating(tmp_path / "beats") as process:
        assert until(10, lambda: heartbeats.hear(str(tmp_path / "beats")))
        ((name, first),) = heartbeats.hear(str(tmp_path / "beats")).items()
        assert heartbeats.host_and_pid(name).endswith(f"-{process.pid}")
        assert until(10, lambda: heartbeats.hear(str(tmp_path / "beats")).get(name, first) != first)
        process.communicate(b"")
    assert (process.returncode, heartbeats.hear(str(tmp_path / "beats"))) == (0, {})


@pytest.mark.slow
def test_a_process_stops_when_nobody_listens_any_more_and_leaves_nothing(tmp_path: Path) -> None:
    heartbeats.begin_listening(str(tmp_path / "beats"))
    with beating(tmp_path / "beats") as process:
        assert until(10, lambda: heartbeats.hear(str(tmp_path / "beats")))
        before = threads(process)
        heartbeats.end_listening(str(tmp_path / "beats"))
        assert until(10, lambda: threads(process) < before and not (tmp_path / "beats").exists())
        process.communicate(b"")
    assert not (tmp_path / "beats").exists()


@pytest.mark.slow
def test_no_process_has_a_heartbeat_where_nobody_listens(tmp_path: Path) -> None:
    with beating(tmp_path / "beats") as process:
        process.communicate(b"")
    assert (process.returncode, list(tmp_path.iterdir())) == (0, [])


def test_what_a_file_holds_is_a_heartbeat_whatever_its_times_say(tmp_path: Path) -> None:
    folder = str(tmp_path)
    (tmp_path / "host-77.abc").write_bytes(b"1\n")
    first = heartbeats.hear(folder)
    os.utime(tmp_path / "host-77.abc", ns=(1, 1))
    assert heartbeats.hear(folder) == first
    (tmp_path / "host-77.abc").write_bytes(b"2\n")
    os.utime(tmp_path / "host-77.abc", ns=(1, 1))
    assert heartbeats.hear(folder) != first


def test_two_processes_of_the_same_host_and_number_have_two_files() -> None:
    names = [heartbeats._new_name() for _ in range(2)]
    assert names[0] != names[1]
    assert heartbeats.host_and_pid(names[0]) == heartbeats.host_and_pid(names[1])


@pytest.mark.parametrize("error", [None, PublishError("the table cannot be loaded")])
def test_a_process_says_that_it_publishes_while_it_does_and_no_longer(
    error: PublishError | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, run = str(tmp_path / "beats"), ready(str(tmp_path / "out"))

    def says(*expected: bool) -> bool:
        """Whether the only process soon says whether it publishes."""
        heard = lambda: [heartbeats.publishes(text) for text in heartbeats.hear(folder).values()]  # noqa: E731
        return until(10, lambda: heard() == [*expected])

    def publish(*_: object) -> Verdict | None:
        assert says(True)
        if error is not None:
            raise error
        return read_verdict(run.verdict)

    monkeypatch.setattr(heartbeats, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr("transforms.publish.step.publish_judged", publish)
    heartbeats.begin_listening(folder)
    # A runner may begin the whole job anew in the process that published, or failed to.
    for _ in range(2):
        with nullcontext() if error is None else pytest.raises(PublishError):
            judge_and_publish(run, [], [], [], [], heartbeats=folder)
        assert says(False)
    heartbeats.end_listening(folder)
