"""How sure a model is of a text: margin and entropy of its probabilities."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.batches.measures import Measured, millionths

Probabilities = npt.NDArray[np.float32]
_FEW = 16
_TINY = np.finfo(np.float32).tiny


def with_certainty(measured: Measured, probabilities: Probabilities, thresholds: Sequence[float] = ()) -> Measured:
    """The rows (MEASURE [B]) with margin and entropy of their probabilities [B, C] in millionths; see there."""
    found = measured.copy()
    found["margin"] = millionths(margins(probabilities, thresholds))
    found["entropy"] = millionths(entropies(probabilities, several=bool(thresholds)))
    return found


def margins(probabilities: Probabilities, thresholds: Sequence[float] = ()) -> Probabilities:
    """float32 [B]: the first probability less the second one.

    With a threshold for each label: how far the nearest probability is from the threshold of its label.
    """
    if thresholds:
        return np.abs(probabilities - np.array(thresholds, np.float32)).min(axis=1)  # type: ignore[no-any-return]
    if probabilities.shape[1] == 1:
        return probabilities[:, 0]
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


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
    terms = np.maximum(probabilities, _TINY)
    np.log(terms, out=terms)
    terms *= probabilities
    return -_row_sums(terms)


def _row_sums(terms: Probabilities) -> Probabilities:
    """float32 [B]: to the last bit the same whatever rows stand beside a row, which a product of matrices is not."""
    if terms.shape[1] > _FEW:
        return np.add.reduce(np.ascontiguousarray(terms), axis=1)  # type: ignore[no-any-return]
    # Column by column is quicker than along short rows.
    sums = terms[:, 0].copy()
    for column in range(1, terms.shape[1]):
        sums += terms[:, column]
    return sums
