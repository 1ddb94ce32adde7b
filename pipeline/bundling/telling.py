"""What a training tells while it goes, and what it asks; whoever runs it says how that is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from model.training.fine_tune import Progress, Step, TrainingResult
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
    """Follows a training. `step` answers whether it shall end with the best epoch that it has."""

    def found(self, rows: RowsFound) -> None: ...

    def step(self, at: Step) -> bool: ...

    def epoch(self, at: Progress) -> None: ...

    def ended(self, result: TrainingResult) -> None: ...


class Silent:
    """Tells nothing and never ends a training."""

    def found(self, rows: RowsFound) -> None: ...

    def step(self, at: Step) -> bool:
        return False

    def epoch(self, at: Progress) -> None: ...

    def ended(self, result: TrainingResult) -> None: ...
