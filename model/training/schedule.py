"""When a training slows down and when it ends: by what its validation rows say, not by a number of epochs."""

import dataclasses

PLATEAU, CAP, ASKED = "plateau", "cap", "asked"
"""Why a training ended: it got no better, its epochs were used up while it did, or somebody asked."""

_WARMUP_STEPS = 100
_PATIENCE_STEPS = 100
_DECAY_STEPS = 500
_DECAY_EPOCHS = 10
_CAP_EPOCHS = 20
_CAP_STEPS = 2_000
_MOST_EPOCHS = 100

_LESS_LOSS = 0.02
_MORE = 0.005
"""What counts as progress: less is noise of the validation rows."""


@dataclasses.dataclass(frozen=True)
class Lengths:
    """How long the parts of a training are: `warmup` in steps, `patience`, `decay` and `cap` in epochs.

    An epoch of few rows is a few steps: of these a part has more, so that it is long enough to do its work.
    """

    warmup: int
    patience: int
    decay: int
    cap: int

    @classmethod
    def of(cls, steps: int, *, cap: int | None, patience: int) -> "Lengths":
        """For epochs of `steps` steps; `cap` None is a safety that a training is not meant to reach."""
        if cap is None:
            cap = min(_MOST_EPOCHS, max(_CAP_EPOCHS, -(-_CAP_STEPS // steps)))
        decay = min(max(1, round(_DECAY_STEPS / steps)), _DECAY_EPOCHS, max(1, cap // 2))
        return cls(
            warmup=min(_WARMUP_STEPS, cap * steps // 10),
            # Not beyond the cap: what stands still until there must not count as improving.
            patience=max(1, min(max(patience, -(-_PATIENCE_STEPS // steps)), cap - decay)),
            decay=decay,
            cap=cap,
        )


class Schedule:
    """The learning rate of each step, and the last epoch, of a training with epochs of `steps` steps.

    The rate rises to `peak`, stays there while the training makes progress, and falls to 0 in a straight line, with
    which the training ends. Progress is a lower validation loss, or a better score; without it for `patience` epochs
    the fall begins. A fall that begins because the cap is near is told from that by `ended`.
    """

    def __init__(self, steps: int, *, peak: float, cap: int | None, patience: int) -> None:
        self.lengths = Lengths.of(steps, cap=cap, patience=patience)
        self._steps, self._peak = steps, peak
        self._loss, self._score, self._idle = float("inf"), 0.0, 0
        self._falls_after: int | None = None
        self._plateau = False
        self._begin_at_cap(0)

    @property
    def last_epoch(self) -> int:
        """The last epoch as far as one knows: the cap, or what follows from the end of progress."""
        return self.lengths.cap if self._falls_after is None else self._falls_after + self.lengths.decay

    @property
    def ended(self) -> str:
        """Why there is an end: PLATEAU, or CAP where there was progress to the last."""
        return PLATEAU if self._plateau or self._idle >= self.lengths.patience else CAP

    @property
    def falling(self) -> bool:
        """Whether the rate falls from now on."""
        return self._falls_after is not None

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rate = self._peak * min(1.0, (step + 1) / max(self.lengths.warmup, 1))
        if self._falls_after is not None:
            left = self.last_epoch * self._steps - step
            rate = min(rate, self._peak * max(left, 0) / (self.lengths.decay * self._steps))
        return rate

    def epoch_done(self, epoch: int, *, loss: float, score: float = 0.0) -> None:
        """Takes what the validation rows say after an epoch, counted from 1; `score` is 1 at best, such as macro F1."""
        better = loss < self._loss * (1 - _LESS_LOSS) or score >= self._score + _MORE
        self._loss, self._score = min(loss, self._loss), max(score, self._score)
        # Before the rate has risen nothing is said about what it can do.
        self._idle = 0 if better or epoch * self._steps <= self.lengths.warmup else self._idle + 1
        if self._falls_after is None and self._idle >= self.lengths.patience:
            self._falls_after, self._plateau = epoch, True
        self._begin_at_cap(epoch)

    def _begin_at_cap(self, epoch: int) -> None:
        if self._falls_after is None and epoch >= self.lengths.cap - self.lengths.decay:
            self._falls_after = epoch
