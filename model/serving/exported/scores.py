"""Scores of trial rows: how far two are apart, and what they look like."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.errors import CheckpointError
from model.serving.exported.rows import Rows

TOLERANCE = 1e-5
"""Of a logit's size, and at least of 1."""
ROUNDING = 1e-4
"""Below it a difference may be what a large network rounds."""

Scores = npt.NDArray[np.float32]
_LEAST = 1e-30
# A few times the distance of two float32 numbers just below 1.
_LAST_PLACES = 2.5e-7


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the trials found of a sound network: `scores` `[B, C]` of `rows`, and by how much each trial differed.

    `probabilities`: what the scores are; `notes`: what a user should know.
    """

    rows: Rows
    scores: Scores
    differences: dict[str, float | None]
    probabilities: bool = False
    notes: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, float | int | None]:
        """As a bundle keeps it; None: a fixed length leaves nothing to try."""
        longest = int(self.rows.lengths.max())
        return {"tolerance": TOLERANCE, "rows": len(self.rows.tokens), "longest": longest, **self.differences}


def difference(wanted: Scores, found: Scores, *, probabilities: bool = False) -> float:
    """The largest difference, as a share of the size of what is wanted, which counts as 1 at least.

    Of probabilities it is that of their logarithms: of p below 0.5, else of 1 - p, less what float32 rounds there.
    So a softmax or a sigmoid hides no difference that its logits would show.
    """
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    size = np.maximum(1, np.abs(wanted))
    apart = np.abs(wanted - found)
    if probabilities and wanted.min(initial=0) >= 0 and wanted.max(initial=0) <= 1 + TOLERANCE:
        rest = np.maximum(np.minimum(wanted, 1 - wanted), _LEAST)
        size = rest * np.maximum(1, -np.log(rest))
        apart = np.abs(np.maximum(wanted, _LEAST) - np.maximum(found, _LEAST))
        apart = np.where(wanted > 0.5, np.maximum(0, apart - _LAST_PLACES), apart)
    share = apart / size
    worst = float(share.max()) if np.isfinite(share).all() else float("inf")
    return float(f"{worst:.1e}")


def check_probabilities(origin: str, scores: Scores, *, sum_to_one: bool) -> None:
    """Raises CheckpointError if the scores of the trial rows cannot be probabilities."""
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1 + TOLERANCE:
        raise CheckpointError(
            f"--outputs-are probabilities: {origin} gives numbers from {low:.4g} to {high:.4g}, which are no "
            "probabilities; give --outputs-are logits"
        )
    sums = scores.sum(axis=1, dtype=np.float64)
    if sum_to_one and np.abs(sums - 1).max() > TOLERANCE:
        raise CheckpointError(
            f"--outputs-are probabilities: the outputs of {origin} add up to {sums.min():.4g} to {sums.max():.4g} in "
            "each row, not to 1; give --task multilabel if texts have several labels, or --outputs-are logits"
        )


def look_like_probabilities(scores: Scores) -> str | None:
    """What hints at a softmax or a sigmoid in every row, None without a hint; it is no proof."""
    if scores.min() < 0 or scores.max() > 1 + TOLERANCE:
        return None
    sums = scores.sum(axis=1, dtype=np.float64)
    if scores.shape[1] > 1 and np.abs(sums - 1).max() <= TOLERANCE:
        return "adds up to 1"
    return "has only numbers from 0 to 1"
