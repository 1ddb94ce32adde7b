"""Weights that somebody else trained -> our models, with nothing missing and nothing left over.

Every source is mapped onto one set of names, the canonical tree: the attribute path of a variable below a
BertClassifier, such as `_network/_transformer_layers/0/_intermediate_dense/kernel`. A source is a function
that returns a mapping from these names to arrays; `assign` does the rest.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from safetensors import safe_open

from model.classifier import BertClassifier, build_classifier
from model.config import BertConfig
from model.encoder import BertEncoder

ENCODER_PREFIX = "_network/"

# Keras numbers the layers of a functional model, and a head brought by the user hangs on two attributes.
_SECOND_NAMES = ("layer-", "layer_with_weights-", "_cls_head")

_FLOAT_TYPES = ("F16", "F32", "F64")


class CheckpointError(ValueError):
    """A checkpoint does not fit the model; the message names file, key, shape and way out."""


def canonical_variables(model: BertClassifier | BertEncoder) -> dict[str, tf.Variable]:
    """Returns canonical name -> variable; an encoder alone has only the names below `_network/`."""
    view = tf.train.TrackableView(model)
    found: dict[str, tf.Variable] = {}
    seen: set[int] = set()

    def visit(node: Any, path: str) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, tf.Variable):
            found[path] = node
            return
        for name, child in view.children(node).items():
            if not name.startswith(_SECOND_NAMES):
                visit(child, f"{path}/{name}" if path else name)

    visit(model, "" if isinstance(model, BertClassifier) else ENCODER_PREFIX.rstrip("/"))
    return found


def read_weights(model: BertClassifier | BertEncoder) -> dict[str, np.ndarray]:
    """Returns canonical name -> array, a copy of the model's present weights."""
    return {name: variable.numpy() for name, variable in canonical_variables(model).items()}


def assign(model: BertClassifier | BertEncoder, weights: Mapping[str, np.ndarray], *, origin: str) -> None:
    """Sets every variable of `model` from `weights`, or raises CheckpointError and changes nothing.

    `weights` maps canonical names to arrays of exactly the variables' shapes; `origin` is the name errors give
    to the source.
    """
    variables = canonical_variables(model)
    if missing := sorted(variables.keys() - weights.keys()):
        raise CheckpointError(
            f"{origin}: has no weights for {_some(missing)}. The model would score with random weights there; "
            "build it with the layers, head and use_encoder_pooler of the checkpoint"
        )
    if left_over := sorted(weights.keys() - variables.keys()):
        raise CheckpointError(
            f"{origin}: the model has no place for {_some(left_over)}. "
            "Build it with the layers, head and use_encoder_pooler of the checkpoint"
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != weights[name].shape:
            raise CheckpointError(
                f"{origin}: {name} has shape {list(weights[name].shape)}, the model's is {list(variable.shape)}; "
                "build the model with the sizes of the checkpoint"
            )
    for name, variable in variables.items():
        variable.assign(weights[name])


def load_hugging_face_encoder(folder: str | Path) -> tuple[BertConfig, BertEncoder]:
    """Loads the encoder of a Hugging Face BERT folder (`config.json`, `model.safetensors`), to be fine-tuned.

    The folder may hold a bare BertModel or a model with a head, which is ignored. Raises CheckpointError.
    """
    source = _HuggingFaceFolder(folder)
    encoder = BertEncoder.from_bert_config(source.config)
    assign(encoder, source.weights_for(encoder, ignored=("cls.", "classifier.")), origin=source.origin)
    return source.config, encoder


def load_hugging_face_classifier(folder: str | Path) -> tuple[BertConfig, BertClassifier, tuple[str, ...]]:
    """Loads a Hugging Face BertForSequenceClassification folder and its labels, in the order of the logits.

    A single label means regression. Raises CheckpointError, also for a folder without a trained head.
    """
    source = _HuggingFaceFolder(folder)
    if "classifier.weight" not in source.tensors:
        raise CheckpointError(
            f"{source.origin}: has no classifier.weight, so it is an encoder without a trained head; "
            "fine-tune it on labelled rows instead"
        )
    labels = source.labels()
    classifier = build_classifier(source.config, len(labels))
    assign(classifier, source.weights_for(classifier, ignored=("cls.",)), origin=source.origin)
    return source.config, classifier, labels


class _HuggingFaceFolder:
    """Config and tensors of a folder, with names from before and after 2020 made one."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        path = folder / "model.safetensors"
        for file in (folder / "config.json", path):
            if not file.is_file():
                raise CheckpointError(
                    f"{file}: not there. A Hugging Face folder needs config.json and model.safetensors, in one "
                    "piece; save_pretrained(folder, safe_serialization=True) writes both"
                )
        self.origin = str(path)
        self._json: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        try:
            self.config = BertConfig.from_hugging_face(self._json)
        except ValueError as error:
            raise CheckpointError(f"{folder / 'config.json'}: {error}") from error
        self.tensors = _read_safetensors(path)

    def labels(self) -> tuple[str, ...]:
        rows = self.tensors["classifier.weight"].shape[0]
        problem = self._json.get("problem_type")
        if problem == "multi_label_classification" or (problem == "regression" and rows != 1):
            raise CheckpointError(
                f"{self.origin}: problem_type is {problem!r} with {rows} outputs; only one label of several, "
                "or one regression value, can be scored"
            )
        named = {int(i): str(label) for i, label in self._json.get("id2label", {}).items()}
        named = named or {i: f"LABEL_{i}" for i in range(rows)}
        if sorted(named) != list(range(rows)):
            raise CheckpointError(
                f"{self.origin}: classifier.weight has {rows} rows, but id2label in config.json numbers its "
                f"labels {sorted(named)}; give it one label a row, counted from 0"
            )
        return tuple(named[i] for i in range(rows))

    def weights_for(self, model: BertClassifier | BertEncoder, ignored: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Returns what `assign` needs; `ignored` are the beginnings of keys that may be left over."""
        left_over = {key for key in self.tensors if not key.startswith(ignored)}
        left_over.discard("bert.embeddings.position_ids")
        weights = {}
        for name, variable in canonical_variables(model).items():
            key = _hugging_face_key(name)
            if key not in self.tensors:
                raise CheckpointError(
                    f"{self.origin}: has no {key} for {name}; the file holds less than the network that its "
                    "config.json describes. Save the whole model again, pooler included"
                )
            weights[name] = self._reshaped(key, name, tuple(variable.shape))
            left_over.discard(key)
        if left_over:
            raise CheckpointError(
                f"{self.origin}: {_some(sorted(left_over))} would not be used, so the scores would be wrong; "
                "does config.json belong to this file, and is it a plain BertForSequenceClassification?"
            )
        return weights

    def _reshaped(self, key: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
        tensor = self.tensors[key]
        wanted = shape
        if name.endswith("/kernel"):
            # PyTorch stores [out, in]; ours is [in, out] with the heads as an axis of their own.
            inputs = 2 if name.endswith("_attention_layer/_output_dense/kernel") else 1
            wanted = (int(np.prod(shape[inputs:])), int(np.prod(shape[:inputs])))
        elif name.endswith("/bias"):
            wanted = (int(np.prod(shape)),)
        if tensor.shape != wanted:
            raise CheckpointError(
                f"{self.origin}: {key} has shape {list(tensor.shape)}, but config.json asks for {list(wanted)}; "
                "does config.json belong to this file?"
            )
        return (tensor.T if name.endswith("/kernel") else tensor).reshape(shape).astype(np.float32)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    with safe_open(str(path), framework="np") as file:
        for stored in file.keys():  # noqa: SIM118 (the file is no mapping)
            kind = file.get_slice(stored).get_dtype()
            if kind not in _FLOAT_TYPES and not stored.endswith("position_ids"):
                raise CheckpointError(
                    f"{path}: {stored} has type {kind}; save the model as float32 (or one of {_FLOAT_TYPES})"
                )
            tensors[_modern_key(stored)] = file.get_tensor(stored)
    return tensors


def _modern_key(key: str) -> str:
    key = key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    # A bare BertModel has the encoder at the top.
    return f"bert.{key}" if key.startswith(("embeddings.", "encoder.", "pooler.")) else key


_HUGGING_FACE_LAYERS = {
    "_network/_embedding_layer": "bert.embeddings.word_embeddings",
    "_network/_position_embedding_layer": "bert.embeddings.position_embeddings",
    "_network/_type_embedding_layer": "bert.embeddings.token_type_embeddings",
    "_network/_embedding_norm_layer": "bert.embeddings.LayerNorm",
    "_network/_pooler_layer": "bert.pooler.dense",
    "classifier/out_proj": "classifier",
}

_HUGGING_FACE_SUBLAYERS = {
    "_attention_layer/_query_dense": "attention.self.query",
    "_attention_layer/_key_dense": "attention.self.key",
    "_attention_layer/_value_dense": "attention.self.value",
    "_attention_layer/_output_dense": "attention.output.dense",
    "_attention_layer_norm": "attention.output.LayerNorm",
    "_intermediate_dense": "intermediate.dense",
    "_output_dense": "output.dense",
    "_output_layer_norm": "output.LayerNorm",
}


def _hugging_face_key(name: str) -> str:
    layer, leaf = name.rsplit("/", 1)
    suffix = "bias" if leaf in ("bias", "beta") else "weight"
    if layer in _HUGGING_FACE_LAYERS:
        return f"{_HUGGING_FACE_LAYERS[layer]}.{suffix}"
    index, sublayer = layer.removeprefix("_network/_transformer_layers/").split("/", 1)
    return f"bert.encoder.layer.{index}.{_HUGGING_FACE_SUBLAYERS[sublayer]}.{suffix}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
