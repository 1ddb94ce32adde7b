"""FitPreprocessing: labelled Texts -> the TF Transform graph, training examples and the corpus baseline."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_text  # noqa: F401  registers its ops before any graph that has them is loaded
import tensorflow_transform.beam as tft_beam
from apache_beam.pvalue import TaggedOutput
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from model.tokenizer.tokenization import SEGMENTS
from transforms.batches import coder as coder
from transforms.batches.dead_letters import reject
from transforms.batches.schemas import KEPT
from transforms.batches.texts import as_text, join_labels
from transforms.featurize.preprocessing import Preprocessing

QUANTILES = (0.5, 0.9, 0.99, 1.0)


TARGET = "target"
"""The label column on its way from Read to the graph (its own name may be one of the output's)."""


class Labelled(NamedTuple):
    """`rows`: PCollection[RecordBatch of training_schema]; `dead`: PCollection[RecordBatch of REJECTED]."""

    rows: beam.PCollection[pa.RecordBatch]
    dead: beam.PCollection[pa.RecordBatch]


class LabelTexts(beam.PTransform):
    """PCollection[RecordBatch of Texts with the kept column `target`] -> Labelled; rows without a target are dead.

    `files` None: the key of a row is its id; else what `files` has for its file, and its place there. `separator`: see
    join_labels, which reads the labels where the task is multilabel.
    """

    def __init__(self, task: str, files: Mapping[str, str] | None = None, separator: str | None = None) -> None:
        super().__init__()
        self._task, self._files, self._separator = task, files, separator

    def expand(self, texts: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        take = beam.ParDo(_TakeTargets(self._files, self._separator), self._task)
        outputs = texts | "TakeTargets" >> take.with_outputs("dead", main="rows")
        return Labelled(outputs.rows, outputs.dead)


class _TakeTargets(beam.DoFn):
    def __init__(self, files: Mapping[str, str] | None = None, separator: str | None = None) -> None:
        self._files, self._separator = files, separator

    def process(
        self, texts: pa.RecordBatch, task: str
    ) -> Iterator[pa.RecordBatch | TaggedOutput[Literal["dead"], pa.RecordBatch]]:
        targets, good = targets_of(texts.column(KEPT + TARGET), task, self._separator)
        bad = np.flatnonzero(~good.to_numpy(zero_copy_only=False))
        if len(bad):
            reason = f"the label is null, absent, or {_NO_TARGET[task]}"
            yield TaggedOutput("dead", reject(texts, bad, "Label", ["missing_label"] * len(bad), [reason] * len(bad)))
            texts, targets = texts.filter(good), targets.filter(good)
        if texts.num_rows:
            pairs = texts.column("text_pair") if "text_pair" in texts.schema.names else None
            yield training_batch(texts.column("text"), targets, row_keys(texts, self._files), task, pairs)


_NO_TARGET = {
    "classification": "not readable",
    "multilabel": "not readable as labels, in a list or separated, that hold no end of a line",
    "regression": "not a number that is finite in float32",
}


def targets_of(column: pa.Array, task: str, separator: str | None = None) -> tuple[pa.Array, pa.Array]:
    """The labels of rows as the graph takes them (strings, or numbers of a regression), and which of them are there."""
    if task == "multilabel":
        joined = join_labels(as_text(column), separator)
        return joined, pc.is_valid(joined)
    # --schema may say what a label is; the graph takes a string or a float.
    targets = as_text(column) if task == "classification" else column.cast(pa.float64(), safe=False)
    good = pc.is_valid(targets)
    if task == "regression":
        # In the type that the network is trained in: 1e300 is no number there.
        good = pc.and_(good, pc.is_finite(pc.fill_null(targets, 0.0).cast(pa.float32())))
    return targets, good


def row_keys(texts: pa.RecordBatch, files: Mapping[str, str] | None) -> pa.Array:
    """What tells the rows of a training apart: their ids, or where `files` is given, `<name of the file>#<row>`."""
    if files is None:
        return texts.column("id")
    source = texts.column("source")
    names = pa.array([files[path] for path in source.dictionary.to_pylist()], pa.string())
    return pc.binary_join_element_wise(names.take(source.indices), texts.column("row").cast(pa.string()), "#")


class FitPreprocessing(beam.PTransform):
    """PCollection[RecordBatch of training_schema] -> the transform_fn as tft_beam gives it.

    Runs inside a tft_beam.Context.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._preprocessing = preprocessing

    def expand(self, rows: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        data = (rows, tensor_config(self._preprocessing.task, self._preprocessing.tokenizer.segments))
        return data | "Analyze" >> tft_beam.AnalyzeDataset(self._preprocessing)


class MakeExamples(beam.PTransform):
    """PCollection[RecordBatch of training_schema] -> PCollection[RecordBatch of examples_schema]."""

    def __init__(self, task: str, transform_fn: Any, segments: int = 1) -> None:
        super().__init__()
        self._task, self._transform_fn, self._segments = task, transform_fn, segments

    def expand(self, rows: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        data = (rows, tensor_config(self._task, self._segments))
        transform = tft_beam.TransformDataset(output_record_batches=True)
        transformed, _ = (data, self._transform_fn) | "Transform" >> transform
        return transformed | "WithoutRest" >> beam.Keys().with_output_types(pa.RecordBatch)


def training_schema(task: str, segments: int = 1) -> pa.Schema:
    """What AnalyzeDataset and TransformDataset read: lists of one value each (plain columns are refused)."""
    texts = [(name, pa.large_list(pa.large_binary())) for name in SEGMENTS[:segments]]
    target = pa.float32() if task == "regression" else pa.large_binary()
    return pa.schema(
        [
            *texts,
            ("target", pa.large_list(target)),
            ("row_key", pa.large_list(pa.large_binary())),
        ]
    )


def tensor_config(task: str, segments: int = 1) -> TensorAdapterConfig:
    """How those columns become tensors; the row key has none and passes through."""
    return TensorAdapterConfig(
        training_schema(task, segments),
        {
            name: schema_pb2.TensorRepresentation(
                dense_tensor=schema_pb2.TensorRepresentation.DenseTensor(
                    column_name=name, shape=schema_pb2.FixedShape()
                )
            )
            for name in (*SEGMENTS[:segments], TARGET)
        },
    )


def training_batch(
    texts: pa.Array, targets: pa.Array, row_keys: pa.Array, task: str, pairs: pa.Array | None = None
) -> pa.RecordBatch:
    """Wraps columns of valid, not-null values for TF Transform, copying no text. `pairs`: the second texts, if any."""
    segments = [texts] if pairs is None else [texts, pairs]
    schema = training_schema(task, len(segments))
    offsets = pa.array(np.arange(len(texts) + 1, dtype=np.int64))
    columns = [
        pa.LargeListArray.from_arrays(offsets, column.cast(field.type.value_type))
        for column, field in zip((*segments, targets, row_keys), schema, strict=True)
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
        lengths = lengths[lengths > 0]  # A text with too many windows has no tokens, and is no example.
        counts = np.bincount(lengths, minlength=_LENGTHS).astype(np.int64)
        counts[0] = int((tokens.flatten().to_numpy() == self._unknown).sum())
        counts[1] = int(batch.column("truncated").flatten().to_numpy().sum())
        return _sum(so_far, counts)

    def merge_accumulators(self, accumulators: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        return functools.reduce(_sum, accumulators, self.create_accumulator())

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
"""Lengths that are counted in any case; texts with many windows are longer."""


def _sum(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total
