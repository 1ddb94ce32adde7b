"""Whether contestants computed the same: who is faster at something else has won nothing."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

LIMITS = {"float32": 1e-3, "bfloat16": 0.15, "int8": 1.0}
"""Largest difference of logits that a precision explains: random BERT-base weights give up to 3, off by up to 0.06."""
CLOSE = {"float32": 1e-3, "bfloat16": 0.05, "int8": 0.3}
"""Largest difference of the probability of the best class; random weights are the worst case."""


class Scored(NamedTuple):
    """The best class of a row, its probability, and by how much it is ahead of the second; 1 if nobody knows."""

    label: int
    probability: float
    ahead: float = 1.0


Scores = dict[str, Scored]
"""id -> what a contestant says of the row."""


class WrongResultError(Exception):
    """A contestant has computed something else."""


def logits_differ(name: str, logits: Any, reference: Any, precision: str) -> float:
    """Largest difference up to what softmax does not see; raises WrongResultError above the limit of the precision."""
    first, second = (np.asarray(each) - np.mean(each, axis=1, keepdims=True) for each in (logits, reference))
    if first.shape != second.shape:
        raise WrongResultError(f"{name}: logits of shape {first.shape}, not {second.shape}")
    off = float(np.abs(first - second).max())
    # Negated, so that NaN is wrong too.
    if not off <= LIMITS[precision]:
        raise WrongResultError(f"{name}: logits are off by {off:.2g}, more than {precision} explains")
    return off


def tokens_differ(name: str, count: int, ours: int) -> None:
    """Raises WrongResultError if a tokenizer has made another number of tokens of the same texts: one in a thousand."""
    if abs(count - ours) > ours / 1_000:
        raise WrongResultError(f"{name}: {count:,} tokens, this project has {ours:,}")


def published_scores(output: Path) -> Scores:
    """What this project has published below `output`; its classes are named "class 0" and so on."""
    rows = [row for file in output.glob("dt=*/part-*.parquet") for row in pq.ParquetFile(file).read().to_pylist()]
    found = {}
    for row in rows:
        best, second = (each["probability"] for each in row["probabilities"][:2])
        found[row["id"]] = Scored(int(row["label"].removeprefix("class ")), best, best - second)
    return found


def written_scores(file: Path) -> Scores:
    """What a script has written, as Parquet or as lines of JSON."""
    if file.suffix == ".parquet":
        rows = pq.read_table(file).to_pylist()
    else:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {row["id"]: Scored(int(row["label"]), row["probability"]) for row in rows}


def check_scores(name: str, found: Scores, ours: Scores, rows: int, precision: str = "float32") -> float:
    """Raises WrongResultError unless both have scored all rows, with about the same probability of the best class.

    Another class may be best only where two were so near each other that `precision` explains it. Returns the share
    of rows of which that is so.
    """
    if len(ours) != rows:
        raise WrongResultError(f"this project: {len(ours)} of {rows} rows scored")
    if found.keys() != ours.keys():
        raise WrongResultError(f"{name}: {len(found.keys() & ours.keys())} of {rows} rows scored")
    close, changed = CLOSE[precision], 0
    for key, right in ours.items():
        other = found[key].label != right.label
        changed += other
        if not abs(found[key].probability - right.probability) <= close or (other and right.ahead > 2 * close):
            raise WrongResultError(f"{name}: row {key} is {found[key][:2]}, not {right[:2]}")
    return changed / rows
