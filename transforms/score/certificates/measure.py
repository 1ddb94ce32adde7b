"""Scores the same rows in float32 and in another precision, on this machine, and says what changed. Knows no Beam."""

import datetime as dt
from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.bundle import OPENVINO, TENSORFLOW, Bundle
from transforms.score.certificates.certificate import (
    Certificate,
    Changed,
    ChipOfCertificate,
    Gold,
    Probabilities,
    Speed,
    Values,
)
from transforms.score.certificates.statistics import mcnemar, wilson
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.chips import Chip
from transforms.score.engines.choice import Choice, load_scorer
from transforms.score.engines.scorer import Scorer
from transforms.score.macro_batch import Ragged
from transforms.score.memo import Memo
from transforms.score.micro_batches import unique_rows
from transforms.score.windows import score_texts

AT_ONCE = 512
"""Rows that one precision scores before it is the other's turn: both meet the same disturbances."""
Numbers = npt.NDArray[np.float32]


class Compared(NamedTuple):
    """Outputs of both, float32 [B, C], NaN where there is none, and how many rows a second each computed."""

    plain: Numbers
    other: Numbers
    speed: Speed


def certify(
    bundle: Bundle,
    rows: Ragged,
    choice: Choice,
    *,
    device: Device,
    chip: Chip,
    limit: float,
    gold: Sequence[str | float | None] | None = None,
    left_out: int = 0,
) -> Certificate:
    """The certificate of a bundle in the precision and engine of `choice`, from token rows.

    `gold` has the right label, or value, of each row, where it is known. Equal rows count once. `left_out` rows had no
    tokens. Raises ValueError without rows.
    """
    if not len(rows.first_segment):
        raise ValueError("no row is left to compare; give rows with texts")
    first = unique_rows(*rows.keyed).first
    compared = compare(
        rows.take(first),
        load_scorer(bundle, Compute(precision="float32"), device),
        load_scorer(bundle, Compute(precision=choice.precision, engine=choice.engine), device),
    )
    # What float32 cannot score either says nothing about the other precision.
    sound = np.isfinite(compared.plain).all(axis=1)
    plain, other = compared.plain[sound], compared.other[sound]
    known = None if gold is None else [gold[row] for row in first[sound]]
    if not len(plain):
        raise ValueError("float32 gave no finite number for any row")
    labelled = bundle.task != "regression"
    made = Certificate(
        bundle=bundle.reference,
        task=bundle.task,  # type: ignore[arg-type]
        precision=str(choice.precision),
        engine=choice.engine,
        chip=ChipOfCertificate(kind=chip.kind, name=chip.name),
        versions={name: version(name) for name in {TENSORFLOW, choice.engine} & {TENSORFLOW, OPENVINO}},
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        rows=len(plain),
        copies=len(rows.first_segment) - len(first),
        left_out=left_out + len(first) - len(plain),
        changed=changed_labels(plain, other, bundle.thresholds) if labelled else None,
        probabilities=changed_probabilities(plain, other) if labelled else None,
        values=None if labelled else changed_values(plain[:, 0], other[:, 0]),
        gold=None if known is None else against_gold(plain, other, known, bundle.labels),
        texts_per_second=compared.speed,
        limit=limit,
    )
    verdict, missing = made.judged(limit)
    return made.model_copy(update={"verdict": verdict, "rows_missing": missing})


def compare(rows: Ragged, plain: Scorer, other: Scorer) -> Compared:
    """Scores all rows with both, by turns; each of them compiles what the first turn needs before anything is timed.

    What later turns still compile is in the time of a few: the speeds are the medians of the turns.
    """
    count, both = len(rows.first_segment), (plain, other)
    for scorer in both:
        score_texts(rows.slice(slice(0, min(count, AT_ONCE))), scorer)
        # The rows are scored once more, and timed.
        scorer.memo = Memo(scorer.width)
    outputs = [np.empty((count, scorer.width), np.float32) for scorer in both]
    speeds: tuple[list[float], list[float]] = ([], [])
    for turn, start in enumerate(range(0, count, AT_ONCE)):
        part = slice(start, min(count, start + AT_ONCE))
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            found = score_texts(rows.slice(part), both[which])
            outputs[which][part] = found.outputs
            if found.work.model_nanos:
                speeds[which].append(1e9 * found.work.scored / found.work.model_nanos)
    middle = [float(np.median(found)) if found else 0.0 for found in speeds]
    return Compared(outputs[0], outputs[1], Speed(plain=middle[0], other=middle[1]))


def changed_labels(plain: Numbers, other: Numbers, thresholds: Sequence[float] = ()) -> Changed:
    """Rows [B, C] whose largest entry is another one, or of several labels, whose entries at or above their thresholds
    are others; a row without finite numbers has changed.
    """
    if thresholds:
        least = np.array(thresholds, np.float32)
        moved = ((plain >= least) != (other >= least)).any(axis=1) | ~np.isfinite(other).all(axis=1)
        count = int(moved.sum())
    else:
        count = int((_best(plain) != _best(other)).sum())
    low, high = wilson(count, len(plain))
    return Changed(labels=count, share=count / len(plain), low=low, high=high)


def changed_probabilities(plain: Numbers, other: Numbers) -> Probabilities:
    """How far probabilities [B, C] moved."""
    moved = np.nan_to_num(np.abs(other.astype(np.float64) - plain), nan=1.0, posinf=1.0).max(axis=1)
    return Probabilities(largest=float(moved.max()), mean=float(moved.mean()))


def changed_values(plain: Numbers, other: Numbers) -> Values:
    """How far values [B] moved; a value that is not finite moved by the whole spread at least."""
    values, spread = plain.astype(np.float64), float(plain.astype(np.float64).std())
    far = max(spread, float(np.abs(values).max()), 1.0)
    moved = np.nan_to_num(np.abs(other.astype(np.float64) - values), nan=far, posinf=far)
    rms = float(np.sqrt((moved**2).mean()))
    return Values(
        rms=rms,
        deviation=float((moved**2).std()),
        spread=spread,
        share=rms / spread if spread else None,
        largest=float(moved.max()),
        mean=float(moved.mean()),
    )


def against_gold(
    plain: Numbers, other: Numbers, gold: Sequence[str | float | None], labels: Sequence[str]
) -> Gold | None:
    """Which of both is right how often; a label that the bundle does not have is wrong in both. None without gold."""
    known = np.array([one is not None for one in gold], bool)
    if not known.any():
        return None
    if not labels:
        right = np.array([one for one in gold if one is not None], np.float64)
        correlations = [_pearson(values[known, 0].astype(np.float64), right) for values in (plain, other)]
        return Gold(rows=int(known.sum()), plain=correlations[0], other=correlations[1])
    number = {label: place for place, label in enumerate(labels)}
    right = np.array([number.get(str(one), -2) for one in gold if one is not None])
    first, second = _best(plain)[known] == right, _best(other)[known] == right
    only_plain, only_other = int((first & ~second).sum()), int((second & ~first).sum())
    return Gold(
        rows=len(right),
        plain=float(first.mean()),
        other=float(second.mean()),
        only_plain=only_plain,
        only_other=only_other,
        p=mcnemar(only_plain, only_other),
    )


def _best(outputs: Numbers) -> npt.NDArray[np.intp]:
    """The column of the largest entry, -1 in rows that are not finite."""
    finite = np.isfinite(outputs).all(axis=1)
    return np.where(finite, np.nan_to_num(outputs).argmax(axis=1), -1)


def _pearson(values: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float | None:
    if len(values) < 2 or not np.isfinite(values).all() or values.std() == 0 or right.std() == 0:
        return None
    return float(np.corrcoef(values, right)[0, 1])
