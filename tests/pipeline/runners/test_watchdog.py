"""When the command gives a worker process up: as pure functions of what was heard, and with jobs that hang."""

import datetime as dt
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs.publishing import planned

from pipeline import scoring
from pipeline.errors import ConfigError, WorkersLostError
from pipeline.runners import watchdog
from pipeline.runners.presets import beam_options
from pipeline.runners.watchdog import GAP_SECONDS, START, Heard, listen, lost, problem, start_seconds
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


PUBLISHING = f"{{}} {heartbeats.PUBLISHES}\n"
RUNNING = {"a": "1\n", "b": "1\n"}


def looks_while_publishing(*alive: str, seconds: int = 60, begun: int = 1) -> list[dict[str, str]]:
    """Looks at the files of `a` and `b`, of which only those that are alive are rewritten, as they publish."""
    looks = range(begun, begun + seconds)
    return [{**RUNNING, **{name: PUBLISHING.format(number) for name in alive}} for number in looks]


@pytest.mark.parametrize("expected", [1, 2, 3])
def test_while_the_run_is_published_no_other_process_is_missed(expected: int) -> None:
    assert problem(hear(RUNNING, *looks_while_publishing("b")), expected, 20) is None
    # The one that published has ended, and the job has not: its file is gone, that of the other stayed.
    assert problem(hear(RUNNING, *looks_while_publishing("b"), *([{"a": "1\n"}] * 40)), expected, 20) is None
    # Another takes over what a process did that stopped long ago.
    assert problem(hear(RUNNING, *looks_while_publishing("b"), *looks_while_publishing("a")), expected, 20) is None


def test_a_process_that_dies_while_it_publishes_is_told_alone() -> None:
    published = looks_while_publishing("b", seconds=40)
    assert names(hear(RUNNING, *published, *(published[-1:] * 11))) == ["b"]
    assert "not heard of for 31 s" in str(problem(hear(RUNNING, *published, *(published[-1:] * 31)), 2, 300))


def test_of_two_processes_that_publish_the_last_that_began_to_is_waited_for() -> None:
    # The runner has given `b` up, which lives on; then `a` dies.
    both = looks_while_publishing("a", "b", seconds=5, begun=20)
    alone = [{**look, "a": both[-1]["a"]} for look in looks_while_publishing("b", seconds=20, begun=25)]
    assert names(hear(RUNNING, *looks_while_publishing("b", seconds=5), *both, *alone)) == ["a"]


def test_work_that_began_anew_after_the_publisher_died_is_watched_as_ever() -> None:
    published = looks_while_publishing("b", seconds=40)
    again = [{**published[-1], "c": f"{number}\n", "d": f"{number}\n"} for number in range(20)]
    assert names(hear(RUNNING, *published, *again)) == []
    dead = [{**published[-1], "c": f"{number}\n", "d": "19\n"} for number in range(20, 40)]
    assert names(hear(RUNNING, *published, *again, *dead)) != []
    # In the same process, which says so itself.
    anew = [{"a": "1\n", "b": f"{number}\n"} for number in range(41, 80)]
    assert names(hear(RUNNING, *published, *anew)) == ["a"]


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


def both() -> int:
    """Processes that have work."""
    return 2


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
        watchdog.wait(Job(), str(tmp_path), 1, 0.3, both)
    (tmp_path / "host-77.abc").write_bytes(b"")
    with pytest.raises(WorkersLostError, match=r"worker process host-77 \(host-pid\) was not heard of"):
        watchdog.wait(Job(), str(tmp_path), 1, 0.3, both)


@pytest.mark.usefixtures("impatient")
def test_a_watchdog_that_is_off_gives_no_job_up(tmp_path: Path) -> None:
    (tmp_path / "host-77.abc").write_bytes(b"")
    with pytest.raises(RuntimeError, match="a step failed"):
        watchdog.wait(Job("a step failed", after=1.5), str(tmp_path), 2, None, both)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "said",
    [
        "Traceback ...\nRuntimeError: Channel closed prematurely.",
        "bundle inst006 stage-005 failed:SDK worker disconnected: worker[job-001[job]], 2 active instructions",
        "panic in stage.Execute bundle processing goroutine: send on closed channel, stage: &{ID:stage-009",
    ],
)
def test_what_a_job_says_itself_is_told_and_a_process_that_died_is_named(said: str, tmp_path: Path) -> None:
    (tmp_path / "host-77.abc").write_bytes(b"")
    with pytest.raises(RuntimeError, match="a step failed"):
        watchdog.wait(Job("a step failed"), str(tmp_path), 1, 300, both)
    with pytest.raises(WorkersLostError, match=r"host-77 \(host-pid\) died"):
        watchdog.wait(Job(said), str(tmp_path), 1, 300, both)


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[None]:
    """One process has a heartbeat meanwhile."""
    over = threading.Event()

    def beat() -> None:
        for number in itertools.count():
            (tmp_path / "host-77.abc").write_text(f"{number}\n")
            if over.wait(0.05):
                return

    thread = threading.Thread(target=beat)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("impatient", "alive")
def test_a_process_without_work_need_not_begin(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the end"):
        watchdog.wait(Job("the end", after=2), str(tmp_path), 2, 0.3, lambda: 1)
    with pytest.raises(RuntimeError, match="the end"):
        watchdog.wait(Job("the end", after=2), str(tmp_path), 1, 0.3, lambda: 0)
    with pytest.raises(WorkersLostError, match=r"only 1 of 2 worker processes have begun"):
        watchdog.wait(Job("the end", after=2), str(tmp_path), 2, 0.3, both)


@pytest.mark.parametrize(("rows", "with_work"), [(2, 1), (5, 2), (None, 2)])
def test_a_job_of_one_split_has_work_for_one_process(
    rows: int | None, with_work: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(str(tmp_path), rows=rows or 5)
    if rows is None:
        # As the streams of a table, before its session is made.
        Path(run.plan).unlink()
    asked: list[int] = []
    monkeypatch.setattr(scoring, "start", lambda *_: Job())
    monkeypatch.setattr(scoring, "wait", lambda *given: asked.append(given[-1]()))
    prepared: Any = SimpleNamespace(job=SimpleNamespace(runner="portable"), run=run)
    options = beam_options("portable", 2, ["--job_endpoint=localhost:1"])
    scoring._run(prepared, options, dt.datetime.now(dt.UTC), 300)
    assert asked == [with_work]
