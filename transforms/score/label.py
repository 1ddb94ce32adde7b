"""From a model's numbers to the columns of Scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.batches.dead_letters import reject
from transforms.batches.schemas import UTC_MICROS, Columns, check, placed, scores_schema
from transforms.runs.run import Run

STAGE = "Score"
_FEW = 16
_PRECISION = b"precision"


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """What turns a model's numbers into the columns of Scores. `labels` is empty for a regression."""

    labels: tuple[str, ...]
    columns: Columns
    run: Run
    top_k: int | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None and not 1 <= self.top_k <= max(1, len(self.labels)):
            raise ValueError(f"--top-k is {self.top_k}; the bundle has {len(self.labels)} labels")

    @property
    def file_schema(self) -> pa.Schema:
        """Schema of the published files."""
        return scores_schema(self.columns.kept, "classification" if self.labels else "regression")

    @property
    def schema(self) -> pa.Schema:
        """Schema of the arrow to WriteScores: the file's, with the place of each row."""
        return placed(self.file_schema, digests=self.columns.digests)


def label(
    batch: pa.RecordBatch, labelling: Labelling, precision: str = ""
) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """An output of `infer` -> placed Scores, and dead letters for rows that failed or are not finite (or None).

    `precision`, in which they were computed, goes with the rows: see `precision_of`.
    """
    width = max(1, len(labelling.labels))
    outputs = batch.column("outputs").flatten().to_numpy().reshape(batch.num_rows, width)
    failed = batch.column("failed").to_numpy(zero_copy_only=False)
    good = np.isfinite(outputs).all(axis=1) & ~failed
    dead = None
    if not good.all():
        bad = np.flatnonzero(~good)
        codes = ["not_scored" if failed[row] else "not_finite" for row in bad]
        reasons = ["the model failed on this text" if failed[row] else "the model gave NaN or infinity" for row in bad]
        dead = reject(batch, bad, STAGE, codes, reasons)
        batch, outputs = batch.filter(pa.array(good)), outputs[good]
    schema = labelling.schema
    own = _classes(outputs, labelling) if labelling.labels else {"value": pa.array(outputs[:, 0])}
    own |= same_for_all(labelling, batch.num_rows)
    arrays = [own[name] if name in own else batch.column(name) for name in schema.names]
    scores = pa.RecordBatch.from_arrays(arrays, schema=with_precision(schema, precision))
    return check(scores, schema, STAGE), dead


def same_for_all(labelling: Labelling, rows: int) -> dict[str, pa.Array]:
    """The columns that say the same of every row of a run."""
    run = labelling.run
    same = {
        "logical_date": pa.scalar(run.date, pa.date32()),
        "bundle": pa.scalar(run.bundle),
        "run_id": pa.scalar(run.run_id),
        "scored_at": pa.scalar(run.started, UTC_MICROS),
    }
    return {name: pa.repeat(value, rows) for name, value in same.items()}


def with_precision(schema: pa.Schema, precision: str) -> pa.Schema:
    """The schema of rows that were computed in `precision`."""
    return schema.with_metadata({_PRECISION: precision})


def precision_of(batch: pa.RecordBatch) -> str:
    """What placed Scores were computed in; empty where nothing was."""
    return (batch.schema.metadata or {}).get(_PRECISION, b"").decode()  # type: ignore[no-any-return]


def _classes(probabilities: npt.NDArray[np.float32], labelling: Labelling) -> dict[str, pa.Array]:
    """label, probability and probabilities, most probable first; equal ones in the order of the labels."""
    kept = labelling.top_k or len(labelling.labels)
    order = _top(probabilities, kept).astype(np.int32)
    ranked = np.take_along_axis(probabilities, order, axis=1)
    item = labelling.schema.field("probabilities").type.value_type
    entries = pa.StructArray.from_arrays(
        [_labels(order.reshape(-1), labelling.labels), pa.array(ranked.reshape(-1))], fields=list(item)
    )
    offsets = pa.array(np.arange(len(order) + 1, dtype=np.int32) * kept)
    listed = labelling.schema.field("probabilities").type
    return {
        "label": _labels(order[:, 0], labelling.labels),
        "probability": pa.array(np.ascontiguousarray(ranked[:, 0])),
        "probabilities": pa.ListArray.from_arrays(offsets, entries, type=listed),
    }


def _top(probabilities: npt.NDArray[np.float32], kept: int) -> npt.NDArray[np.intp]:
    """Columns of the `kept` largest of each row, largest first; of equal ones the first column comes first."""
    if kept > _FEW or kept == probabilities.shape[1]:
        return np.argsort(-probabilities, axis=1, kind="stable")[:, :kept]
    # A few passes cost less than sorting many classes.
    left = probabilities.copy()
    order = np.empty((len(left), kept), np.intp)
    for place in range(kept):
        order[:, place] = left.argmax(axis=1)
        np.put_along_axis(left, order[:, place : place + 1], -np.inf, axis=1)
    return order


def _labels(indices: npt.NDArray[np.int32], labels: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.ascontiguousarray(indices)), pa.array(labels, pa.string()))
