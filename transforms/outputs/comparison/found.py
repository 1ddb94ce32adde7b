"""What a comparison finds: counts and sums, without a text."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from transforms.outputs.comparison.examples import Example

STEPS = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Differences of probability are counted between these, on either side of 0."""
SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
"""Quantiles of differences of value; the first and the last are the smallest and the largest one."""


@dataclass(frozen=True, kw_only=True)
class Ids:
    """Ids in both sides with one text, in one alone; the others are left out.

    `repeated`: more than once in one of them; `other_text`: in both, with another text in B. `texts`: how many
    different ones the ids in both have; None if that is not known.
    """

    both: int
    only_a: int
    only_b: int
    repeated: int
    other_text: int = 0
    texts: int | None = None


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Of probabilities, B less A, of `rows`: mean, mean of the absolute ones, largest absolute one.

    `bins`: counts from the most negative on; the middle one is of those up to STEPS[0] on either side.
    """

    rows: int
    mean: float
    mean_absolute: float
    largest: float
    bins: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Right:
    """Rows of which the right label is known, and how many of them are right in A and B, in one alone."""

    rows: int
    both: int
    only_a: int
    only_b: int


@dataclass(frozen=True, kw_only=True)
class OfLabel:
    """Rows with a label in A, in B, in both; of the rows for which it is right, how many each gets right."""

    label: str
    a: int
    b: int
    both: int
    gold: int = 0
    right_a: int = 0
    right_b: int = 0


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One label a text, or several: `changed` rows have another label, or other labels.

    `pairs`: (label of A, label of B) -> rows, of rows that have another one; empty where texts have several.
    `differences` are of the probability of the most probable label; of several, of the labels that both give.
    """

    several: bool
    ids: Ids
    changed: int
    labels: tuple[OfLabel, ...]
    pairs: Mapping[tuple[str, str], int]
    differences: Differences
    right: Right | None
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """Of values to the right ones: RMS of the error and correlation (Pearson) of each side; rows nearer in one."""

    rows: int
    rms_a: float
    rms_b: float
    correlation_a: float | None
    correlation_b: float | None
    nearer_a: int
    nearer_b: int


@dataclass(frozen=True, kw_only=True)
class Valued:
    """Differences of value, B less A. `quantiles` stand at SHARES; None for a correlation that is not defined."""

    ids: Ids
    mean: float
    rms: float
    quantiles: tuple[float, ...]
    correlation: float | None
    nearness: Nearness | None
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)


CHANGED, MOVED, ONLY_A, ONLY_B = "changed", "moved", "only A right", "only B right"
"""Kinds of examples."""
