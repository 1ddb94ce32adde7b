"""The columns of the published rows, and the names that they take."""

import pyarrow as pa

from transforms.batches.schemas import DATE_KEY, LABEL, OF_WINDOWS, UTC_MICROS, required

PROBABILITIES = pa.list_(
    pa.field("item", pa.struct([required("label", LABEL), required("probability", pa.float32())]), nullable=False)
)


DECISION = pa.field("decision", LABEL)
"""The label, or ABSTAIN; a column that was added later, so it is nullable."""
ABSTAIN = "abstain"
"""What the column `decision` has in place of a label that is not probable enough."""
EMBEDDING = "embedding"
"""The column with the head's input vector; added later too."""


def embedding_type(numbers: str, width: int) -> pa.FixedSizeListType:
    """Type of the column `embedding`: so many `numbers` a row, which are float32 or float16."""
    return pa.list_(required("item", {"float32": pa.float32(), "float16": pa.float16()}[numbers]), width)


def scores_schema(
    kept: pa.Schema,
    task: str,
    *,
    decision: bool = False,
    embedding: pa.DataType | None = None,
    windows: bool = False,
) -> pa.Schema:
    """Score -> Write, and the Parquet files: one row per scored text; `task` is that of a bundle.

    With `decision` a classification has that column, with the type `embedding` all have the column of that name, and
    with `windows` those of bundles that make windows.
    """
    one = [required("label", LABEL), required("probability", pa.float32())]
    several = [required("labels", PROBABILITIES)]
    listed = required("probabilities", PROBABILITIES)
    results = {"classification": [*one, listed, *([DECISION] if decision else [])], "multilabel": [*several, listed]}
    result = results.get(task, [required("value", pa.float32())])
    vector = [] if embedding is None else [pa.field(EMBEDDING, embedding)]
    return pa.schema(
        [
            required("id", pa.string()),
            *kept,
            *result,
            *vector,
            required("token_count", pa.int32()),
            required("truncated", pa.bool_()),
            *(OF_WINDOWS if windows else []),
            required("text_hash", pa.int64()),
            required("logical_date", pa.date32()),
            required("bundle", pa.string()),
            required("run_id", pa.string()),
            required("scored_at", UTC_MICROS),
        ]
    )


def written_names(
    task: str, *, folder: bool = True, decision: bool = False, embedding: bool = False, windows: bool = False
) -> frozenset[str]:
    """The names no kept column can have: of columns that a job writes, and in a `folder` the key of its dates."""
    own = scores_schema(pa.schema([]), task, decision=decision, windows=windows).names
    return frozenset({*own, *([EMBEDDING] if embedding else []), *([DATE_KEY] if folder else [])})
