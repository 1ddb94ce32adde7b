"""What a run writes beside the numbers of the model: labels, date, bundle, precision."""

from dataclasses import dataclass

import pyarrow as pa

from transforms.batches.schemas import UTC_MICROS, Columns, on_the_way, placed, scores_schema
from transforms.runs.run import Run

STAGE = "Score"
"""The step that makes Scores, as its dead letters name it."""
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
        return scores_schema(self.columns.kept, self._task)

    @property
    def schema(self) -> pa.Schema:
        """Schema of the arrow to WriteScores: the file's, with the place of each row."""
        scores = scores_schema(pa.schema(on_the_way(self.columns.kept)), self._task)
        return placed(scores, digests=self.columns.digests)

    @property
    def _task(self) -> str:
        return "classification" if self.labels else "regression"


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
