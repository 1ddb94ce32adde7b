"""ScoreTokens: Tokens -> Scores, through Beam's RunInference and the scoring graph of the bundle."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import TaggedOutput

from model.windows import NOBODY, Windows
from transforms.batches import coder as coder
from transforms.batches.repeated import WORK, WORK_FIELD, repeated, value_of
from transforms.batches.schemas import (
    MAX_BATCH_BYTES,
    MAX_ROWS,
    OF_WINDOWS,
    Columns,
    check,
    outputs_schema,
    tokens_schema,
)
from transforms.batches.sizes import parts, total_bytes
from transforms.runs.heartbeats import start_heartbeat
from transforms.runs.labelling import STAGE, Labelling
from transforms.runs.progress import Teller
from transforms.runs.row_counts import Work
from transforms.score.compute import Compute
from transforms.score.devices import find_device, require_gpu
from transforms.score.engines.choice import load_scorer
from transforms.score.engines.scorer import Scorer
from transforms.score.label import label
from transforms.score.macro_batch import Ragged, Results, Tell
from transforms.score.windows import score_texts, windows_of
from transforms.stores.bundles import BundleReference, open_pinned_bundle


class BertModelHandler(ModelHandler[pa.RecordBatch, pa.RecordBatch, Scorer]):
    """One RecordBatch of Tokens is one macro-batch: out comes what the model gave for its rows."""

    def __init__(self, bundle: BundleReference, columns: Columns, compute: Compute) -> None:
        super().__init__()
        self._bundle, self._columns, self._compute = bundle, columns, compute

    def load_model(self) -> Scorer:
        # First: a process that dies while it loads the model is to be missed too.
        start_heartbeat(self._compute.heartbeats)
        device = find_device()
        if self._compute.needs_gpu:
            require_gpu(device)
        return load_scorer(open_pinned_bundle(self._bundle), self._compute, device)

    def run_inference(
        self, batch: pa.RecordBatch, model: Scorer, inference_args: dict[str, Any] | None = None
    ) -> list[pa.RecordBatch]:
        check(batch, tokens_schema(self._columns), STAGE)
        teller = Teller(self._compute.progress, batch.num_rows)
        scored = score_batch(batch, model, self._columns, teller)
        teller.end()
        return cut_outputs(scored) if self._compute.embeddings else [scored]

    def get_num_bytes(self, batch: pa.RecordBatch) -> int:
        return int(batch.nbytes)

    def get_metrics_namespace(self) -> str:
        return STAGE


def score_batch(
    batch: pa.RecordBatch, model: Scorer, columns: Columns, tell: Tell = lambda rows: None
) -> pa.RecordBatch:
    """Tokens -> what the model gave for each row: see outputs_schema. `tell`: see score_rows."""
    windows = windows_of(batch.column("windows")) if columns.windows else None
    tokens = batch.column("tokens")
    offsets = tokens.offsets.to_numpy()
    first_segment = batch.column("first_segment").to_numpy()
    ragged = Ragged(tokens.flatten().to_numpy(), offsets - offsets[0], first_segment, windows)
    results = score_texts(ragged, model, tell)
    schema = outputs_schema(columns)
    ends = pa.array(np.arange(batch.num_rows + 1, dtype=np.int32) * model.width)
    numbers = pa.array(results.outputs.reshape(-1))
    made = {
        "token_count": pa.array(np.diff(offsets), pa.int32()),
        "outputs": pa.ListArray.from_arrays(ends, numbers, type=schema.field("outputs").type),
        "failed": pa.array(results.failed),
        WORK: repeated(results.work._asdict(), WORK_FIELD, batch.num_rows),
    }
    if windows is not None:
        made |= _of_windows(results, windows, model)
    arrays = [made[name] if name in made else batch.column(name) for name in schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _of_windows(results: Results, windows: Windows, model: Scorer) -> dict[str, pa.Array]:
    """The columns OF_WINDOWS."""
    assert results.deciding is not None
    assert model.fold is not None
    deciding, nobody = results.deciding, results.deciding == NOBODY
    first = pa.array(deciding * np.int32(model.fold.step), pa.int32(), mask=nobody)
    columns = (pa.array(windows.counts, pa.int32()), pa.array(deciding, pa.int32(), mask=nobody), first)
    return {field.name: column for field, column in zip(OF_WINDOWS, columns, strict=True)}


def cut_outputs(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    """An output of `score_batch` in parts of at most MAX_BATCH_BYTES, the first with the Work of all."""
    if total_bytes(batch) <= MAX_BATCH_BYTES:
        return [batch]
    nothing = Work(precision=work_of(batch).precision)._asdict()
    rest = batch.set_column(
        batch.schema.get_field_index(WORK), WORK_FIELD, repeated(nothing, WORK_FIELD, batch.num_rows)
    )
    places = parts(batch, (), MAX_ROWS)
    return [(rest if start else batch).slice(start, end - start) for start, end in places]


def work_of(batch: pa.RecordBatch) -> Work:
    """The Work that an output of `score_batch` took."""
    return Work(**value_of(batch, WORK_FIELD))


class Scored(NamedTuple):
    """`scores`: PCollection[RecordBatch of Scores with positions]; `dead`: of REJECTED; `work`: PCollection[Work]."""

    scores: beam.PCollection[pa.RecordBatch]
    dead: beam.PCollection[pa.RecordBatch]
    work: beam.PCollection[Work]


class ScoreTokens(beam.PTransform):
    """PCollection[RecordBatch of Tokens] -> Scored."""

    def __init__(self, bundle: BundleReference, labelling: Labelling, compute: Compute) -> None:
        super().__init__()
        self._bundle, self._labelling, self._compute = bundle, labelling, compute

    def expand(self, tokens: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        handler = BertModelHandler(self._bundle, self._labelling.columns, self._compute).with_no_batching()
        # RunInference declares Any, and Any travels as a pickle.
        inference = RunInference(handler).with_output_types(pa.RecordBatch)
        # Not on the handler: its hints would reach the inner step alone, and lists of batches would travel to it.
        inference = inference.with_resource_hints(**self._compute.hints)
        outputs = (
            tokens
            | "RunInference" >> inference
            | "Label" >> beam.ParDo(_Label(self._labelling)).with_outputs("dead", "work", main="scores")
        )
        return Scored(outputs.scores, outputs.dead, outputs.work)


class _Label(beam.DoFn):
    def __init__(self, labelling: Labelling) -> None:
        self._labelling = labelling

    def process(
        self, batch: pa.RecordBatch
    ) -> Iterator[pa.RecordBatch | TaggedOutput[Literal["dead"], pa.RecordBatch] | TaggedOutput[Literal["work"], Work]]:
        scores, dead = label(batch, self._labelling)
        if scores.num_rows:
            yield scores
        if dead is not None:
            yield TaggedOutput("dead", dead)
        yield TaggedOutput("work", work_of(batch))
