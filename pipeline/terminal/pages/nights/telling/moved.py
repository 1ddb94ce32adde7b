"""Label shares of a date beside those of the dates before it."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.terminal.pages.nights.night import Night
from pipeline.terminal.pages.nights.telling.usual import Usual, is_far, noise_of, on_weekday, usual

_LEAST = 0.02
"""What a share must move to be far."""


class Label(NamedTuple):
    """A label: its number in the bundle, its share of the rows, what is usual at all and on the weekday (None: not
    known), whether it is far."""

    number: int
    name: str
    share: float | None
    known: Usual | None
    weekday: float | None
    far: bool

    @property
    def usual(self) -> float | None:
        return None if self.known is None else self.known.middle

    @property
    def change(self) -> float:
        """How far it moved, 0 where that is not known."""
        return abs((self.share or 0) - self.usual) if self.usual is not None and self.share is not None else 0.0


def labels_of(night: Night, references: Sequence[Night]) -> list[Label]:
    """The labels of a night and of earlier dates with the same model, in the order of the bundle."""
    names: dict[int, str] = {}
    for one in (*references, night):
        names |= {number: name for number, (name, _) in one.labels.items()}
    found = []
    for number, name in sorted(names.items()):

        def measure(one: Night, number: int = number) -> float | None:
            return one.label_share(number)

        known = usual(references, measure)
        noise = noise_of(known.middle if known else None, night.summarised)
        far = is_far(night, references, measure, _LEAST, noise)
        found.append(Label(number, name, measure(night), known, on_weekday(night, references, measure), far))
    return found


def moved_labels(night: Night, references: Sequence[Night]) -> list[Label]:
    """The same, most moved first."""
    return sorted(labels_of(night, references), key=lambda label: -label.change)
