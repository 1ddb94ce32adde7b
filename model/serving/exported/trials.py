"""What is tried on a network before its scores are trusted: chance, padding, neighbours.

Every network is a black box here. What can be seen is whether a row keeps its scores, whatever it is scored with.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.errors import CheckpointError
from model.serving.exported.rows import Ids, Rows, Special

TOLERANCE = 1e-5
"""Of a logit's size, and at least of 1."""
USUAL_LONGEST = 512
"""The most tokens of a row that are tried unless more are asked for."""

Scores = npt.NDArray[np.float32]


Score = Callable[[Ids, Ids, Ids], npt.NDArray[np.float32]]
"""tokens int32 `[B, T]`, lengths `[B]`, first segment `[B]` -> float32 `[B, C]`."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the trials found of a sound network: `scores` `[B, C]` of `rows`, and by how much each trial differed."""

    rows: Rows
    scores: Scores
    differences: dict[str, float | None]

    @property
    def numbers(self) -> dict[str, float | int | None]:
        """As a bundle keeps it; None: a fixed length leaves nothing to try."""
        longest = int(self.rows.lengths.max())
        return {"tolerance": TOLERANCE, "rows": len(self.rows.tokens), "longest": longest, **self.differences}


@dataclass(frozen=True, kw_only=True)
class Trials:
    """A network, by what it is called in errors; `length` is the only T it takes, if there is one."""

    origin: str
    score: Score
    special: Special
    vocabulary: int
    length: int | None

    def find_longest(self, wanted: int | None) -> int:
        """The most tokens of a row that it scores, of `wanted` (or the usual 512) at most; raises CheckpointError."""
        if self.length is not None:
            self._check_short(min(3, self.length))
            return self.length
        self._check_short(3)
        most = max(USUAL_LONGEST, wanted or 0)
        if self._takes(most):
            return most
        low, high = 3, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._takes(middle) else (low, middle)
        return low

    def _check_short(self, tokens: int) -> None:
        if (error := self._problem(self._plain(tokens))) is not None:
            raise CheckpointError(
                f"{self.origin}: does not score a row of {tokens} tokens ({type(error).__name__} in its graph); are "
                "--inputs right, and does it score single rows?"
            )

    def _takes(self, tokens: int) -> bool:
        return self._problem(self._plain(tokens)) is None

    def _plain(self, tokens: int) -> Rows:
        """A row of so many tokens that every model with special tokens knows."""
        row = np.full(tokens, self.special.end, np.int32)
        row[0] = self.special.start
        return Rows((row,), np.array([tokens], np.int32))

    def _problem(self, rows: Rows) -> Exception | None:
        try:
            self._at(rows, int(rows.lengths.max()))
        except (tf.errors.OpError, ValueError) as error:
            return error
        return None

    def _at(self, rows: Rows, width: int) -> npt.NDArray[np.float32]:
        width = self.length or width
        return self.score(rows.padded(width, self.special.pad), rows.lengths, rows.first_segment)

    def check_shape(self) -> int:
        """The number of outputs of a row; raises CheckpointError where there is no row of numbers for each row."""
        plain = self._plain(min(5, self.length or 5))
        found = self._at(plain + plain + plain, 5).shape
        if len(found) not in (1, 2) or found[0] != 3 or (len(found) == 2 and not found[1]):
            raise CheckpointError(
                f"{self.origin}: gives an array of shape {list(found)} for 3 rows, and must give one number for each "
                "label and row, [3, labels]: export the scores of the whole text, not of its tokens"
            )
        return found[1] if len(found) == 2 else 1

    def check_vocabulary(self) -> None:
        """Raises CheckpointError if a token of the vocabulary has no place in the network."""
        some = (*range(0, self.vocabulary, max(1, self.vocabulary // 64)), self.vocabulary - 1)
        rows = tuple(np.array([self.special.start, token, self.special.end], np.int32) for token in some)
        if self._problem(Rows(rows, np.full(len(rows), 3, np.int32))) is None:
            return
        for token, row in zip(some, rows, strict=True):
            if self._problem(Rows((row,), np.array([3], np.int32))) is not None:
                raise CheckpointError(
                    f"{self.origin}: does not score token {token} of the vocabulary, which has {self.vocabulary}; give "
                    "the vocabulary that the model was trained with"
                )

    def prove(self, rows: Rows) -> Proof:
        """Tries everything; raises CheckpointError, with the reason, for scores that depend on more than the row."""
        width, count = int(rows.lengths.max()), len(rows.tokens)
        try:
            batch = self._flat(rows, width)
            sound = np.isfinite(batch).all(axis=1)
            found = self._differences(rows, batch, width) if sound.all() else {}
        except (tf.errors.OpError, ValueError) as error:
            raise CheckpointError(
                f"{self.origin}: its graph ends in {type(error).__name__} for rows that a job has (of up to {width} "
                f"tokens, in batches of 1 to {count + 3}); export it for any number of rows"
            ) from error
        if not sound.all():
            raise CheckpointError(
                f"{self.origin}: gives NaN or infinity for {int((~sound).sum())} of {count} rows of its own "
                "vocabulary; its weights, or the wiring of its inputs, are wrong"
            )
        self._judge(found, rows, batch)
        return Proof(rows=rows, scores=batch, differences=found)

    def _differences(self, rows: Rows, batch: Scores, width: int) -> dict[str, float | None]:
        count, lengths = len(rows.tokens), rows.lengths
        turned = np.roll(np.arange(count), 2)
        others = rows.take(range(1, count, 3))
        elsewhere = self._flat(others + rows.take(turned), width)[len(others.tokens) :]
        backwards = self._flat(rows.take(range(count)[::-1]), width)[::-1]
        alone_padded = [self._flat(rows.take([row]), width)[0] for row in range(count)]
        found: dict[str, float | None] = {
            "again": difference(batch, self._flat(rows, width)),
            "alone": None,
            "more_padding": None,
            "alone_padded": difference(batch, np.array(alone_padded)),
            "another_batch": difference(batch[turned], elsewhere),
            "reversed": difference(batch, backwards),
        }
        if self.length is None:
            alone = [self._flat(rows.take([row]), int(lengths[row]))[0] for row in range(count)]
            found["alone"] = difference(batch, np.array(alone))
            # Rows that are all padded in the batch, and of which the longest is not padded here.
            narrow = np.flatnonzero(lengths <= np.median(lengths))
            if lengths[narrow].max() < width:
                less = self._flat(rows.take(narrow), int(lengths[narrow].max()))
                found["more_padding"] = difference(batch[narrow], less)
        return found

    def _flat(self, rows: Rows, width: int) -> Scores:
        return self._at(rows, width).reshape(len(rows.tokens), -1)

    def _judge(self, found: dict[str, float | None], rows: Rows, batch: Scores) -> None:
        worst = {name: value for name, value in found.items() if value is not None and not value <= TOLERANCE}
        if "again" in worst:
            raise CheckpointError(
                f"{self.origin}: the same rows score differently each time: chance decides, such as dropout that is "
                "left on; export it with training=False"
            )
        if beside := worst.keys() & {"alone_padded", "another_batch", "reversed"}:
            by = max(worst[name] for name in beside)
            raise CheckpointError(
                f"{self.origin}: the rows of a batch change each other's scores (by {by:.1e}), as a normalisation over "
                "the batch does; export it with training=False, and compute nothing over the rows"
            )
        if not worst:
            return
        by, way_out = max(worst.values()), "export a signature of one fixed length, to which every row is padded"
        if self._first_padding_alone(rows, batch):
            raise CheckpointError(
                f"{self.origin}: a row scores otherwise without padding than with one or more [PAD] behind it (by "
                f"{by:.1e}): its last token sees what follows it, as in MobileBERT where the word vector of [PAD] is "
                f"not zero. Train with that vector at zero, or {way_out}"
            )
        raise CheckpointError(
            f"{self.origin}: the scores of a row depend on how far it is padded (by {by:.1e}): its mask does not keep "
            f"all padding out. Mask it wherever rows are summed up, or {way_out}"
        )

    def _first_padding_alone(self, rows: Rows, batch: Scores) -> bool:
        """Whether one [PAD] behind a row does what more of them do."""
        width = int(rows.lengths.max())
        short = np.flatnonzero(rows.lengths < width)
        found = [self._flat(rows.take([row]), int(rows.lengths[row]) + 1)[0] for row in short.tolist()]
        return bool(len(short)) and difference(batch[short], np.array(found)) <= TOLERANCE


def difference(wanted: Scores, found: Scores) -> float:
    """The largest difference, as a share of the size of what is wanted, which counts as 1 at least."""
    share = np.abs(wanted.astype(np.float64) - found) / np.maximum(1, np.abs(wanted))
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


def look_like_probabilities(scores: Scores) -> bool:
    """Whether every row is non-negative and adds up to 1: a hint at a softmax, no proof."""
    sums = scores.sum(axis=1, dtype=np.float64)
    return scores.shape[1] > 1 and bool(scores.min() >= 0 and np.abs(sums - 1).max() <= TOLERANCE)
