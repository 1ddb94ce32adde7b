"""What windows cost: `python -m benchmarks.nightly.windows`. Scores the windows of long texts, and in turn the same
tokens as short texts of the same lengths; fails where windows take more than 1.05 times as long.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace

import numpy as np

from benchmarks.workloads import models
from model.bundle import Bundle
from model.long_texts import LongTexts
from model.windows import Windows
from transforms.score.compute import Compute
from transforms.score.devices import find_device
from transforms.score.engines.choice import load_scorer
from transforms.score.engines.scorer import Scorer
from transforms.score.macro_batch import Ragged
from transforms.score.memo import Memo
from transforms.score.windows import one_by_one, score_texts

AT_MOST, MAX_TOKENS, PAIRS = 1.05, 128, 15


def long_texts(count: int, vocabulary: int) -> Ragged:
    """Texts of two to eight windows, the last one of any length, no two windows alike."""
    generator = np.random.default_rng(1)
    counts = generator.integers(2, 9, count)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    lengths = np.full(int(offsets[-1]), MAX_TOKENS, np.int32)
    lengths[offsets[1:] - 1] = generator.integers(3, MAX_TOKENS + 1, count)
    totals = np.add.reduceat(lengths, offsets[:-1])
    ends = np.concatenate([[0], np.cumsum(totals)]).astype(np.int64)
    tokens = generator.integers(5, vocabulary, int(ends[-1])).astype(np.int32)
    return Ragged(tokens, ends, totals.astype(np.int32), Windows(lengths, offsets))


def seconds(rows: Ragged, scorer: Scorer) -> float:
    """How long it takes when nothing is remembered."""
    scorer.memo = Memo(scorer.width)
    start = time.perf_counter()
    found = score_texts(rows, scorer)
    assert not found.failed.any()
    return time.perf_counter() - start


def main() -> None:
    """Prints the median of paired ratios; exits 1 if it is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="small", choices=models.MODELS)
    parser.add_argument("--texts", type=int, default=60)
    given = parser.parse_args()
    plain = Bundle.load(models.bundle(given.model))
    described = LongTexts(how="windows").described
    windows = replace(plain, long_texts=described, max_tokens=MAX_TOKENS)
    short, long = (load_scorer(one, Compute(precision="float32"), find_device()) for one in (plain, windows))
    texts = long_texts(given.texts, int(plain.model["vocab_size"]))
    rows = one_by_one(texts)
    pairs = []
    for turn in range(PAIRS + 1):
        both = [(texts, long), (rows, short)]
        found = {id(scorer): seconds(what, scorer) for what, scorer in (both if turn % 2 else both[::-1])}
        if turn:
            pairs.append((found[id(long)], found[id(short)]))
    ratios = sorted(a / b for a, b in pairs)
    middle = statistics.median(ratios)
    print(
        f"{len(texts.first_segment):,} texts of {len(rows.first_segment):,} windows, {len(rows.values):,} tokens, "
        f"model {given.model}: windows ÷ short texts of the same lengths {middle:.3f} (median of {PAIRS} pairs, "
        f"{ratios[0]:.3f} to {ratios[-1]:.3f})"
    )
    sys.exit(0 if middle <= AT_MOST else f"above {AT_MOST}")


if __name__ == "__main__":
    main()
