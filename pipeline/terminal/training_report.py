"""What a training prints while it goes: its rows, a line for each epoch, a bar on a terminal; and what Ctrl-C asks."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from model.training.fine_tune import Progress as Epoch
from model.training.fine_tune import Step, TrainingResult
from model.training.schedule import ASKED, CAP
from pipeline.bundling.labelled_rows import RARE_ROWS, flag_of
from pipeline.bundling.telling import RowsFound, Teller
from pipeline.errors import ConfigError
from pipeline.terminal.console import PROGRESS_SECONDS, emit, err

_SHOWN = 5
"""Classes named in a line; training/history.json of the bundle has all."""


def teller_for(log_format: str) -> "contextlib.AbstractContextManager[Teller]":
    """How a training tells what happens, for `--log-format`; raises ConfigError for an unknown one."""
    if log_format not in ("text", "json"):
        raise ConfigError(f"--log-format {log_format!r} is unknown; use text or json")
    return contextlib.nullcontext(JsonTraining()) if log_format == "json" else _on_console(err)


@contextlib.contextmanager
def _on_console(console: Console) -> Iterator[Teller]:
    bar = TrainingBar(console) if console.is_terminal else None
    asking = bar is not None and sys.stdin is not None and sys.stdin.isatty()
    with (
        bar.drawn() if bar else contextlib.nullcontext(),
        Interrupts() if asking else contextlib.nullcontext() as asked,
    ):
        yield TextTraining(console, bar, asked)


class TextTraining:
    """Lines for people. `bar` is there on a terminal, `interrupts` where somebody can be asked."""

    def __init__(self, console: Console, bar: "TrainingBar | None" = None, interrupts: "Interrupts | None" = None):
        self._console, self._bar, self._interrupts = console, bar, interrupts
        self._began = time.monotonic()

    def found(self, rows: RowsFound) -> None:
        """Rows, what was dropped, and classes."""
        for line in rows_told(rows):
            self._console.print(line)
        self._began = time.monotonic()
        if self._interrupts is not None:
            self._interrupts.begin()

    def step(self, at: Step) -> bool:
        """Moves the bar; asks once after Ctrl-C whether the best epoch shall be kept."""
        if self._bar:
            self._bar.show(at)
        if self._interrupts is None or not self._interrupts.pending:
            return False
        with self._bar.paused() if self._bar else contextlib.nullcontext():
            return self._interrupts.ask(None if at.done is None else at.done.best_epoch)

    def epoch(self, at: Epoch) -> None:
        """One line."""
        seconds, self._began = time.monotonic() - self._began, time.monotonic()
        metrics = "  ".join(f"{name} {value:.4f}" for name, value in at.metrics.items() if name != "loss")
        best = "  best" if at.best_epoch == at.epoch else ""
        self._console.print(
            f"epoch {at.epoch} of at most {at.epochs}  training loss {at.loss:.4f}  validation loss "
            f"{at.metrics['loss']:.4f}  {metrics}  learning rate {at.learning_rate:.1e}  {seconds:.0f} s{best}"
        )

    def ended(self, result: TrainingResult) -> None:
        """Why it ended."""
        if self._interrupts is not None:
            if self._interrupts.pending:
                with self._bar.paused() if self._bar else contextlib.nullcontext():
                    self._interrupts.ask(result.best_epoch)
            self._interrupts.end()
        self._console.print(end_told(result))


class JsonTraining:
    """One JSON object a line for machines."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()

    def found(self, rows: RowsFound) -> None:
        classes = rows.classes
        emit(
            "training",
            rows=dict(rows.rows),
            dropped={part: dict(codes) for part, codes in rows.dropped.items()},
            classes=None if classes is None else dict(classes.rows),
            rare_classes=None if classes is None else classes.rare,
            rows_without_label=None if classes is None else classes.without,
            learning_rate=rows.learning_rate,
            notes=list(rows.notes),
        )
        self._began = self._told = time.monotonic()

    def step(self, at: Step) -> bool:
        if (now := time.monotonic()) - self._told >= PROGRESS_SECONDS:
            self._told = now
            left = (now - self._began) / at.step * (at.steps - at.step)
            emit("training_progress", epoch=at.epoch, step=at.step, steps=at.steps, seconds_left=round(left))
        return False

    def epoch(self, at: Epoch) -> None:
        now = time.monotonic()
        emit(
            "epoch",
            epoch=at.epoch,
            epochs=at.epochs,
            loss=at.loss,
            validation=at.metrics,
            learning_rate=at.learning_rate,
            best_epoch=at.best_epoch,
            seconds=round(now - self._began, 1),
        )
        self._began = self._told = now

    def ended(self, result: TrainingResult) -> None:
        emit("trained", ended=result.ended, best_epoch=result.best_epoch, validation=result.metrics)


def rows_told(found: RowsFound) -> list[str]:
    """Lines on the rows of a training."""
    words = {"training": "to train on", "validation": "held out for validation", "test": "to test on"}
    lines = ["rows     " + ", ".join(f"{count:,} {words[part]}" for part, count in found.rows.items())]
    for part, codes in found.dropped.items():
        if codes:
            lines.append(
                f"dropped  of {flag_of(part)}: " + ", ".join(f"{count:,} {code}" for code, count in codes.items())
            )
    if found.classes is not None:
        counts = list(found.classes.rows.items())
        (most, largest), (least, smallest) = counts[0], counts[-1]
        without = found.classes.without
        several = "" if without is None else f"; {without:,} rows have none"
        lines.append(
            f"{'labels ' if several else 'classes'}  {len(counts):,}, from {largest:,} rows ({most}) to {smallest:,} "
            f"({least}): {found.classes.imbalance:.3g} to 1{several}"
        )
        if rare := found.classes.rare:
            more = f" and {len(rare) - _SHOWN:,} more" if len(rare) > _SHOWN else ""
            lines.append(f"warning: fewer than {RARE_ROWS} rows of {', '.join(rare[:_SHOWN])}{more}")
    return [*lines, *(f"note     {note}" for note in found.notes)]


def end_told(result: TrainingResult) -> str:
    """One line on why a training ended."""
    kept = f"epoch {result.best_epoch} of {result.epochs_run} is kept"
    if result.ended == CAP:
        cap = f"the cap of {result.epochs_run} epochs"
        return f"warning: still improving when {cap} ended it; give more with --epochs: {kept}"
    return f"ended as asked: {kept}" if result.ended == ASKED else f"ended without further progress: {kept}"


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
