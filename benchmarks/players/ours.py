"""This project, as a live process: the model step, tokenization, padding of plans, and whole jobs."""

import datetime as dt
import gc
import resource
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from benchmarks.harness.turns import Reply, serve
from benchmarks.workloads import corpora
from benchmarks.workloads.steps import padded
from model.bundle import Bundle
from pipeline.jobs.config import JobConfig
from pipeline.scoring import score
from pipeline.terminal.console import quiet_libraries
from transforms.batches.measures import MEASURE
from transforms.featurize.step import TransformGraph, portions
from transforms.runs.run import read_manifest
from transforms.score.compute import Compute
from transforms.score.devices import find_device
from transforms.score.engines.chips import find_chip
from transforms.score.engines.choice import Place, choose, load_scorer
from transforms.score.engines.tensorflow_scorer import TensorFlowScorer
from transforms.score.micro_batches import plan_micro_batches

DATE = "2026-11-21"
ROWS_AT_ONCE = 8_192
_STATE: dict[str, Any] = {}
quiet_libraries()


def load(folder: str, precision: str = "float32") -> Reply:
    bundle, device = Bundle.load(folder), find_device()
    # As a job would: bfloat16 is OpenVINO's where it can be.
    choice = choose(bundle, precision, Place(device=device, chip=find_chip()))
    _STATE["model"] = load_scorer(bundle, Compute(precision=choice.precision, engine=choice.engine), device)
    _STATE["graph"] = TransformGraph(folder)
    return {"precision": _STATE["model"].precision, "engine": choice.engine}


def step(rows: int, width: int, seed: int) -> Reply:
    ids = padded(rows, width, seed)
    lengths = np.full(rows, width, np.int32)
    start = time.perf_counter()
    outputs = _STATE["model"](ids.reshape(-1), lengths, lengths)
    return {"seconds": time.perf_counter() - start, "logits": np.log(outputs).tolist()}


def tokenize(corpus: str, rows: int) -> Reply:
    """Texts as bytes -> token ids, in the bundle's own TF Transform graph, in the portions of a job."""
    if corpus not in _STATE:
        texts = [text.encode() for text in corpora.texts(corpus)[:rows]]
        batches = [texts[i : i + ROWS_AT_ONCE] for i in range(0, len(texts), ROWS_AT_ONCE)]
        cut = [(np.array(batch, object), portions([pa.array(batch, pa.binary())])) for batch in batches]
        _STATE[corpus] = [batch[rows] for batch, some in cut for rows in some]
    start = time.perf_counter()
    tokens = sum(len(_STATE["graph"](batch).values) for batch in _STATE[corpus])
    return {"seconds": time.perf_counter() - start, "tokens": tokens}


def padding(corpus: str, budgets: list[int]) -> Reply:
    """What plans with these token budgets pad; nothing is scored."""
    texts = np.array([text.encode() for text in corpora.texts(corpus)], object)
    lengths = np.diff(_STATE["graph"](texts).offsets)
    planned = [sum(len(rows) * lengths[rows].max() for rows in plan_micro_batches(lengths, each)) for each in budgets]
    factors = [float(padded / lengths.sum()) for padded in planned]
    return {"factors": factors, "rows": len(texts), "budget": _STATE["model"].token_budget}


def job(bundle: str, input: str, output: str, **settings: Any) -> Reply:
    """One whole job, Parquet to Parquet; `settings` are more of JobConfig."""
    shutil.rmtree(output, ignore_errors=True)
    described = JobConfig(bundle=bundle, input=(input,), output=output, date=DATE, **settings)
    start, user = time.perf_counter(), _user_seconds()
    verdict = score(described, now=dt.datetime.now(dt.UTC))
    seconds, user = time.perf_counter() - start, _user_seconds() - user
    manifest, _ = read_manifest(str(Path(verdict.folder) / "_manifest.json"))
    assert manifest is not None
    work = manifest["work"]
    return {
        "seconds": seconds,
        "user_seconds": user,
        "model_seconds": work["model_nanos"] / 1e9,
        "tokens": work["tokens"],
        "engine": manifest["engine"],
    }


def summary_job(summary: bool, model: bool, **given: Any) -> Reply:
    """A job; without `model` one in which the model costs nothing: every micro-batch has the same numbers. Without
    `summary` what it is made of is replaced by functions that do nothing; what is left is a column of zeros between
    the steps."""
    stubs: dict[str, Any] = {}
    if not model:
        stubs[f"{TensorFlowScorer.__module__}.TensorFlowScorer.__call__"] = _same_numbers
    if not summary:
        stubs |= {
            "transforms.featurize.step.count_tokens": lambda *given: None,
            "transforms.featurize.step.measure": lambda texts, *_: np.zeros(len(texts[0]), MEASURE),
            "transforms.score.label.with_certainty": lambda measured, *_: measured,
            "transforms.write.Summarizer.add": lambda *given: None,
        }
    # As the command does once all is imported.
    gc.freeze()
    with ExitStack() as stack:
        for name, function in stubs.items():
            stack.enter_context(patch(name, function))
        return job(**given)


def _same_numbers(scorer: TensorFlowScorer, values: Any, lengths: Any, first_segment: Any) -> Any:
    key = ("numbers", scorer.width)
    if key not in _STATE:
        numbers = np.exp(2 * np.random.default_rng(0).standard_normal((ROWS_AT_ONCE, scorer.width), np.float32))
        _STATE[key] = numbers / numbers.sum(axis=1, keepdims=True)
    return _STATE[key][: len(lengths)]


def _user_seconds() -> float:
    """User CPU seconds of this process and its threads."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


serve({"load": load, "step": step, "tokenize": tokenize, "padding": padding, "job": job, "summary_job": summary_job})
