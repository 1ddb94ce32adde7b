"""A training on a terminal: a bar over the steps of an epoch, and what Ctrl-C asks."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from model.training.fine_tune import Progress as Epoch
from model.training.fine_tune import Step


class TrainingBar:
    """A bar over the steps of an epoch, with its number and the time that is left of it."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(),
            TextColumn("{task.fields[steps]}"),
            TimeRemainingColumn(),
            TextColumn("left of the epoch  {task.fields[best]}"),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("preparing rows", total=None, steps="", best="")
        self._epoch = 0

    @contextlib.contextmanager
    def drawn(self) -> Iterator[None]:
        """Draws until the end."""
        with self._progress:
            yield

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the terminal alone for a question."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def show(self, at: Step) -> None:
        """Draws a step."""
        if at.epoch != self._epoch:
            self._epoch = at.epoch
            self._progress.reset(self._task, total=at.steps)
        self._progress.update(
            self._task,
            completed=at.step,
            description=f"epoch {at.epoch} of at most {at.epochs}",
            steps=f"{at.step:,}/{at.steps:,} steps",
            best="" if at.done is None else best_told(at.done),
        )


def best_told(done: Epoch) -> str:
    """The best epoch so far."""
    return f"best so far: epoch {done.best_epoch}"


def _asked(question: str) -> str:
    """An answer of somebody who sees stderr: stdout may go to a file."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return input()


class Interrupts:
    """Ctrl-C of a training: the first one asks whether to keep the best epoch, a second one ends as everywhere."""

    def __init__(self, answer: Callable[[str], str] = _asked) -> None:
        self._answer = answer
        self._before: Any = None
        self.pending = False

    def __enter__(self) -> "Interrupts":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        """From now on the first Ctrl-C asks."""
        self._before = signal.signal(signal.SIGINT, self._note)

    def end(self) -> None:
        """From now on Ctrl-C does what it did before."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        self._before = None

    def _note(self, number: int, frame: Any) -> None:
        if self.pending and callable(self._before):
            self._before(number, frame)
        self.pending = True

    def ask(self, best: int | None) -> bool:
        """Whether to end with the best epoch; without one, or if the answer is no, ends as Ctrl-C does everywhere."""
        before = self._before
        self.end()
        self.pending = False
        if best is not None:
            with contextlib.suppress(EOFError):
                question = f"stop now, and make the bundle of the best epoch ({best})? [y/N] "
                if self._answer(question).strip().lower() in ("y", "yes"):
                    return True
        if callable(before):
            before(signal.SIGINT, None)
        raise KeyboardInterrupt
