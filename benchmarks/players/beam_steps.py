"""The steps of Beam's pattern, a module of their own: Beam pickles what stands in the main program, model included."""

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import torch
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.ml.inference.pytorch_inference import PytorchModelHandlerKeyedTensor
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

BATCH = 16
_STATE: dict[str, Any] = {}


class Handler(PytorchModelHandlerKeyedTensor):
    """The stock handler; the model is loaded once for all turns, as the other contestants' are."""

    def load_model(self) -> Any:
        return _STATE["model"]


def load(folder: str, max_tokens: int) -> None:
    """Loads model and tokenizer, once for all turns."""
    _STATE["model"] = BertForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa").eval()
    _STATE["tokenizer"] = AutoTokenizer.from_pretrained(folder)
    config = BertConfig.from_pretrained(folder)
    weights = Path(folder) / "state.pt"
    torch.save(_STATE["model"].state_dict(), weights)
    _STATE["handler"] = Handler(
        state_dict_path=str(weights),
        model_class=BertForSequenceClassification,
        model_params={"config": config},
        device="cpu",
        min_batch_size=BATCH,
        max_batch_size=BATCH,
    )
    _STATE["max_tokens"] = max_tokens


def tokenize_row(row: dict[str, str]) -> tuple[str, dict[str, torch.Tensor]]:
    encoded = _STATE["tokenizer"](
        row["text"], return_tensors="pt", padding="max_length", truncation=True, max_length=_STATE["max_tokens"]
    )
    return row["id"], {name: encoded[name][0] for name in ("input_ids", "attention_mask")}


def describe(element: tuple[str, Any]) -> dict[str, Any]:
    key, result = element
    probabilities = torch.softmax(result.inference["logits"], dim=-1)
    best = int(probabilities.argmax())
    return {"id": key, "label": str(best), "probability": float(probabilities[best])}


def fixed(input: str, output: str) -> None:
    """The pattern as published."""
    with beam.Pipeline(runner=FnApiRunner()) as p:
        (
            p
            | beam.io.ReadFromParquet(input)
            | beam.Map(tokenize_row)
            | RunInference(KeyedModelHandler(_STATE["handler"]))
            | beam.Map(describe)
            | beam.Map(json.dumps)
            | beam.io.WriteToText(output, num_shards=1)
        )


def score_batches(table: pa.Table) -> Any:
    texts, ids = table.column("text").to_pylist(), table.column("id").to_pylist()
    encoded = _STATE["tokenizer"](texts, truncation=True, max_length=_STATE["max_tokens"])
    order = np.argsort([-len(row) for row in encoded["input_ids"]], kind="stable")
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        chosen = {"input_ids": [encoded["input_ids"][i] for i in rows]}
        padded = _STATE["tokenizer"].pad(chosen, return_tensors="pt")
        with torch.inference_mode():
            logits = _STATE["model"](**padded).logits
        for at, row in zip(rows, torch.softmax(logits, dim=-1).numpy(), strict=True):
            yield {"id": ids[at], "label": str(row.argmax()), "probability": float(row.max())}


def best(input: str, output: str) -> None:
    """The pattern at its best."""
    with beam.Pipeline(runner=FnApiRunner()) as p:
        (
            p
            | beam.io.ReadFromParquetBatched(input)
            | beam.FlatMap(score_batches)
            | beam.Map(json.dumps)
            | beam.io.WriteToText(output, num_shards=1)
        )
