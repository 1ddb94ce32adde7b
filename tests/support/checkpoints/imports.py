"""Checkpoints of others as import jobs, and what their makers computed."""

import json
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
from support.commands import DATA

from model.tokenizer.tokenization import SPECIAL_TOKENS
from pipeline.bundling.import_job import ImportJob
from pipeline.jobs.config import described

ORACLE = DATA / "oracle"

TEXT = ORACLE / "text"

EXPORT = TEXT / "saved_model_text"

TEXTS = [
    "hello world",
    "the quick brown fox",
    "Hello, WORLD!",
    "don't stop",
    "Café foo bar",
    "[CLS] fox " * 20,
    "½ ﬁ ™",
]


def job(path: Path, tmp_path: Path, **settings: object) -> ImportJob:
    return described(ImportJob, {"path": str(path), "output": str(tmp_path / "bundle"), "name": "n", **settings})


def hugging_face(tmp_path: Path) -> Path:
    """The Hugging Face case with a vocabulary of 64 tokens."""
    folder = Path(shutil.copytree(ORACLE / "hf" / "hf_cls3_gelu", tmp_path / "hf"))
    tokens = [*SPECIAL_TOKENS, *(chr(ord("a") + i % 26) * (1 + i // 26) for i in range(59))]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return folder


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(tf.nn.softmax(logits))


def probabilities(rows: list[dict[str, object]], labels: tuple[str, ...]) -> np.ndarray:
    by_id = {row["id"]: {p["label"]: p["probability"] for p in row["probabilities"]} for row in rows}
    return np.array([[by_id[str(i)][label] for label in labels] for i in range(len(by_id))])
