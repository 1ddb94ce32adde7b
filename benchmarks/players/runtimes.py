"""A hand-written script on one of the engines of others: the model step, and whole jobs sorted by length."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import BertWordPieceTokenizer

from benchmarks.harness.turns import Reply, serve
from benchmarks.players.engines import ENGINES, Batch
from benchmarks.workloads.steps import padded

_STATE: dict[str, Any] = {}


def load(folder: str, engine: str) -> Reply:
    _STATE["engine"] = ENGINES[engine](folder)
    return {"precision": _STATE["engine"].precision}


def step(rows: int, width: int, seed: int) -> Reply:
    ids = padded(rows, width, seed).astype(np.int64)
    start = time.perf_counter()
    logits = _STATE["engine"].run(ids, np.ones_like(ids))
    return {"seconds": time.perf_counter() - start, "logits": logits.tolist()}


def _micro_batches(rows: Sequence[Sequence[int]], budget: int) -> Iterator[tuple[np.ndarray, Batch]]:
    """Which rows, and their tokens and mask: longest first, at most `budget` tokens with their padding."""
    order = np.argsort([-len(row) for row in rows], kind="stable")
    at = 0
    while at < len(order):
        longest = len(rows[order[at]])
        chosen = order[at : at + max(1, budget // longest)]
        ids, mask = np.zeros((2, len(chosen), longest), np.int64)
        for i, row in enumerate(chosen):
            ids[i, : len(rows[row])], mask[i, : len(rows[row])] = rows[row], 1
        yield chosen, (ids, mask)
        at += len(chosen)


def script(folder: str, input: str, output: str, max_tokens: int, budget: int) -> Reply:
    """What one would write by hand: sorted by length, padded to the longest row of a micro-batch."""
    start = time.perf_counter()
    table = pq.read_table(input)
    tokenizer = _STATE.setdefault("tokenizer", BertWordPieceTokenizer(f"{folder}/vocab.txt", lowercase=True))
    tokenizer.enable_truncation(max_tokens)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(table.column("text").to_pylist())]
    chosen, batches = zip(*_micro_batches(rows, budget), strict=True)
    logits = np.concatenate(_STATE["engine"].all(batches))[np.argsort(np.concatenate(chosen))]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    columns = {
        "id": table.column("id"),
        "label": probabilities.argmax(axis=1),
        "probability": probabilities.max(axis=1),
    }
    pq.write_table(pa.table({**columns, "probabilities": list(probabilities)}), output, compression="zstd")
    return {"seconds": time.perf_counter() - start}


serve({"load": load, "step": step, "script": script})
