"""Jobs of a job server that hang, and those that fail: what the command says, and when."""

import datetime as dt
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.runs.publishing import planned

from pipeline import scoring
from pipeline.errors import WorkersLostError
from pipeline.runners import watchdog
from pipeline.runners.presets import beam_options


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


OF_A_STEP = "Traceback ...\ntransforms.errors.FileGoneError: /out/plan.parquet: the plan of the run is not there"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("said", "silent"),
    [
        (f"stage-005 failed: {OF_A_STEP} [while running 'Read']\nsend on closed channel", True),
        ("panic in stage.Execute bundle processing goroutine: send on closed channel", False),
    ],
)
def test_where_a_step_failed_no_process_is_said_to_have_died(
    said: str, silent: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if silent:
        (tmp_path / "host-77.abc").write_bytes(b"")
    else:
        request.getfixturevalue("alive")
    with pytest.raises(RuntimeError, match="send on closed channel"):
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


@pytest.mark.usefixtures("impatient")
def test_one_that_stands_still_is_missed_where_only_one_has_work(tmp_path: Path) -> None:
    (tmp_path / "host-77.abc").write_bytes(b"")

    def begin_late() -> None:
        time.sleep(0.3)
        for number in range(40):
            (tmp_path / "host-78.abc").write_text(f"{number}\n")
            time.sleep(0.05)

    late = threading.Thread(target=begin_late)
    late.start()
    with pytest.raises(WorkersLostError, match=r"host-77 \(host-pid\).* not heard of"):
        watchdog.wait(Job("still waiting", after=3), str(tmp_path), 2, 300, lambda: 1)
    late.join()


@pytest.mark.usefixtures("impatient", "alive")
def test_a_process_without_work_need_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The thread that beats may be kept waiting.
    monkeypatch.setattr(watchdog, "SILENT_SECONDS", 30.0)
    with pytest.raises(RuntimeError, match="the end"):
        watchdog.wait(Job("the end", after=2), str(tmp_path), 2, 0.3, lambda: 1)
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
