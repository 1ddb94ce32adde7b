"""Checkpoints in the layouts that people have."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
import yaml
from support.checkpoints.networks import arrays_of
from support.commands import DATA

from model.checkpoints.checkpoint import assign, build_from
from model.checkpoints.detect import load
from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.network.encoder import INPUT_NAMES

ORACLE = DATA / "oracle"

CONFIG = BertConfig(
    vocab_size=64, hidden_size=16, num_layers=2, num_attention_heads=4, inner_dim=32, max_sequence_length=16
)

GOOGLE = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
}


def oracle_classifier(case: str = "cls3_pooler_v2", classes: int = 3, pooler: bool = True) -> BertClassifier:
    """A classifier with the weights of a case: its network is made once, and the last one who asks has it."""
    classifier = _network(classes, pooler)
    assign(classifier, arrays_of(ORACLE / case / "weights.npz"), origin=case)
    return classifier


@functools.cache
def _network(classes: int, pooler: bool) -> BertClassifier:
    return build_classifier(CONFIG.replace(use_encoder_pooler=pooler), classes)


def google_names(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The oracle's weights as google-research/bert stores them, with what Adam leaves beside them."""
    pieces = [
        ("_network/_embedding_layer/embeddings", "bert/embeddings/word_embeddings"),
        ("_network/_position_embedding_layer/embeddings", "bert/embeddings/position_embeddings"),
        ("_network/_type_embedding_layer/embeddings", "bert/embeddings/token_type_embeddings"),
        ("_network/_embedding_norm_layer", "bert/embeddings/LayerNorm"),
        ("_network/_pooler_layer", "bert/pooler/dense"),
        ("_network/_transformer_layers/", "bert/encoder/layer_"),
        ("_attention_layer/_output_dense", "attention/output/dense"),
        ("_attention_layer/_query_dense", "attention/self/query"),
        ("_attention_layer/_key_dense", "attention/self/key"),
        ("_attention_layer/_value_dense", "attention/self/value"),
        ("_attention_layer_norm", "attention/output/LayerNorm"),
        ("_intermediate_dense", "intermediate/dense"),
        ("_output_dense", "output/dense"),
        ("_output_layer_norm", "output/LayerNorm"),
        ("classifier/out_proj/kernel", "output_weights"),
        ("classifier/out_proj/bias", "output_bias"),
    ]
    stored = {"global_step": np.zeros((), np.int64), "cls/seq_relationship/output_bias": np.zeros(2, np.float32)}
    for name, array in weights.items():
        if name.endswith("_output_dense/kernel") or "_dense/kernel" not in name:
            flat = array.reshape(-1, array.shape[-1]) if name.endswith("/kernel") else array
        else:
            flat = array.reshape(len(array), -1)
        if "/_attention_layer/" in name and name.endswith("/bias"):
            flat = array.reshape(-1)
        for ours, theirs in pieces:
            name = name.replace(ours, theirs)
        stored[name] = flat.T if name == "output_weights" else flat
        stored |= {f"{name}/{slot}": np.zeros_like(stored[name]) for slot in ("adam_m", "adam_v")}
    return stored


def write_tf1(tmp_path: Path, *, drop: str = "", add: dict[str, np.ndarray] | None = None) -> Path:
    stored = google_names(arrays_of(ORACLE / "cls3_pooler_v2" / "weights.npz")) | (add or {})
    stored = {name: array for name, array in stored.items() if not drop or not name.startswith(drop)}
    (tmp_path / "bert_config.json").write_text(json.dumps(GOOGLE))
    names = sorted(stored)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "bert_model.ckpt"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(stored[name]) for name in names],
    )
    return tmp_path


def main_inputs() -> dict[str, np.ndarray]:
    sets = arrays_of(ORACLE / "inputs.npz")
    return {key: sets[f"main/{key}"] for key in INPUT_NAMES}


def assert_scores_as_reference(path: Path, case: str) -> None:
    logits = build_from(load(path))(main_inputs())
    np.testing.assert_allclose(logits, arrays_of(ORACLE / case / "outputs_main.npz")["logits"], atol=1e-5)


def write_params(folder: Path, encoder: dict[str, object], **model: object) -> None:
    task = {"model": {"encoder": {"type": "bert", "bert": encoder}, **model}}
    (folder / "params.yaml").write_text(yaml.safe_dump({"task": task}))


def copied(tmp_path: Path, case: str = "cls3_pooler_v2", layout: str = "ckpt_model") -> Path:
    return Path(shutil.copytree(ORACLE / case / layout, tmp_path / layout))
