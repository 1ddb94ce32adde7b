"""Label shares of a date beside those of the dates before it."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.terminal.pages.nights.night import Night
from pipeline.terminal.pages.nights.telling.usual import Usual, is_far, noise_of, on_weekday, usual
from transforms.outputs.drift.bounds import FEWEST_ROWS
from transforms.outputs.drift.record import DATES, is_known

_LEAST = 0.02
"""What a share must move to be far."""
BY_RANGE = "outside the lowest to highest of the last dates, two points or more from usual; if none is, what moved most"
BY_SPREAD = "far from usual, and two points or more"


class Label(NamedTuple):
    """A label: its number in the bundle, its share of the rows, what is usual at all and on the weekday (None: not
    known), whether it is marked."""

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
    def is_outside(self) -> bool:
        """Whether it is above or below all of the last dates."""
        return self.known is not None and not self.known.lowest <= (self.share or 0) <= self.known.highest

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
        compared = night.summarised >= FEWEST_ROWS and not is_judged(night)
        far = compared and is_far(night, references, measure, _LEAST, noise)
        found.append(Label(number, name, measure(night), known, on_weekday(night, references, measure), far))
    return _outside(found) if "label" in night.beyond else found


def is_judged(night: Night) -> bool:
    """Whether the run has compared its label shares itself: then labels are marked only if these are beyond a bound."""
    return "label" in night.beyond or (is_known(night.drift) and "label" in night.drift[DATES])


def _outside(labels: Sequence[Label]) -> list[Label]:
    """Those marked that are outside what the last dates had, the one that moved most if none is."""
    marked = [one for one in labels if one.change >= _LEAST and one.is_outside]
    if not marked:
        marked = [one for one in sorted(labels, key=lambda one: -one.change)[:1] if one.change]
    return [one._replace(far=one in marked) for one in labels]


def moved_labels(night: Night, references: Sequence[Night]) -> list[Label]:
    """The same, most moved first."""
    return sorted(labels_of(night, references), key=lambda label: -label.change)
