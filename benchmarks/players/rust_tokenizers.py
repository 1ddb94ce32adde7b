"""Hugging Face's Rust tokenizers, in batches, on one thread."""

import os
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import BertWordPieceTokenizer

from benchmarks.harness.turns import Reply, serve
from benchmarks.workloads import corpora

_STATE = {}


def load(folder: str, max_tokens: int, method: str) -> Reply:
    """`method` is encode_batch, which the documentation shows, or encode_batch_fast, which keeps no offsets."""
    tokenizer = BertWordPieceTokenizer(str(Path(folder) / "vocab.txt"), lowercase=True)
    tokenizer.enable_truncation(max_tokens)
    _STATE["encode"] = tokenizer.encode_batch if method == "encode_batch" else tokenizer._tokenizer.encode_batch_fast
    return {}


def tokenize(corpus: str, rows: int) -> Reply:
    if corpus not in _STATE:
        _STATE[corpus] = corpora.texts(corpus)[:rows]
    start = time.perf_counter()
    encodings = _STATE["encode"](_STATE[corpus])
    tokens = sum(len(encoding.ids) for encoding in encodings)
    return {"seconds": time.perf_counter() - start, "tokens": tokens}


serve({"load": load, "tokenize": tokenize})
