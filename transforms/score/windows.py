"""Scoring texts that have several windows: each window is a row of the macro-batch, and a text what its windows make.

Knows no Beam and no engine.
"""

import numpy as np
import pyarrow as pa

from model.windows import Windows
from transforms.score.engines.scorer import Scorer
from transforms.score.macro_batch import Computed, Ragged, Results, Tell, compute_rows, score_rows


def score_texts(texts: Ragged, scorer: Scorer, tell: Tell = lambda rows: None) -> Results:
    """What score_rows does, of texts with windows too: windows with the same tokens are scored once, whatever their
    text, and a text fails with any of its windows.

    Of `work`, a text is scored if a window was computed for it, else copied if it has one from this macro-batch, else
    remembered.
    """
    if texts.windows is None:
        return score_rows(texts, scorer, tell)
    windows, fold = texts.windows, scorer.fold
    if fold is None:
        raise ValueError("texts have windows, but the bundle of this model makes none")
    count, offsets = len(texts.first_segment), windows.offsets
    computed = compute_rows(one_by_one(texts), scorer, _in_texts(tell, len(windows.lengths), count))
    inverse = computed.unique.inverse
    logits, vectors = np.split(computed.outputs[inverse], [scorer.classes], axis=1)
    folded = fold(logits, offsets)
    if not count:
        outputs = computed.outputs[:0]
        return Results(outputs, np.zeros(0, bool), computed.spent.work(scorer, rows=0), folded.deciding)
    failed = np.logical_or.reduceat(computed.failed[inverse], offsets[:-1])
    scored, copied, remembered = _counted(computed, windows, failed)
    work = computed.spent.work(
        scorer,
        rows=count,
        scored=scored,
        copied=copied,
        remembered=remembered,
        windows=len(windows.lengths),
        windows_computed=int((~computed.known & ~computed.failed).sum()),
    )
    outputs = np.concatenate([fold.shown(folded.logits), fold.vectors(vectors, offsets, folded.deciding)], axis=1)
    return Results(outputs, failed, work, folded.deciding)


def windows_of(column: pa.ListArray) -> Windows:
    """Those that the column `windows` of Tokens says, which may be a slice of a longer one."""
    offsets = column.offsets.to_numpy().astype(np.int64)
    return Windows(column.flatten().to_numpy(), offsets - offsets[0])


def one_by_one(texts: Ragged) -> Ragged:
    """Each window as a row; texts without windows as they are."""
    if texts.windows is None:
        return texts
    lengths = texts.windows.lengths
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    return Ragged(texts.values, offsets, lengths.astype(np.int32))


def _counted(computed: Computed, windows: Windows, failed: np.ndarray) -> tuple[int, int, int]:
    """How many texts that did not fail were scored, copied and remembered."""
    inverse, starts = computed.unique.inverse, windows.offsets[:-1]
    known = computed.known[inverse]
    first = np.zeros(len(inverse), bool)
    first[computed.unique.first] = True
    scored = np.logical_or.reduceat(first & ~known, starts)
    remembered = np.logical_and.reduceat(known, starts)
    kinds = (scored, ~scored & ~remembered, remembered)
    return tuple(int((kind & ~failed).sum()) for kind in kinds)  # type: ignore[return-value]


def _in_texts(tell: Tell, windows: int, texts: int) -> Tell:
    """Tells windows that are done as so many texts: of the share of the windows, as texts end out of order."""
    done = 0

    def told(more: int) -> None:
        nonlocal done
        before, done = done, done + more
        if windows:
            tell(done * texts // windows - before * texts // windows)

    return told
