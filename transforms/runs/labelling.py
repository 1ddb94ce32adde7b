"""What a run writes beside the numbers of the model: labels, date, bundle, precision."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches.repeated import PRECISION, PRECISION_FIELD, repeated
from transforms.batches.schemas import UTC_MICROS, Columns, on_the_way, with_positions
from transforms.batches.score_columns import ABSTAIN, DECISION, scores_schema
from transforms.runs.run import Run

STAGE = "Score"
"""The step that makes Scores, as its dead letters name it."""


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """What turns a model's numbers into the columns of Scores. `labels` is empty for a regression.

    `thresholds` has the probability from which each label is given, where a text may have several; else it is empty.
    With `min_probability` a classification has the column `decision`. `embedding` is the type of the column with the
    head's input vector, None if there is none.
    """

    labels: tuple[str, ...]
    columns: Columns
    run: Run
    top_k: int | None = None
    thresholds: tuple[float, ...] = ()
    min_probability: float | None = None
    embedding: pa.FixedSizeListType | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None and not 1 <= self.top_k <= max(1, len(self.labels)):
            raise ValueError(f"--top-k is {self.top_k}; the bundle has {len(self.labels)} labels")

    @property
    def file_schema(self) -> pa.Schema:
        """Schema of the published files."""
        return self._scores(self.columns.kept)

    @property
    def schema(self) -> pa.Schema:
        """Schema of the arrow to WriteScores: the file's, with position, precision and measures of each row."""
        scores = self._scores(pa.schema(on_the_way(self.columns.kept)))
        return with_positions(scores, digests=self.columns.digests, measures=True)

    def _scores(self, kept: pa.Schema) -> pa.Schema:
        task = "regression" if not self.labels else "multilabel" if self.thresholds else "classification"
        decision, windows = self.min_probability is not None, self.columns.windows
        return scores_schema(kept, task, decision=decision, embedding=self.embedding, windows=windows)


def decided(label: pa.DictionaryArray, probability: pa.Array, labelling: Labelling) -> dict[str, pa.Array]:
    """The column `decision` of rows with these labels (dictionary of string) and probabilities, if the run has it."""
    if labelling.min_probability is None:
        return {}
    # In float32, as the probability is: 0.9 in the flag is the 0.9 that a row may have.
    enough = pc.greater_equal(probability, pa.scalar(np.float32(labelling.min_probability), pa.float32()))
    names = pa.array([*label.dictionary.to_pylist(), ABSTAIN], pa.string())
    places = pc.if_else(enough, label.indices, pa.scalar(len(names) - 1, label.indices.type))
    return {DECISION.name: pa.DictionaryArray.from_arrays(places, names).cast(DECISION.type)}


def same_for_all(labelling: Labelling, rows: int, precision: str) -> dict[str, pa.Array]:
    """The columns of Scores with positions that are the same for all rows: those of the run, and the precision."""
    run = labelling.run
    same = {
        "logical_date": pa.scalar(run.date, pa.date32()),
        "bundle": pa.scalar(run.bundle),
        "run_id": pa.scalar(run.run_id),
        "scored_at": pa.scalar(run.started, UTC_MICROS),
    }
    return {
        PRECISION: repeated(precision, PRECISION_FIELD, rows),
        **{name: pa.repeat(value, rows) for name, value in same.items()},
    }
