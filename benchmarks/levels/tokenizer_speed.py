"""Speed of the tokenizer flavours, taking turns on the same texts: `python -m benchmarks.levels.tokenizer_speed`.

Reads the folder $SHARED (default ../shared) and fails when it is missing. Figures are of one thread.
"""

import csv
import json
import lzma
import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from benchmarks.paths import encoder_folder, shared
from model.tokenizer.tokenization import Tokenizer, TokenizerSpec

FLAVOURS = ("model_garden", "huggingface")
WARM_UP, ROUNDS, LIMIT = 2, 10, 0.6


def texts() -> dict[str, list[str]]:
    """Short and long texts."""
    data = shared() / "data"
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as opened:
        short = [row["text"] for row in csv.DictReader(opened)]
    with lzma.open(data / "imdb" / "train.jsonl.xz", "rt", encoding="utf-8") as opened:
        long = [json.loads(line)["text"] for line, _ in zip(opened, range(2_000), strict=False)]
    return {"Banking77": short, "IMDB": long}


def main() -> None:
    """Prints rows/s and the median of the paired ratios; exits 1 below the limit."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    vocabulary = encoder_folder() / "vocab.txt"
    signature = [tf.TensorSpec([None], tf.string)]
    graphs = []
    for flavour in FLAVOURS:
        tokenizer = Tokenizer(vocabulary, TokenizerSpec(flavour=flavour, max_tokens=512))
        graphs.append(tf.function(tokenizer.tokenize, input_signature=signature))
    slow = []
    for name, rows in texts().items():
        batch = tf.constant(rows)
        turns = []
        for _ in range(WARM_UP + ROUNDS):
            start = time.perf_counter()
            graphs[0](batch)
            middle = time.perf_counter()
            graphs[1](batch)
            turns.append((middle - start, time.perf_counter() - middle))
        turns = turns[WARM_UP:]
        ratio = statistics.median(first / second for first, second in turns)
        speeds = [len(rows) / statistics.median(turn) for turn in zip(*turns, strict=True)]
        said = ", ".join(f"{flavour} {speed:,.0f} rows/s" for flavour, speed in zip(FLAVOURS, speeds, strict=True))
        print(f"{name}: {said}; {FLAVOURS[1]} ÷ {FLAVOURS[0]} = {ratio:.2f}")
        slow += [] if ratio >= LIMIT else [f"{name}: {ratio:.2f} is below {LIMIT}"]
    sys.exit("\n".join(slow) or 0)


if __name__ == "__main__":
    main()
