"""Hugging Face folders: `config.json`, `model.safetensors` and the tokenizer's files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoints.checkpoint import Checkpoint, as_weights, some
from model.checkpoints.cross_encoder import read_activation
from model.checkpoints.families import Family, family_of
from model.checkpoints.json_files import read_json
from model.checkpoints.safetensors_files import INDEX, SINGLE, read_tensors
from model.checkpoints.tokenizer_files import read_tokenizer
from model.errors import CheckpointError
from model.network.weights import encoder_shapes

SEVERAL = "multi_label_classification"
"""The problem_type of a model that gives any number of its labels."""


def read_hugging_face(folder: str | Path, *, head: bool = True) -> Checkpoint:
    """Reads a BertForSequenceClassification or that of its kin (families.py), or one without head or with pretraining
    heads.

    A single label means regression. Without `head` a classifier in the file is ignored.
    Raises CheckpointError for everything that would score differently here.
    """
    folder = Path(folder)
    for file, there in ((folder / "config.json", False), (folder / SINGLE, (folder / INDEX).is_file())):
        if not there and not file.is_file():
            raise CheckpointError(
                f"{file}: not there. A Hugging Face folder needs config.json and model.safetensors, or its shards and "
                "their index; save_pretrained(folder, safe_serialization=True) writes both"
            )
    described = read_json(folder / "config.json")
    try:
        family = family_of(described)
        config = family.config(described)
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error
    stored = read_tensors(folder)
    path, notes = stored.origin, list(stored.notes)
    tensors = _modern(path, stored.arrays, family)
    shapes = encoder_shapes(config)
    labels, activation, assumed = None, None, False
    if head and _has_classifier(path, tensors, family):
        notes += _check_architecture(folder / "config.json", described, family)
        out = f"{family.head['classifier/out_proj']}.weight"
        labels = _labels(folder / "config.json", described, len(tensors.get(out, ())))
        activation = read_activation(folder, described)
        assumed = len(labels) == 1 and activation is None and described.get("problem_type") is None
        widths = {"classifier/dense": config.hidden_size, "classifier/out_proj": len(labels)}
        for layer in family.head:
            shapes |= {f"{layer}/kernel": (config.hidden_size, widths[layer]), f"{layer}/bias": (widths[layer],)}
    weights = {name: _reshaped(path, tensors, name, shape, family) for name, shape in shapes.items()}
    return Checkpoint(
        origin=str(path),
        layout="Hugging Face folder" if stored.files == 1 else f"Hugging Face folder, weights in {stored.files} files",
        config=config,
        weights=weights,
        ignored=_ignored(path, tensors, {key for name in shapes if (key := family.key(name))}, head, family),
        notes=tuple(notes),
        said_by={"activation": str(folder / "config.json"), "norm_first": f"Hugging Face's {family.name}"},
        labels=labels,
        flavour="huggingface",
        truncator="longest_first",
        activation=activation,
        activation_assumed=assumed,
        several=labels is not None and described.get("problem_type") == SEVERAL,
        has_pooler=family.has_pooler,
        **read_tokenizer(folder, config.vocab_size),
    )


def _labels(file: Path, described: dict[str, Any], rows: int) -> tuple[str, ...]:
    problem = described.get("problem_type")
    known = {"regression": rows != 1, "single_label_classification": rows == 1, SEVERAL: rows == 1, None: False}
    if known.get(problem, True):
        raise CheckpointError(
            f"{file}: problem_type is {problem!r} with {rows} outputs; only one label of several, any "
            "number of several, or one regression value, can be scored: bring such a model"
        )
    named = _named(file, described)
    named = named or {i: f"LABEL_{i}" for i in range(rows)}
    if sorted(named) != list(range(rows)):
        raise CheckpointError(
            f"{file}: classifier.weight has {rows} rows, but id2label numbers its "
            f"labels {sorted(named)}; give it one label a row, counted from 0"
        )
    return tuple(named[i] for i in range(rows))


def _named(file: Path, described: dict[str, Any]) -> dict[int, str]:
    """id2label by number, empty if it is not there; refused where label2id says otherwise."""
    named, numbers = described.get("id2label") or {}, described.get("label2id")
    if not isinstance(named, dict) or not all(number.isdecimal() for number in named):
        raise CheckpointError(f"{file}: id2label is no mapping of numbers to labels; give it one label a row, from 0")
    for number, label in named.items():
        other = numbers.get(label, number) if isinstance(numbers, dict) else number
        if str(other) != number:
            raise CheckpointError(
                f"{file}: id2label gives output {number} the label {label!r}, to which label2id gives {other}; "
                "make the two agree with the training"
            )
    return {int(number): str(label) for number, label in named.items()}


def _has_classifier(path: Path, tensors: Mapping[str, np.ndarray], family: Family) -> bool:
    """Whether there is the head of a text classifier; refused where there is one for tokens."""
    if family.of_texts in tensors:
        return True
    if family.of_tokens in tensors:
        raise CheckpointError(
            f"{path}: has {family.of_tokens} but no {family.of_texts}: a label for each token, not for a text; bring a "
            f"model of {family.architecture}"
        )
    return False


def _check_architecture(file: Path, described: dict[str, Any], family: Family) -> list[str]:
    """Other heads, of tokens or of multiple choice, have the same names and shapes and are read in another way.

    Returns a note where nothing says which head it is.
    """
    named = described.get("architectures")
    if not named:
        taken = f"head: {family.of_texts} is taken for that of {family.architecture}"
        return [f"{taken}; {file} names no architectures"]
    if not set(family.classifiers) & set(map(str, named)):
        raise CheckpointError(
            f"{file}: architectures is {named!r}, but {family.of_texts} can only be scored as the head of "
            f"{family.architecture}: bring such a model"
        )
    return []


def _ignored(path: Path, tensors: dict[str, np.ndarray], used: set[str], head: bool, family: Family) -> dict[str, str]:
    ignored, left_over = {}, []
    for key in sorted(tensors.keys() - used):
        if key == f"{family.prefix}.embeddings.position_ids":
            ignored[key] = "the numbers 0, 1, 2 …, no weights"
        elif key.startswith(family.pretraining):
            ignored[key] = "head of pretraining"
        elif key.startswith(("classifier.", "pre_classifier.")) and not head:
            ignored[key] = "head, to be trained anew"
        else:
            left_over.append(key)
    if left_over:
        raise CheckpointError(
            f"{path}: {some(left_over)} would not be used, so the scores would be wrong; "
            f"does config.json belong to this file, and is it a plain {family.architecture}?"
        )
    return ignored


def _reshaped(
    path: Path, tensors: dict[str, np.ndarray], name: str, shape: tuple[int, ...], family: Family
) -> np.ndarray:
    key = family.key(name)
    if key is None:
        return np.zeros(shape, np.float32)
    if key not in tensors:
        if prefix := next((other.removesuffix(key) for other in tensors if other.endswith(f".{key}")), None):
            raise CheckpointError(
                f"{path}: {key} stands there as {prefix}{key}, as the weights of a model inside another one; save the "
                f"inner model itself, with save_pretrained(folder)"
            )
        raise CheckpointError(
            f"{path}: has no {key} for {name}; the file holds less than the network that its "
            "config.json describes. Save the whole model again, with all its parts"
        )
    tensor, wanted = tensors[key], shape
    if name.endswith("/kernel"):
        # PyTorch stores [out, in]; ours is [in, out] with the heads as an axis of their own.
        inputs = 2 if name.endswith("_attention_layer/_output_dense/kernel") else 1
        wanted = (int(np.prod(shape[inputs:])), int(np.prod(shape[:inputs])))
    elif name.endswith("/bias"):
        wanted = (int(np.prod(shape)),)
    if tensor.shape != wanted:
        raise CheckpointError(
            f"{path}: {key} has shape {list(tensor.shape)}, but config.json asks for {list(wanted)}; "
            "does config.json belong to this file?"
        )
    tensor = as_weights(str(path), key, tensor)
    return (tensor.T if name.endswith("/kernel") else tensor).reshape(shape)


def _modern(path: Path, stored: Mapping[str, np.ndarray], family: Family) -> dict[str, np.ndarray]:
    """The tensors under today's names, those of a bare encoder below its prefix (`bert.`)."""
    tensors: dict[str, np.ndarray] = {}
    for name, array in stored.items():
        key = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        # A bare BertModel has the encoder at the top.
        key = f"{family.prefix}.{key}" if key.startswith(family.top) else key
        if key in tensors:
            raise CheckpointError(
                f"{path}: has {key} twice, under an old and a new name; only one can be right: save the model again"
            )
        tensors[key] = array
    return tensors
