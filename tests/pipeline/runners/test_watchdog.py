"""When the command gives a worker process up, as pure functions of what was heard; and the heartbeats themselves."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import ROOT
from support.runs.forked import Forked
from support.runs.publishing import ready

from pipeline.errors import ConfigError, WorkersLostError
from pipeline.runners import watchdog
from pipeline.runners.watchdog import GAP_SECONDS, START, Heard, listen, lost, problem, start_seconds
from transforms.publish.step import judge_and_publish
from transforms.runs import heartbeats

LIMIT = 10.0
steps = st.floats(0.1, GAP_SECONDS)


def hear(*looks: dict[str, str], elapsed: float = 1.0) -> Heard:
    heard = Heard()
    for look in looks:
        heard = listen(heard, look, elapsed)
    return heard


def names(heard: Heard, expected: int = 2) -> list[str]:
    return [worker.name for worker in lost(heard, expected, LIMIT)]


@given(st.lists(steps, min_size=1, max_size=60), st.integers(1, 3))
def test_processes_with_a_heartbeat_are_never_given_up(elapsed: list[float], period: int) -> None:
    heard = Heard()
    for number, seconds in enumerate(elapsed):
        # A new heartbeat at least every second look, which is 10 s at most.
        heard = listen(heard, {"a": str(number // min(period, 2)), "b": str(number)}, seconds)
        assert names(heard) == []


@given(st.lists(steps, min_size=1, max_size=20), st.lists(steps, min_size=1, max_size=60))
def test_one_that_falls_silent_is_given_up_as_soon_as_the_limit_has_passed(
    while_alive: list[float], silent: list[float]
) -> None:
    heard = Heard()
    for number, seconds in enumerate(while_alive):
        heard = listen(heard, {"a": str(number), "b": str(number)}, seconds)
    passed = 0.0
    for number, seconds in enumerate(silent):
        heard = listen(heard, {"a": str(len(while_alive) - 1), "b": f"more {number}"}, seconds)
        passed += seconds
        if abs(passed - LIMIT) > 1e-6:
            assert names(heard) == (["a"] if passed > LIMIT else [])


@given(st.floats(0, 1e9))
def test_a_listener_that_slept_has_heard_nobody_and_gives_nobody_up(gap: float) -> None:
    heard = listen(hear({"a": "1"}), {"a": "1"}, gap)
    assert names(heard, expected=1) == []


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 5))
def test_each_process_that_began_since_takes_the_place_of_one(workers: int, died: int, new: int) -> None:
    died = min(died, workers)
    everyone = {f"old-{i}": "1" for i in range(workers)}
    heard = hear(everyone)
    for number in range(15):
        alive = {name: str(number) for name in [*everyone][died:]} | {f"new-{i}": str(number) for i in range(new)}
        heard = listen(heard, {**everyone, **alive}, 1.0)
    assert len(names(heard, expected=workers)) == max(0, died - new)


def test_a_process_that_began_late_takes_the_place_of_none_if_the_job_has_so_many() -> None:
    looks = [{"a": "1"}, {"a": "1", "b": "1"}, *({"a": "1", "b": str(i)} for i in range(12))]
    assert names(hear(*looks), expected=2) == ["a"]
    assert names(hear(*looks), expected=1) == []


def test_one_that_was_there_before_takes_no_place() -> None:
    looks = [{"a": "1", "b": "1", "c": "1"}, *({"a": "2", "b": str(i), "c": str(i)} for i in range(13))]
    assert names(hear(*looks), expected=1) == ["a"]


def test_a_heartbeat_that_is_gone_is_a_normal_end() -> None:
    heard = hear({"a": "1", "b": "1"}, *({"b": str(i)} for i in range(40)))
    assert names(heard) == []
    # A last heartbeat that crossed with the end is no new life.
    assert names(hear({"a": "1"}, {}, {"a": "2"}, {})) == []


def test_a_job_of_which_no_process_begins_is_given_up() -> None:
    looks = [dict[str, str]()] * 60
    assert problem(hear(*looks, elapsed=GAP_SECONDS), 1, 300) is None
    why = str(problem(hear(*looks, {}, elapsed=GAP_SECONDS), 1, 300))
    assert "no worker process has begun within 300 s" in why
    assert f"{START}=SECONDS waits longer, {START}=off for ever" in why
    assert problem(hear(*looks, {}, elapsed=GAP_SECONDS), 1, 306) is None


@given(st.integers(0, 40), st.integers(1, 4), st.integers(1, 6), st.integers(1, 30), st.integers(1, 60))
def test_a_process_that_never_had_a_heartbeat_is_given_up_that_long_after_the_first(
    before: int, begun: int, expected: int, start: int, after: int
) -> None:
    alive = [{f"w-{i}": str(number) for i in range(begun)} for number in range(after + 1)]
    why = problem(hear(*([dict[str, str]()] * before), *alive), expected, start)
    assert (why is not None) == (begun < expected and after > start)
    if why is not None:
        assert why.startswith(f"only {begun} of {expected} worker processes have begun within {start} s of the first")
        assert f"{START}=off" in why


def test_processes_that_began_and_ended_count_as_begun() -> None:
    assert problem(hear({"a": "1"}, {}, *({"b": str(i)} for i in range(20))), 2, 10) is None


def test_a_lost_process_is_told_with_the_way_out() -> None:
    why = str(problem(hear({"node-7.abc": "1"}, *([{"node-7.abc": "1"}] * 31)), 1, 300))
    assert "worker process node-7 (host-pid) was not heard of for 31 s" in why
    assert f"{START}=off" in why


@pytest.mark.parametrize(
    ("value", "seconds"), [("", 300), (" 1800 ", 1800), ("0.5", 0.5), ("0", None), ("off", None), ("OFF", None)]
)
def test_how_long_processes_may_take_to_begin_is_an_environment_variable(value: str, seconds: float | None) -> None:
    assert start_seconds({START: value}) == seconds
    assert start_seconds({}) == 300


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "5m", "false"])
def test_a_time_to_begin_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=rf"{START}='{value}'.*`off`"):
        start_seconds({START: value})


class Job:
    """A job that ends never, or with an error, and whose cancellation hangs."""

    def __init__(self, error: str = "", after: float = 0.0) -> None:
        self._error, self._after = error, after

    def wait_until_finish(self) -> None:
        if self._error:
            time.sleep(self._after)
            raise RuntimeError(self._error)
        time.sleep(3600)

    def cancel(self) -> None:
        time.sleep(3600)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"SILENT_SECONDS": 0.5, "CANCEL_SECONDS": 0.1, "LOOK_SECONDS": 0.05}
    for name, value in {**short, "SHORT_SECONDS": 0.2}.items():
        monkeypatch.setattr(watchdog, name, value)


@pytest.mark.usefixtures("impatient")
def test_a_job_that_cannot_even_be_cancelled_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(
        WorkersLostError, match=r"no worker process has begun .* was asked to cancel .* may still publish"
    ):
        watchdog.wait(Job(), str(tmp_path), 1, 0.3)
    (tmp_path / "host-77.abc").write_bytes(b"")
    with pytest.raises(WorkersLostError, match=r"worker process host-77 \(host-pid\) was not heard of"):
        watchdog.wait(Job(), str(tmp_path), 1, 0.3)


@pytest.mark.usefixtures("impatient")
def test_a_watchdog_that_is_off_gives_no_job_up(tmp_path: Path) -> None:
    (tmp_path / "host-77.abc").write_bytes(b"")
    with pytest.raises(RuntimeError, match="a step failed"):
        watchdog.wait(Job("a step failed", after=1.5), str(tmp_path), 2, None)


@pytest.mark.usefixtures("impatient")
def test_what_a_job_says_itself_is_told_and_a_process_that_died_is_named(tmp_path: Path) -> None:
    (tmp_path / "host-77.abc").write_bytes(b"")
    with pytest.raises(RuntimeError, match="a step failed"):
        watchdog.wait(Job("a step failed"), str(tmp_path), 1, 300)
    with pytest.raises(WorkersLostError, match=r"host-77 \(host-pid\) died"):
        watchdog.wait(Job("Traceback ...\nRuntimeError: Channel closed prematurely."), str(tmp_path), 1, 300)


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


def test_a_process_that_publishes_has_a_heartbeat(tmp_path: Path) -> None:
    folder = str(tmp_path / "beats")
    heartbeats.begin_listening(folder)
    judge_and_publish(ready(str(tmp_path / "out")), [], [], [], [], heartbeats=folder)
    assert until(10, lambda: heartbeats.hear(folder))
    heartbeats.end_listening(folder)
