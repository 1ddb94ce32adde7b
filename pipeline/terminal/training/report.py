"""What a training prints while it goes: its rows, a line for each epoch, how far its probabilities can be relied on."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from model.training.calibration import FEWEST_ROWS
from model.training.fine_tune import Progress as Epoch
from model.training.fine_tune import Step, TrainingResult
from model.training.schedule import ASKED, CAP
from pipeline.bundling.labelled_rows import RARE_ROWS, flag_of
from pipeline.bundling.telling import RowsFound, Teller
from pipeline.errors import ConfigError
from pipeline.terminal.console import PROGRESS_SECONDS, emit, err
from pipeline.terminal.training.bar import Interrupts, TrainingBar

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

    def __init__(self, console: Console, bar: TrainingBar | None = None, interrupts: Interrupts | None = None):
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

    def measured(self, quality: Mapping[str, Any]) -> None:
        """The temperature, and what --min-probability would decide."""
        for line in measured_told(quality):
            self._console.print(line)

    def warned(self, what: str) -> None:
        """One line."""
        self._console.print(f"warning: {what}")


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

    def measured(self, quality: Mapping[str, Any]) -> None:
        """The event of the bundle has it."""

    def warned(self, what: str) -> None:
        emit("warning", message=what)


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


def measured_told(quality: Mapping[str, Any]) -> list[str]:
    """Lines on how far the probabilities of a new bundle can be relied on; none of a regression."""
    lines = []
    if (found := quality.get("calibration")) is not None:
        part = "test" if "test" in found["before"] else "validation"
        before = f"{found['before'][part]:.4f}"
        if found["temperature"] is None:
            lines = [
                f"note     no temperature: {found['rows']:,} validation rows are fewer than {FEWEST_ROWS}; calibration "
                f"error {before} on the {part} rows"
            ]
        else:
            lines = [
                f"fitted   temperature {found['temperature']:.3f}: calibration error {before} before, "
                f"{found['after'][part]:.4f} after, on the {part} rows"
            ]
    if (decided := quality.get("decided")) is not None and decided["at"]:
        each = ", ".join(f"{at['probability']:g}: {at['share']:.1%} at {at['accuracy']:.2%}" for at in decided["at"])
        lines.append(f"decided  share of the {decided['of']} rows and their accuracy by --min-probability: {each}")
    return lines
