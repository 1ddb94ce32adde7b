"""What a training tells while it goes, and what it asks; whoever runs it says how that is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from model.training.fine_tune import DivergedError, Progress, Step, TrainingResult
from pipeline.bundling.labelled_rows import Classes


@dataclass(frozen=True, kw_only=True)
class RowsFound:
    """The rows of a training by part (training, validation, test), those dropped by part and code, and the classes.

    `notes` say what was assumed of the encoder.
    """

    rows: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]
    classes: Classes | None
    learning_rate: float
    notes: tuple[str, ...] = ()


class Teller(Protocol):
    """Follows a training. `step` answers whether it shall end with the best epoch that it has.

    `measured` is told what the bundle says of its quality, see training_record.measure.
    """

    def found(self, rows: RowsFound) -> None: ...

    def step(self, at: Step) -> bool: ...

    def epoch(self, at: Progress) -> None: ...

    def ended(self, result: TrainingResult) -> None: ...

    def measured(self, quality: Mapping[str, Any]) -> None: ...

    def warned(self, what: str) -> None: ...


class Silent:
    """Tells nothing and never ends a training."""

    def found(self, rows: RowsFound) -> None: ...

    def step(self, at: Step) -> bool:
        return False

    def epoch(self, at: Progress) -> None: ...

    def ended(self, result: TrainingResult) -> None: ...

    def measured(self, quality: Mapping[str, Any]) -> None: ...

    def warned(self, what: str) -> None: ...


def diverged(error: DivergedError) -> str:
    """What is said of a training whose loss is no number any more."""
    rate = error.learning_rate
    where = f"step {error.step} of {error.steps}" if error.step else "on the validation rows"
    return (
        f"the training diverged: its loss is not finite in epoch {error.epoch}, {where}, at a learning rate of up to "
        f"{rate:g}; no bundle was made: give a lower --learning-rate, for example {rate / 5:g}"
    )


def without_summary(error: Exception) -> str:
    """What is said if the validation rows could not be read once more for the baseline of drift."""
    return (
        f"the bundle has no summary of its validation rows ({type(error).__name__}: has the input changed, or is it "
        "gone?), so drift is told against earlier dates alone"
    )
