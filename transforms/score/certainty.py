"""How sure a model is of a text: margin and entropy of its probabilities."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.batches.measures import MEASURE, Measured, Rows, millionths

Probabilities = npt.NDArray[np.float32]
_FEW = 16
_AT_ONCE = 32_768
"""Probabilities that are looked at together: what is computed of them stays in the cache."""
_TINY = np.finfo(np.float32).tiny


def with_certainty(
    measured: Measured,
    probabilities: Probabilities,
    ranked: Probabilities,
    sample: Rows,
    thresholds: Sequence[float] = (),
) -> Measured:
    """The rows (MEASURE [B]) with margin, and in the `sample` entropy, of their probabilities [B, C] in millionths.

    `ranked` has at least the two largest ones, largest first.
    """
    # As integers: a copy of records is slow.
    found = measured.view(np.int32).copy().view(MEASURE)
    found["margin"] = millionths(distances(probabilities, thresholds) if thresholds else margins(ranked))
    found["entropy"][sample] = millionths(entropies(probabilities[sample], several=bool(thresholds)))
    return found


def margins(ranked: Probabilities) -> Probabilities:
    """float32 [B]: the first probability less the second one."""
    return ranked[:, 0] if ranked.shape[1] == 1 else ranked[:, 0] - ranked[:, 1]


def distances(probabilities: Probabilities, thresholds: Sequence[float]) -> Probabilities:
    """float32 [B]: how far the nearest probability is from the threshold of its label."""
    return np.abs(probabilities - np.array(thresholds, np.float32)).min(axis=1)  # type: ignore[no-any-return]


def entropies(probabilities: Probabilities, *, several: bool) -> Probabilities:
    """float32 [B], from 0 to 1: the entropy as a share of the greatest there can be.

    Of `several` labels a text, the mean of the entropies of all labels, each given or not.
    """
    labels = probabilities.shape[1]
    if several:
        found = (_terms(probabilities) + _terms(1 - probabilities)) / (labels * np.log(2))
    elif labels == 1:
        return np.zeros(len(probabilities), np.float32)
    else:
        found = _terms(probabilities) / np.log(labels)
    return np.clip(found, 0, 1).astype(np.float32)  # type: ignore[no-any-return]


def _terms(probabilities: Probabilities) -> Probabilities:
    rows, labels = max(1, _AT_ONCE // probabilities.shape[1]), probabilities.shape[1]
    memory, sums = np.empty((rows, labels), np.float32), np.empty(len(probabilities), np.float32)
    for start in range(0, len(probabilities), rows):
        some = probabilities[start : start + rows]
        terms = np.maximum(some, _TINY, out=memory[: len(some)])
        np.log(terms, out=terms)
        terms *= some
        _add_rows(terms, sums[start : start + rows])
    return -sums


def _add_rows(terms: Probabilities, sums: Probabilities) -> None:
    """To the last bit the same whatever rows stand beside a row, which a product of matrices is not."""
    if terms.shape[1] > _FEW:
        np.add.reduce(terms, axis=1, out=sums)
        return
    # Column by column is quicker than along short rows.
    sums[:] = terms[:, 0]
    for column in range(1, terms.shape[1]):
        sums += terms[:, column]
