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
from model.serving.exported.scores import ROUNDING, TOLERANCE, Proof, Scores, difference

USUAL_LONGEST = 512
"""The most tokens of a row that are tried unless more are asked for."""

Score = Callable[[Ids, Ids, Ids], npt.NDArray[np.float32]]
"""tokens int32 `[B, T]`, lengths `[B]`, first segment `[B]` -> float32 `[B, C]`."""


@dataclass(frozen=True, kw_only=True)
class Trials:
    """A network, by what it is called in errors; `length` is the only T it takes, if there is one.

    `masked`: whether it is told which tokens count; `behind` scores as `score` does, but leaves the ids behind a row as
    they are given; `probabilities`: whether these are its scores.
    """

    origin: str
    score: Score
    behind: Score
    special: Special
    vocabulary: int
    length: int | None
    masked: bool = True
    probabilities: bool = False

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
        try:
            found = self._at(plain + plain + plain, 5).shape
        except (tf.errors.OpError, ValueError) as error:
            raise CheckpointError(
                f"{self.origin}: scores a single row, but its graph ends in {type(error).__name__} for 3 rows; export "
                "it for any number of rows"
            ) from error
        if len(found) not in (1, 2) or found[0] != 3 or (len(found) == 2 and not found[1]):
            raise CheckpointError(
                f"{self.origin}: gives an array of shape {list(found)} for 3 rows, and must give one number for each "
                "label and row, [3, labels]: export the scores of the whole text, not of its tokens"
            )
        return found[1] if len(found) == 2 else 1

    def check_vocabulary(self) -> None:
        """Raises CheckpointError if a token of the vocabulary has no place in the network."""
        some = (*range(0, self.vocabulary, max(1, self.vocabulary // 64)), self.vocabulary - 1)
        rows = [self._of_token(token) for token in some]
        if self._problem(Rows(tuple(rows), np.full(len(rows), 3, np.int32))) is not None:
            for token, row in zip(some, rows, strict=True):
                if self._problem(Rows((row,), np.array([3], np.int32))) is not None:
                    raise CheckpointError(
                        f"{self.origin}: does not score token {token} of the vocabulary, which has {self.vocabulary}; "
                        "give the vocabulary that the model was trained with"
                    )

    def check_last_token(self) -> None:
        """Raises CheckpointError if the last token scores exactly as the one before it, or as numbers of no token.

        So it does where a graph takes the last row of a table that is too short, or zeros. To be called of what is
        proved: a reason of its own comes first.
        """
        last = self.vocabulary - 1
        if self._score_alike(last, self.special.start):
            raise CheckpointError(
                f"{self.origin}: scores rows of different tokens exactly alike; is the mask wired to the right input, "
                "with 1 for tokens (--inputs)?"
            )
        # Not one of the two alone: what is cut to the table's ends, or begins anew there, has a place for every token.
        for others, like in (((last - 1,), f"token {last - 1}"), ((-1, last + 4), "a number that no token has")):
            if all(self._score_alike(last, other) for other in others):
                raise CheckpointError(
                    f"{self.origin}: scores token {last}, the last of the vocabulary, exactly like {like}: its table "
                    "seems to have fewer rows; give the vocabulary that the model was trained with"
                )

    def _score_alike(self, one: int, other: int) -> bool:
        wanted, found = (Rows((self._of_token(token),), np.array([3], np.int32)) for token in (one, other))
        # A number that the graph refuses has no place.
        if self._problem(found) is not None:
            return False
        scores = self._at(wanted, 3)
        return bool(np.isfinite(scores).all()) and np.array_equal(scores, self._at(found, 3))

    def _of_token(self, token: int) -> Ids:
        return np.array([self.special.start, token, self.special.end], np.int32)

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
        notes = self._check_behind(found, rows, batch)
        return Proof(rows=rows, scores=batch, differences=found, probabilities=self.probabilities, notes=notes)

    def _differences(self, rows: Rows, batch: Scores, width: int) -> dict[str, float | None]:
        count, lengths = len(rows.tokens), rows.lengths
        turned = np.roll(np.arange(count), 2)
        others = rows.take(range(1, count, 3))
        elsewhere = self._flat(others + rows.take(turned), width)[len(others.tokens) :]
        backwards = self._flat(rows.take(range(count)[::-1]), width)[::-1]
        alone_padded = [self._flat(rows.take([row]), width)[0] for row in range(count)]
        found: dict[str, float | None] = {
            "again": self._apart(batch, self._flat(rows, width)),
            "alone": None,
            "more_padding": None,
            "alone_padded": self._apart(batch, np.array(alone_padded)),
            "another_batch": self._apart(batch[turned], elsewhere),
            "reversed": self._apart(batch, backwards),
            "behind": None,
        }
        if self.length is None:
            alone = [self._flat(rows.take([row]), int(lengths[row]))[0] for row in range(count)]
            found["alone"] = self._apart(batch, np.array(alone))
            # Rows that are all padded in the batch, and of which the longest is not padded here.
            narrow = np.flatnonzero(lengths <= np.median(lengths))
            if lengths[narrow].max() < width:
                less = self._flat(rows.take(narrow), int(lengths[narrow].max()))
                found["more_padding"] = self._apart(batch[narrow], less)
        return found

    def _apart(self, wanted: Scores, found: Scores) -> float:
        return difference(wanted, found, probabilities=self.probabilities)

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
                f"the batch does; export it with training=False, and compute nothing over the rows{_of_rounding(by)}"
            )
        if not worst:
            return
        by = max(worst.values())
        way_out = "export a signature of one fixed length without a mask, to which every row is padded"
        way_out += _of_rounding(by)
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

    def _check_behind(self, found: dict[str, float | None], rows: Rows, batch: Scores) -> tuple[str, ...]:
        """Of a fixed length: tries other ids in the padding, which a mask keeps out; raises CheckpointError.

        Whatever does not read the mask sees [PAD] there, as its maker's rows have it, if that is the 0 that a network
        may look for.
        """
        if self.length is None or int(rows.lengths.min()) == self.length:
            return ()
        read = self.masked and self._reads_the_mask(rows)
        if not read and self.special.pad != 0:
            raise CheckpointError(
                f"{self.origin}: pads to {self.length} tokens and {'reads' if self.masked else 'takes'} no mask, and "
                f"[PAD] is token {self.special.pad} of the vocabulary, where a network may look for 0; export it with "
                "a mask that it reads, or for rows of any length"
            )
        if not read:
            note = "mask: the network does not read it, so [PAD] counts as it does in its own graph"
            return (note,) if self.masked else ()
        tokens = rows.padded(self.length, self.special.pad)
        others = np.setdiff1d(np.arange(self.vocabulary), [self.special.pad]).astype(np.int32)
        place = np.arange(self.length)
        filled = np.where(place < rows.lengths[:, np.newaxis], tokens, others[(7 * place + 5) % len(others)])
        by = self._apart(batch, self.behind(filled, rows.lengths, rows.first_segment).reshape(batch.shape))
        found["behind"] = by
        if not by <= TOLERANCE:
            raise CheckpointError(
                f"{self.origin}: other ids behind a row change its scores (by {by:.1e}), although the mask says that "
                "nothing is there: is the mask wired to the right input, with 1 for tokens (--inputs)? A network that "
                f"counts [PAD] is exported without a mask{_of_rounding(by)}"
            )
        return ()

    def _reads_the_mask(self, rows: Rows) -> bool:
        """Whether a mask of ones, or types of ones in case the two were swapped, change any score."""
        assert self.length is not None
        tokens = rows.padded(self.length, self.special.pad)
        every, none = np.full_like(rows.lengths, self.length), np.zeros_like(rows.lengths)
        plain = self.score(tokens, rows.lengths, every)
        return any(
            not difference(plain, self.score(tokens, *given)) <= 0 for given in ((every, every), (rows.lengths, none))
        )

    def _first_padding_alone(self, rows: Rows, batch: Scores) -> bool:
        """Whether one [PAD] behind a row does what more of them do."""
        width = int(rows.lengths.max())
        short = np.flatnonzero(rows.lengths < width)
        found = [self._flat(rows.take([row]), int(rows.lengths[row]) + 1)[0] for row in short.tolist()]
        return bool(len(short)) and self._apart(batch[short], np.array(found)) <= TOLERANCE


def _of_rounding(by: float) -> str:
    return "; a difference this small may be the rounding of a large network, too" if by < ROUNDING else ""
