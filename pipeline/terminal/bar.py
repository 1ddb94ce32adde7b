"""The progress bar of a local run: a line for each step (looking, the id pass, scoring, publishing)."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from transforms.runs.progress import IDS, PUBLISH, ROWS, Told

if TYPE_CHECKING:
    from pipeline.preparing import Prepared

LOOK = -1
STEPS = {LOOK: "looking at the input", IDS: "looking at ids", ROWS: "scoring", PUBLISH: "publishing"}
POLL_SECONDS = 0.5


class Steps:
    """Which step a run is at and how many of its rows are done, by the reports of its workers.

    `rows` is the plan's number, `exact` or estimated; `before` the rows that an earlier attempt has finished. `first`
    is the step that the run begins with: the id pass, scoring, or, where only this is left, publishing.
    """

    def __init__(self, path: str, *, rows: int, exact: bool, before: int = 0, first: int = ROWS) -> None:
        self._told, self._rows, self._before, self._first = Told(path), rows, before, first
        self.exact = exact

    def look(self) -> tuple[int, int, int]:
        """The step, how many of its rows are done, and of how many (0 if that is not known)."""
        told = self._told.look()
        ids_are_through = told[ROWS] or (self.exact and told[IDS] >= self._rows)
        step = PUBLISH if told[PUBLISH] else ROWS if self._first == IDS and ids_are_through else self._first
        done = told[IDS] if step == IDS else self._before + told[ROWS]
        if step == PUBLISH:
            return step, done, done
        # An estimate may be too low; a total below the rows that are done is never shown.
        return step, done, max(self._rows, done) if self._rows or not self.exact else 0


def steps_of(prepared: "Prepared", path: str) -> Steps:
    """The steps of a run that is prepared; its workers report in the file `path` how far they are."""
    plan, resumed = prepared.plan, prepared.resumed
    before = 0 if resumed is None else sum(count.rows for count in resumed.taken.read)
    has_id_pass = prepared.earlier is not None or (plan.columns.id is not None and not prepared.job.trust_ids)
    first = PUBLISH if resumed is not None and resumed.passed else IDS if has_id_pass else ROWS
    return Steps(path, rows=plan.rows, exact=plan.exact, before=before, first=first)


class Bar:
    """Lines on a terminal, one for each step that was reached."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(),
            TextColumn("{task.fields[rows]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._step, self._task, self._began, self._start = LOOK, TaskID(0), 0.0, 0

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draws until the end; a run that ends before its first step leaves nothing on the terminal."""
        with self._progress:
            self._begin(LOOK, 0)
            try:
                yield
            finally:
                if self._step == LOOK:
                    self._progress.remove_task(self._task)

    @contextmanager
    def following(self, steps: Steps) -> Iterator[None]:
        """Shows where the run is, twice a second."""
        stop = threading.Event()

        def poll() -> None:
            while not stop.wait(POLL_SECONDS):
                self.show(steps)

        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.show(steps)

    def show(self, steps: Steps) -> None:
        """Draws what the workers have reported so far."""
        step, done, total = steps.look()
        if step != self._step:
            self._end()
            self._begin(step, done)
        if step == PUBLISH:
            return
        self._progress.update(
            self._task,
            completed=done,
            total=total or None,
            rows=f"{done:,}/{'' if steps.exact else '~'}{total:,} rows" if total else f"{done:,} rows",
            rate=f"{(done - self._start) / max(0.1, time.monotonic() - self._began):,.0f} texts/s  left",
        )

    def _begin(self, step: int, done: int) -> None:
        self._step, self._began, self._start = step, time.monotonic(), done
        self._task = self._progress.add_task(STEPS[step], total=None, rows="", rate="")

    def _end(self) -> None:
        """The step is done: its line says so, and stays."""
        done = self._progress.tasks[-1].completed or 1
        rows = f"{done:,.0f} rows" if self._step in (IDS, ROWS) else ""
        self._progress.update(self._task, total=done, completed=done, rows=rows, rate="")
