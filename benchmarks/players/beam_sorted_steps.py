"""The steps of Beam 2.77's best pattern, a module of their own: Beam pickles what stands in the main program."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.util import SortAndBatchElements
from tokenizers import BertWordPieceTokenizer

from benchmarks.players.engines import ENGINES, Engine, export

BATCH = 16
Row = tuple[str, list[int]]
_STATE: dict[str, Any] = {}


def load(folder: str, engine: str, max_tokens: int) -> str:
    """Loads model and tokenizer, once for all turns; returns what the engine computes in."""
    tokenizer = BertWordPieceTokenizer(str(Path(folder) / "vocab.txt"), lowercase=True)
    tokenizer.enable_truncation(max_tokens)
    _STATE.update(engine=ENGINES[engine](folder), tokenizer=tokenizer, onnx=str(export(folder)))
    precision: str = _STATE["engine"].precision
    return precision


class Handler(ModelHandler[list[Row], dict[str, Any], Engine]):
    """The least that RunInference needs; every element is a batch already."""

    def load_model(self) -> Engine:
        return _STATE["engine"]

    def run_inference(self, batch: Sequence[Row], model: Engine, inference_args: Any = None) -> list[dict[str, Any]]:
        logits = model.run(*_padded([ids for _, ids in batch]))
        return [_described(key, row) for (key, _), row in zip(batch, logits, strict=True)]


def _padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    ids, mask = np.zeros((2, len(rows), max(map(len, rows))), np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)], mask[at, : len(row)] = row, 1
    return ids, mask


def _described(key: str, logits: np.ndarray) -> dict[str, Any]:
    exponentials = np.exp(logits - logits.max())
    return {
        "id": key,
        "label": str(exponentials.argmax()),
        "probability": float(exponentials.max() / exponentials.sum()),
    }


def _tokenized(table: pa.Table) -> Iterator[Row]:
    encodings = _STATE["tokenizer"].encode_batch(table.column("text").to_pylist())
    for key, encoding in zip(table.column("id").to_pylist(), encodings, strict=True):
        yield key, encoding.ids


def _tokens(row: Row) -> int:
    return len(row[1])


def sorted_by_length(input: str, output: str, weight: int, rows: int) -> None:
    """SortAndBatchElements with weights before a minimal handler."""
    with beam.Pipeline(runner=FnApiRunner()) as p:
        (
            p
            | beam.io.ReadFromParquetBatched(input)
            | beam.FlatMap(_tokenized)
            | SortAndBatchElements(
                min_batch_size=1, max_batch_size=rows, max_batch_weight=weight, element_size_fn=_tokens
            )
            | RunInference(Handler().with_no_batching())
            | beam.Map(json.dumps)
            | beam.io.WriteToText(output, num_shards=1)
        )


def _run_session(session: Any, rows: Sequence[np.ndarray], inference_args: Any = None) -> np.ndarray:
    ids, mask = _padded([row.tolist() for row in rows])
    logits: np.ndarray = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
    return logits


def stock(input: str, output: str) -> None:
    """Beam's own ONNX handler, which knows nothing of lengths: keyed rows, batches of BATCH rows as they come."""
    handler = OnnxModelHandlerNumpy(
        model_uri=_STATE["onnx"], inference_fn=_run_session, min_batch_size=BATCH, max_batch_size=BATCH
    )
    with beam.Pipeline(runner=FnApiRunner()) as p:
        (
            p
            | beam.io.ReadFromParquetBatched(input)
            | beam.FlatMap(_tokenized)
            | beam.MapTuple(lambda key, ids: (key, np.array(ids, np.int64)))
            | RunInference(KeyedModelHandler(handler))
            | beam.MapTuple(lambda key, result: _described(key, result.inference))
            | beam.Map(json.dumps)
            | beam.io.WriteToText(output, num_shards=1)
        )
