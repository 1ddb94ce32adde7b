"""FitPreprocessing: labelled Texts -> the TF Transform graph, training examples and the corpus baseline."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow_text  # noqa: F401  registers its ops before any graph that has them is loaded
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from transforms.preprocessing import Preprocessing

QUANTILES = (0.5, 0.9, 0.99, 1.0)


class Fitted(NamedTuple):
    """`transform_fn` as tft_beam gives it; `examples`: PCollection[RecordBatch] of TransformDataset's output."""

    transform_fn: Any
    examples: beam.PCollection[pa.RecordBatch]


class FitPreprocessing(beam.PTransform):
    """PCollection[RecordBatch of training input] -> Fitted.

    The input has the columns of `training_schema`. Runs inside a tft_beam.Context.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._preprocessing = preprocessing

    def expand(self, rows: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        data = (rows, tensor_config(self._preprocessing.task))
        transform_fn = data | "Analyze" >> tft_beam.AnalyzeDataset(self._preprocessing)
        transformed, _ = (data, transform_fn) | "Transform" >> tft_beam.TransformDataset(output_record_batches=True)
        examples = transformed | "Examples" >> beam.Keys().with_output_types(pa.RecordBatch)
        return Fitted(transform_fn, examples)


def training_schema(task: str) -> pa.Schema:
    """What AnalyzeDataset and TransformDataset read: lists of one value each (plain columns are refused)."""
    target = pa.large_binary() if task == "classification" else pa.float32()
    return pa.schema(
        [
            ("text", pa.large_list(pa.large_binary())),
            ("target", pa.large_list(target)),
            ("row_key", pa.large_list(pa.large_binary())),
        ]
    )


def tensor_config(task: str) -> TensorAdapterConfig:
    """How those columns become tensors; the row key has none and passes through."""
    return TensorAdapterConfig(
        training_schema(task),
        {
            name: schema_pb2.TensorRepresentation(
                dense_tensor=schema_pb2.TensorRepresentation.DenseTensor(
                    column_name=name, shape=schema_pb2.FixedShape()
                )
            )
            for name in ("text", "target")
        },
    )


def training_batch(texts: pa.Array, targets: pa.Array, row_keys: pa.Array, task: str) -> pa.RecordBatch:
    """Wraps columns of valid, not-null values for TF Transform, copying no text."""
    schema = training_schema(task)
    offsets = pa.array(np.arange(len(texts) + 1, dtype=np.int64))
    columns = [
        pa.LargeListArray.from_arrays(offsets, column.cast(field.type.value_type))
        for column, field in zip((texts, targets, row_keys), schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


class CorpusBaseline(beam.CombineFn):
    """Training examples -> dict: quantiles of the token count, shares of unknown tokens and truncated texts."""

    def __init__(self, unknown_token: int) -> None:
        self._unknown = unknown_token

    def create_accumulator(self) -> npt.NDArray[np.int64]:
        return np.zeros(_LENGTHS, np.int64)

    def add_input(self, so_far: npt.NDArray[np.int64], batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
        tokens = batch.column("tokens")
        lengths = np.diff(tokens.offsets.to_numpy())
        counts = np.bincount(lengths, minlength=_LENGTHS).astype(np.int64)
        counts[0] = int((tokens.flatten().to_numpy() == self._unknown).sum())
        counts[1] = int(batch.column("truncated").flatten().to_numpy().sum())
        return so_far + counts

    def merge_accumulators(self, accumulators: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        return np.sum(list(accumulators), axis=0)  # type: ignore[no-any-return]

    def extract_output(self, counts: npt.NDArray[np.int64]) -> dict[str, Any]:
        lengths = counts.copy()
        lengths[:2] = 0  # No text has fewer than two tokens: the first places hold the other two counts.
        rows, cumulated = int(lengths.sum()), lengths.cumsum()
        tokens = int((lengths * np.arange(len(lengths))).sum())
        if not rows:
            return {"rows": 0}
        return {
            "rows": rows,
            "token_quantiles": {str(q): int(np.searchsorted(cumulated, q * rows)) for q in QUANTILES},
            "unknown_token_share": round(int(counts[0]) / tokens, 6),
            "truncated_share": round(int(counts[1]) / rows, 6),
        }


_LENGTHS = 1 << 14
