"""Beam's own published pattern: a stock handler with keyed rows, and per-row post-processing.

`fixed` is what Beam's example of sentiment analysis does: each row is tokenized and padded to a fixed length, and
RunInference makes the batches. `sorted` is that pattern at its best: rows are tokenized in batches and sorted by
length, and a batch is padded to its longest row only.
"""

import time

from benchmarks.harness.turns import Reply, serve
from benchmarks.players import beam_steps


def load(folder: str, max_tokens: int) -> Reply:
    beam_steps.load(folder, max_tokens)
    return {}


def job(input: str, output: str, policy: str) -> Reply:
    start = time.perf_counter()
    {"fixed": beam_steps.fixed, "sorted": beam_steps.best}[policy](input, output)
    return {"seconds": time.perf_counter() - start}


serve({"load": load, "job": job})
