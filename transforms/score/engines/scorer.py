"""The protocol of every engine, and what is checked before any of them: several check nothing themselves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle
from model.long_texts import LongTexts
from model.windows import Folding
from transforms.errors import BadRowError
from transforms.score.compute import Compute
from transforms.score.memo import Memo
from transforms.score.micro_batches import Indices

Tokens = npt.NDArray[np.int32]


class Scorer(Protocol):
    """The model: ragged token rows -> float32 [B, W], and how it wants its micro-batches.

    Called with `values` int32 [N], `lengths` int32 [B] and `first_segment` int32 [B]. Raises BadRowError if a row is at
    fault, OutOfMemoryError if so many rows do not fit; any other error is nobody's fault. `token_budget` falls when
    memory runs out, and stays so; `memo` keeps results from one macro-batch to the next. `width` is W: the `classes`
    numbers of a row that its scores are made of, and where the job wants it the embedding behind them. With `fold` rows
    are windows: what it gives are logits, which make those of the text.
    """

    width: int
    classes: int
    engine: str
    precision: str
    token_budget: int
    memo: Memo
    fold: Folding | None

    def plan(self, lengths: npt.NDArray[np.integer]) -> list[Indices]: ...

    def shape(self, rows: int, longest: int) -> tuple[int, int]: ...

    def __call__(self, values: Tokens, lengths: Tokens, first_segment: Tokens) -> npt.NDArray[np.float32]: ...


def outputs_of(bundle: Bundle, compute: Compute) -> dict[str, int]:
    """The outputs of the graph of a bundle that a job reads, with their columns, in the order of Scorer."""
    result = "logits" if bundle.windows else "value" if bundle.task == "regression" else "probabilities"
    return {
        result: max(1, len(bundle.labels)),
        **({"embedding": bundle.embedding_width} if compute.embeddings else {}),
    }


def beside(parts: Sequence[npt.NDArray[np.float32]], rows: int) -> npt.NDArray[np.float32]:
    """The outputs of so many rows as one array [B, W]; one output alone is not copied."""
    parts = [part.reshape(rows, math.prod(part.shape[1:])) for part in parts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def folding_of(bundle: Bundle) -> Folding | None:
    """How the windows of a text make its numbers; None for a bundle that makes none."""
    return Folding.of(LongTexts.of(bundle.long_texts), bundle.max_tokens, bundle.activation)


class Limits(NamedTuple):
    """What a row may have: token ids below `vocabulary`, and at most `positions` of them."""

    vocabulary: int
    positions: int

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> "Limits":
        """Those of the model that a bundle describes."""
        return cls(model["vocab_size"], model["max_sequence_length"])


def check_rows(values: Tokens, lengths: Tokens, first_segment: Tokens, limits: Limits) -> None:
    """Raises BadRowError for rows that no model of these limits can score, ValueError if no row is to blame."""
    if len(lengths) != len(first_segment) or int(lengths.sum()) != len(values):
        raise ValueError(
            f"{len(lengths)} lengths that add up to {int(lengths.sum())}, {len(first_segment)} first segments and "
            f"{len(values)} tokens do not go together"
        )
    if not len(lengths):
        return
    if lengths.min() < 1:
        raise BadRowError("a row has no tokens; every row needs at least [CLS]")
    if lengths.max() > limits.positions:
        raise BadRowError(
            f"a row has {lengths.max()} tokens, more than the {limits.positions} positions of the model; truncate it "
            "before scoring"
        )
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest >= limits.vocabulary:
        wrong = lowest if lowest < 0 else highest
        raise BadRowError(f"token {wrong} is not in the vocabulary, which has {limits.vocabulary}")


def padded(values: Tokens, lengths: Tokens, shape: tuple[int, int]) -> Tokens:
    """Ragged rows as int32 `shape`, at least as many rows and as wide as the longest of them; the rest is token 0."""
    rows, width = shape
    # Token 0 exists in every vocabulary.
    tokens = np.zeros((rows, width), np.int32)
    tokens[: len(lengths)][np.arange(width) < lengths[:, np.newaxis]] = values
    return tokens
