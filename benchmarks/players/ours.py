"""This project, as a live process: the model step, tokenization, micro-batches of a budget, and whole jobs."""

import datetime as dt
import shutil
import time
from pathlib import Path
from typing import Any

import corpora
import numpy as np
from steps import padded
from turns import Reply, serve

from model.bundle import Bundle
from pipeline.config import JobConfig
from pipeline.console import quiet_libraries
from pipeline.scoring import score
from transforms.devices import find_device
from transforms.featurize import TransformGraph
from transforms.infer import Ragged, score_rows
from transforms.memo import Memo
from transforms.runs import read_manifest
from transforms.score import Compute, ScoringModel

DATE = "2026-11-21"
ROWS_AT_ONCE = 8_192
_STATE: dict[str, Any] = {}
quiet_libraries()


def load(folder: str) -> Reply:
    bundle = Bundle.load(folder)
    _STATE["model"] = ScoringModel(bundle, Compute(), find_device())
    _STATE["graph"] = TransformGraph(folder)
    return {}


def step(rows: int, width: int, seed: int) -> Reply:
    ids = padded(rows, width, seed)
    lengths = np.full(rows, width, np.int32)
    start = time.perf_counter()
    outputs = _STATE["model"](ids.reshape(-1), lengths, lengths)
    return {"seconds": time.perf_counter() - start, "logits": np.log(outputs[:8]).tolist()}


def tokenize(corpus: str, rows: int) -> Reply:
    """Texts as Arrow's bytes -> token ids, in the bundle's own TF Transform graph."""
    if corpus not in _STATE:
        texts = [text.encode() for text in corpora.texts(corpus)[:rows]]
        starts = range(0, len(texts), ROWS_AT_ONCE)
        _STATE[corpus] = [np.array(texts[i : i + ROWS_AT_ONCE], object) for i in starts]
    start = time.perf_counter()
    tokens = sum(len(_STATE["graph"](batch).values) for batch in _STATE[corpus])
    return {"seconds": time.perf_counter() - start, "tokens": tokens}


def budget(corpus: str, rows: int, token_budget: int) -> Reply:
    """The model alone over `rows` texts, planned with a token budget."""
    texts = np.array([text.encode() for text in corpora.texts(corpus)[:rows]], object)
    tokens, model = _STATE["graph"](texts), _STATE["model"]
    model.token_budget, model.memo = token_budget, Memo(model.width)
    start = time.perf_counter()
    results = score_rows(Ragged(tokens.values, tokens.offsets, tokens.first_segment), model)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "tokens": results.work.tokens, "padded": results.work.padded}


def job(bundle: str, input: str, output: str, top_k: int | None = None) -> Reply:
    """One whole job, Parquet to Parquet."""
    shutil.rmtree(output, ignore_errors=True)
    described = JobConfig(bundle=bundle, input=(input,), output=output, date=DATE, top_k=top_k)
    start = time.perf_counter()
    verdict = score(described, now=dt.datetime.now(dt.UTC))
    seconds = time.perf_counter() - start
    manifest, _ = read_manifest(str(Path(verdict.folder) / "_manifest.json"))
    assert manifest is not None
    found = {key: manifest[key] for key in ("counts", "padding_factor")}
    return {"seconds": seconds, "model_seconds": manifest["work"]["model_nanos"] / 1e9, **found}


serve({"load": load, "step": step, "tokenize": tokenize, "budget": budget, "job": job})
