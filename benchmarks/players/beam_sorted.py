"""Beam's pattern as Beam 2.77 allows it: rows sorted and batched by weight, before a handler that batches nothing."""

import time

from benchmarks.harness.turns import Reply, serve
from benchmarks.players import beam_sorted_steps


def load(folder: str, engine: str, max_tokens: int) -> Reply:
    return {"precision": beam_sorted_steps.load(folder, engine, max_tokens)}


def job(input: str, output: str, weight: int, rows: int) -> Reply:
    """A batch has at most `rows` rows, and at most `weight` tokens without their padding."""
    start = time.perf_counter()
    beam_sorted_steps.sorted_by_length(input, output, weight, rows)
    return {"seconds": time.perf_counter() - start}


def stock(input: str, output: str) -> Reply:
    start = time.perf_counter()
    beam_sorted_steps.stock(input, output)
    return {"seconds": time.perf_counter() - start}


serve({"load": load, "job": job, "stock": stock})
