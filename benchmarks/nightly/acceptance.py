"""Acceptance on texts that may not be copied into the project: `make accept`, to benchmarks/reports/ACCEPTANCE.md.

Reads the folder $SHARED (default ../shared) and fails when it is missing. Every run is a process of its own, so that
its peak memory is its own.
"""

import csv
import datetime as dt
import json
import lzma
import os
import platform
import sys
import tempfile
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.nightly.accepted_models import check_models
from benchmarks.paths import DEMO_BUNDLE, REPORTS, ROOT, encoder_folder, shared

PADDING_LIMIT, STATIC_LIMIT, MEMORY_LIMIT = 1.05, 1.30, 1.15
COPIES = 4


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run: its manifest, wall seconds and peak resident memory in MiB."""

    manifest: dict[str, Any]
    seconds: float
    peak: float


def check_tokenizers(data: Path) -> tuple[list[str], list[str]]:
    """All flavours on every shared vector, those that may not be copied too: lines of the report, and failures."""
    import tensorflow as tf
    import tensorflow_text as tf_text

    from model.tokenizer.tokenization import Tokenizer, TokenizerSpec, read_vocabulary

    lines = (data / "tokenizer" / "bert_uncased_vectors.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    texts = tf.constant([row["text"].encode() for row in rows])
    vocabulary = encoder_folder() / "vocab.txt"
    tokens = read_vocabulary(vocabulary)
    found = {}
    for flavour in ("model_garden", "huggingface", "google_research"):
        tokenizer = Tokenizer(vocabulary, TokenizerSpec(flavour=flavour, max_tokens=100_000))
        found[flavour] = tokenizer.tokenize(texts).tokens.to_list()
    ids = tf.lookup.KeyValueTensorInitializer(tokens, tf.range(len(tokens), dtype=tf.int64))
    reference = tf_text.BertTokenizer(tf.lookup.StaticHashTable(ids, -1), lower_case=True, token_out_type=tf.int64)
    pieces = reference.tokenize(texts).merge_dims(1, 2).to_list()
    start, end = tokens.index("[CLS]"), tokens.index("[SEP]")
    expected = {
        "model_garden": ("tensorflow_text.BertTokenizer", [[start, *row, end] for row in pieces], 1.0),
        "huggingface": ("the ids of Hugging Face's fast tokenizer", [row["ids_hf_fast"] for row in rows], 1.0),
        "google_research": ("the ids of the slow one made from it", [row["ids_hf_slow"] for row in rows], 1.0),
    }
    report, failures = [], []
    alike = [_is_read_alike(row["text"]) for row in rows]
    for flavour, (source, wanted, limit) in expected.items():
        compared = alike if flavour == "google_research" else [True] * len(rows)
        equal = sum(a == b for a, b, is_compared in zip(found[flavour], wanted, compared, strict=True) if is_compared)
        report.append(f"- `{flavour}` equals {source} on {equal} of {sum(compared)} texts (at least {limit:.1%})")
        if equal < limit * sum(compared):
            failures.append(f"{flavour}: {equal} of {sum(compared)} texts equal {source}")
    return report, failures


def _is_read_alike(text: str) -> bool:
    """Whether the slow tokenizer of Hugging Face reads a text as google-research does, from whose code it was made.

    It drops unassigned and private code points, which are kept there, and gives up on a word above 100 characters
    instead of 200 (docs/models/tokenizers.md).
    """
    return max(map(len, text.split()), default=0) <= 100 and not {*map(unicodedata.category, text)} & {"Cn", "Co"}


def write_input(folder: Path, texts: list[str], copies: int) -> None:
    """Each copy is a file of its own, under new ids."""
    folder.mkdir()
    for copy in range(copies):
        ids = [f"{copy}-{i}" for i in range(len(texts))]
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / f"{copy}.parquet", row_group_size=5_000)


def run(source: Path, output: Path) -> Measured:
    """Scores a folder with the shipped bundle; exits when the command fails."""
    command = [sys.executable, "-m", "pipeline", "score", "--bundle", str(DEMO_BUNDLE), "--input", str(source)]
    command += ["--output", str(output), "--date", "2026-11-21", "--log-format", "json"]
    start = time.monotonic()
    pid = os.posix_spawn(sys.executable, command, {**os.environ, "PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"scoring {source.name} failed with exit code {os.waitstatus_to_exitcode(status)}")
    manifest = json.loads((output / "dt=2026-11-21" / "_manifest.json").read_bytes())
    return Measured(manifest=manifest, seconds=time.monotonic() - start, peak=usage.ru_maxrss / 1024)


def read_corpora(data: Path) -> dict[str, list[str]]:
    """Name -> texts."""
    corpora = {}
    for name, folder in (("IMDB", "imdb"), ("20 Newsgroups", "newsgroups20")):
        with lzma.open(data / folder / "train.jsonl.xz", "rt", encoding="utf-8") as opened:
            corpora[name] = [json.loads(line)["text"] for line in opened]
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as opened:
        corpora["Banking77"] = [row["text"] for row in csv.DictReader(opened)]
    return corpora


def check_static_shapes(corpora: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """What the static shapes of a GPU would cost in padding: lines of the report, and failures."""
    from transforms.batches.schemas import MAX_ROWS
    from transforms.featurize.step import TransformGraph
    from transforms.score.micro_batches import TOKEN_BUDGET, plan_static, static_shape

    graph, budget = TransformGraph(str(DEMO_BUNDLE)), TOKEN_BUDGET["gpu"]
    report, failures = [], []
    for name, texts in corpora.items():
        tokens = padded = 0
        shapes = set()
        for start in range(0, len(texts), MAX_ROWS):
            encoded = [text.encode() for text in texts[start : start + MAX_ROWS]]
            lengths = np.diff(graph(np.array(encoded, object)).offsets)
            for rows in plan_static(lengths, budget):
                shape = static_shape(len(rows), int(lengths[rows].max()), budget)
                shapes.add(shape)
                padded += shape[0] * shape[1]
            tokens += int(lengths.sum())
        factor = padded / tokens
        report.append(f"- {name}: padding factor {factor:.3f} in {len(shapes)} shapes (at most {STATIC_LIMIT:.2f})")
        failures += [] if factor <= STATIC_LIMIT else [f"{name}: static shapes pad by {factor:.3f}"]
    return report, failures


def check_jobs(name: str, texts: list[str]) -> tuple[list[str], list[str]]:
    """Jobs over a corpus, once and repeated: lines of the table, and failures."""
    with tempfile.TemporaryDirectory() as temp:
        measured = []
        for copies in (1, COPIES):
            source = Path(temp) / f"in-{copies}"
            write_input(source, texts, copies)
            measured.append(run(source, Path(temp) / f"out-{copies}"))
    lines, failures = [], []
    for copies, one in zip((1, COPIES), measured, strict=True):
        counts, padding = one.manifest["counts"], one.manifest["padding_factor"]
        # Not all are scored: 18 newsgroup posts are empty once their headers are gone.
        balanced = counts["read"] == counts["scored"] + counts["dead"] == copies * len(texts)
        lines.append(
            f"| {name} ×{copies} | {counts['read']:,} | {counts['scored']:,} | {counts['dead']:,} | {padding} "
            f"| {one.seconds:.1f} | {counts['read'] / one.seconds:,.0f} | {one.peak:,.0f} |"
        )
        failures += [] if balanced else [f"{name} ×{copies}: {counts} does not balance"]
        if padding > PADDING_LIMIT:
            failures.append(f"{name} ×{copies}: padding factor {padding} is above {PADDING_LIMIT}")
    ratio = measured[1].peak / measured[0].peak
    lines.append(f"| {name}, peak memory ×{COPIES} ÷ ×1 | | | | | | | **{ratio:.3f}** |")
    failures += [] if ratio <= MEMORY_LIMIT else [f"{name}: peak memory grows by {ratio:.3f}, above {MEMORY_LIMIT}"]
    return lines, failures


def main() -> None:
    """Runs everything, writes the table, and exits 1 if a limit is broken."""
    data = shared() / "data"
    corpora = read_corpora(data)
    lines, failures = [], []
    # Before TensorFlow is in this process: a child's peak memory is never below what its parent had when it was made.
    for name, texts in corpora.items():
        found, broken = check_jobs(name, texts)
        lines += found
        failures += broken
    tokenizers, unequal = check_tokenizers(data)
    shapes, too_wide = check_static_shapes(corpora)
    models, scored_otherwise = check_models(shared() / "oracle2")
    failures += [*unequal, *too_wide, *scored_otherwise]
    header = f"""# Acceptance

Printed by `make accept` on {dt.date.today().isoformat()}: {os.cpu_count()} cores, {platform.machine()}, one process,
the shipped demo bundle (2 layers, hidden 128, at most 128 tokens). Limits: row counts agree, padding factor at most
{PADDING_LIMIT:.2f}, peak memory with the input repeated {COPIES} times under new ids at most {MEMORY_LIMIT} of once.

| input | rows | scored | dead letters | padding factor | seconds, start-up included | texts/s | peak MiB |
|---|---|---|---|---|---|---|---|
"""
    table, static, same, imported = ("\n".join(part) for part in (lines, shapes, tokenizers, models))
    (REPORTS / "ACCEPTANCE.md").write_text(
        f"{header}{table}\n\n## Static shapes of a GPU\n\n{static}\n\n## Tokenizers\n\n{same}\n\n"
        f"## Models of others\n\n{imported}\n",
        encoding="utf-8",
    )
    print("\n".join([*lines, *tokenizers, *shapes, *models]))
    sys.exit("\n".join(failures) or 0)


if __name__ == "__main__":
    main()
