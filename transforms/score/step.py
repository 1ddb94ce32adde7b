"""ScoreTokens: Tokens -> Scores, through Beam's RunInference and the scoring graph of the bundle."""

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.pvalue import TaggedOutput

from transforms.batches import coder as coder
from transforms.batches.schemas import Columns, check, tokens_schema
from transforms.runs.books import Work
from transforms.runs.heartbeats import beat
from transforms.runs.labelling import STAGE, Labelling
from transforms.runs.progress import Teller
from transforms.score.compute import Compute
from transforms.score.devices import find_device, require_gpu
from transforms.score.engines.choice import load_scorer
from transforms.score.engines.scorer import Scorer
from transforms.score.label import label
from transforms.score.macro_batch import Ragged, Tell, score_rows
from transforms.stores.bundles import BundleReference, fetch

_WORK = b"work"
_RESULT = (
    pa.field("outputs", pa.list_(pa.float32()), nullable=False),
    pa.field("failed", pa.bool_(), nullable=False),
)


class BertModelHandler(ModelHandler[pa.RecordBatch, pa.RecordBatch, Scorer]):
    """One RecordBatch of Tokens is one macro-batch: in it goes, and out as `infer` makes it."""

    def __init__(self, bundle: BundleReference, columns: Columns, compute: Compute) -> None:
        super().__init__()
        self._bundle, self._columns, self._compute = bundle, columns, compute

    def load_model(self) -> Scorer:
        # First: a process that dies while it loads the model is to be missed too.
        beat(self._compute.beats)
        device = find_device()
        if self._compute.needs_gpu:
            require_gpu(device)
        return load_scorer(fetch(self._bundle), self._compute, device)

    def run_inference(
        self, batch: pa.RecordBatch, model: Scorer, inference_args: dict[str, Any] | None = None
    ) -> list[pa.RecordBatch]:
        check(batch, tokens_schema(self._columns), STAGE)
        teller = Teller(self._compute.progress, batch.num_rows)
        scored = infer(batch, model, teller)
        teller.end()
        return [scored]

    def get_num_bytes(self, batch: pa.RecordBatch) -> int:
        return int(batch.nbytes)

    def get_metrics_namespace(self) -> str:
        return STAGE


def infer(batch: pa.RecordBatch, model: Scorer, tell: Tell = lambda rows: None) -> pa.RecordBatch:
    """Adds to Tokens what the model says: outputs (float32 [C] a row) and failed; the tokens go.

    The Work it took is in the metadata of the schema: see `work_of`. `tell`: see score_rows.
    """
    tokens = batch.column("tokens")
    offsets = tokens.offsets.to_numpy()
    first_segment = batch.column("first_segment").to_numpy()
    results = score_rows(Ragged(tokens.flatten().to_numpy(), offsets - offsets[0], first_segment), model, tell)
    count = np.arange(batch.num_rows + 1, dtype=np.int32) * model.width
    outputs = pa.ListArray.from_arrays(pa.array(count), pa.array(results.outputs.reshape(-1)))
    rest = batch.drop_columns(["tokens", "first_segment"])
    arrays = [*rest.columns, pa.array(np.diff(offsets), pa.int32()), outputs, pa.array(results.failed)]
    fields = [*rest.schema, pa.field("token_count", pa.int32(), nullable=False), *_RESULT]
    schema = pa.schema(fields, metadata={_WORK: json.dumps(results.work)})
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def work_of(batch: pa.RecordBatch) -> Work:
    """The Work that an output of `infer` took."""
    return Work(*json.loads(batch.schema.metadata[_WORK]))


class Scored(NamedTuple):
    """`scores`: PCollection[RecordBatch of placed Scores]; `dead`: of REJECTED; `work`: PCollection[Work]."""

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
        work = work_of(batch)
        scores, dead = label(batch, self._labelling, work.precision)
        if scores.num_rows:
            yield scores
        if dead is not None:
            yield TaggedOutput("dead", dead)
        yield TaggedOutput("work", work)
