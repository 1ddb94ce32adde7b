"""Of `make quality`: IMDB reviews that are longer than a bundle takes, cut, head and tail, and in windows, paired."""

import json
import lzma
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf

from benchmarks.nightly.quality_tasks import Split
from benchmarks.paths import encoder_folder
from model.checkpoints.detect import load, load_vocabulary, write_vocabulary
from model.tokenizer.tokenization import Tokenizer, TokenizerSpec

MAX_TOKENS = 128
LONGER_THAN, TRAINING, HELD_OUT = 256, 4_000, 2_000
WORST = -0.01
"""Windows less cut: the lower bound of the paired difference must be above this."""
_Z = 1.959963984540054


def read_long_imdb(data: Path) -> Split:
    """Reviews of more than LONGER_THAN tokens, special ones included, and whether they are good."""
    with lzma.open(data / "imdb" / "train.jsonl.xz", "rt", encoding="utf-8") as opened:
        rows = [json.loads(line) for line in opened]
    order = np.random.default_rng(0).permutation(len(rows))
    chosen: list[int] = []
    for part in np.array_split(order, max(1, len(order) // 1_000)):
        lengths = _lengths([rows[i]["text"] for i in part])
        chosen += [int(i) for i, length in zip(part, lengths, strict=True) if length > LONGER_THAN]
        if len(chosen) >= TRAINING + HELD_OUT:
            break
    assert len(chosen) >= TRAINING + HELD_OUT, f"only {len(chosen):,} reviews are longer than {LONGER_THAN} tokens"
    table = pa.table({
        "text": [rows[i]["text"] for i in chosen[: TRAINING + HELD_OUT]],
        "gold": [str(rows[i]["label"]) for i in chosen[: TRAINING + HELD_OUT]],
    })  # fmt: skip
    return table.slice(0, TRAINING), table.slice(TRAINING)


def _lengths(texts: list[str]) -> np.ndarray:
    checkpoint = load(str(encoder_folder()), head=False)
    spec = TokenizerSpec(flavour=checkpoint.flavour, lower_case=True, max_tokens=LONGER_THAN + 1)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = write_vocabulary(load_vocabulary(str(encoder_folder())), Path(folder) / "vocab.txt")
        lengths = Tokenizer(vocabulary, spec).tokenize(tf.constant(texts)).tokens.row_lengths()
    return np.asarray(lengths)


def right_rows(scored: pa.Table) -> np.ndarray:
    """Which published rows have the label of their column `gold`, bool [B], in the order of their ids."""
    order = np.argsort(scored.column("id").to_numpy(zero_copy_only=False))
    labels = scored.column("label").cast(pa.string()).to_numpy(zero_copy_only=False)
    return np.asarray(labels == scored.column("gold").to_numpy(zero_copy_only=False))[order]


def paired(right: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """How much more often `right` is right than `before`, on the same rows, and the lower bound at 95 %."""
    difference = right.astype(np.float64) - before
    mean = float(difference.mean())
    return mean, mean - _Z * float(difference.std(ddof=1)) / len(difference) ** 0.5
