"""The configuration beside a TensorFlow checkpoint: Model Garden's params.yaml, Google's bert_config.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model.errors import CheckpointError
from model.network.config import LAYER_NORM_EPSILON, BertConfig

FILES = ("params.yaml", "bert_config.json", "config.json")

FORMULA = ("activation", "norm_first")
"""What no shape of a checkpoint shows."""

# Here "gelu" is the tanh form, in both files; Hugging Face's "gelu" is the exact one.
_ACTIVATIONS = {"gelu": "gelu_tanh", "gelu_new": "gelu_tanh", "relu": "relu"}

_MODEL_GARDEN = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_layers",
    "num_attention_heads": "num_attention_heads",
    "intermediate_size": "inner_dim",
    "max_position_embeddings": "max_sequence_length",
    "type_vocab_size": "type_vocab_size",
    "embedding_size": "embedding_width",
    "norm_first": "norm_first",
    "dropout_rate": "output_dropout",
    "attention_dropout_rate": "attention_dropout",
    "initializer_range": "initializer_range",
}
_GOOGLE = {
    "num_hidden_layers": "num_layers",
    "hidden_dropout_prob": "output_dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What the file says, under the names of BertConfig; `num_classes`, `lower_case`, `seq_length` None if unsaid.

    `text_fields` are the names of the texts of a row, in their order; empty if unsaid.
    """

    path: Path
    fields: Mapping[str, Any]
    num_classes: int | None = None
    lower_case: bool | None = None
    seq_length: int | None = None
    text_fields: tuple[str, ...] = ()


def find_run_config(folders: list[Path]) -> RunConfig | None:
    """Reads the first of params.yaml, bert_config.json and config.json in `folders`, None if there is none.

    Raises CheckpointError for an encoder that is not BERT, an unsupported activation or layer-norm epsilon, and where
    bert_config.json says something else than params.yaml beside it.
    """
    for folder in folders:
        files = [folder / name for name in FILES if (folder / name).is_file()]
        if files:
            run = _read(files[0])
            for other in files[1:]:
                if other.name == "bert_config.json":
                    _check_same(run, _read(other))
            return run
    return None


def _check_same(run: RunConfig, other: RunConfig) -> None:
    # Dropout and initializers may change from training to training; they do not change a score.
    training = {"output_dropout", "attention_dropout", "initializer_range"}
    for name in sorted(run.fields.keys() & other.fields.keys() - training):
        if run.fields[name] != other.fields[name]:
            raise CheckpointError(
                f"{other.path}: {name} is {other.fields[name]!r}, but {run.path.name} beside it says "
                f"{run.fields[name]!r}; keep the file that belongs to the checkpoint"
            )


def _read(path: Path) -> RunConfig:
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (ValueError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}); restore it from its source") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: is not a mapping of keys to values; restore it from its source")
    if "model_type" in content:
        raise CheckpointError(
            f"{path}: is a Hugging Face configuration beside a TensorFlow checkpoint; its 'gelu' is another function. "
            "Give the checkpoint's own params.yaml or bert_config.json, or the Hugging Face folder with its weights"
        )
    task = _part(content, "task")
    model = _part(task, "model")
    encoder = _part(model, "encoder") or _part(content, "encoder")
    kind = encoder.get("type", "bert")
    if kind not in ("bert", "bert_v2"):
        raise CheckpointError(
            f"{path}: encoder.type is {kind!r}; only 'bert' and 'bert_v2' can be scored: bring a BERT"
        )
    sizes = _part(encoder, kind) or (content if "hidden_size" in content else {})
    data = _part(task, "train_data")
    texts = data.get("text_fields") or _part(task, "validation_data").get("text_fields")
    fields = {
        ours: sizes[theirs] for theirs, ours in (_MODEL_GARDEN | _GOOGLE).items() if sizes.get(theirs) is not None
    }
    return RunConfig(
        path=path,
        fields={**fields, **_formula(path, sizes), **_picked(model, "use_encoder_pooler")},
        num_classes=model.get("num_classes") or None,
        lower_case=data.get("lower_case"),
        seq_length=data.get("seq_length"),
        text_fields=tuple(map(str, texts)) if isinstance(texts, list) else (),
    )


def _formula(path: Path, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The activation, once everything that our encoder computes otherwise is refused."""
    wanted = {"position_embedding_type": "absolute", "layer_norm_eps": LAYER_NORM_EPSILON}
    for key, value in wanted.items():
        if sizes.get(key, value) != value:
            raise CheckpointError(
                f"{path}: {key} is {sizes[key]!r}, but only {value!r} can be loaded: the model would score differently"
                "; bring another model"
            )
    key = "hidden_activation" if "hidden_activation" in sizes else "hidden_act"
    if key not in sizes:
        return {}
    if str(sizes[key]) not in _ACTIVATIONS:
        raise CheckpointError(
            f"{path}: {key} is {sizes[key]!r}; supported are {', '.join(_ACTIVATIONS)}: bring a model with one of them"
        )
    return {"activation": _ACTIVATIONS[sizes[key]]}


def merged_config(origin: str, found: Mapping[str, Any], run: RunConfig | None) -> tuple[BertConfig, dict[str, str]]:
    """BertConfig of the sizes `found` in a checkpoint and of the file beside it, and a note on each field of FORMULA
    that had to be assumed.

    Raises CheckpointError where the two disagree.
    """
    said = dict(run.fields) if run else {}
    for name, value in found.items():
        given = said.get(name, value)
        if name == "embedding_width" and given == found.get("hidden_size"):
            given = None
        if given != value:
            raise CheckpointError(
                f"{run.path if run else origin}: {name} is {given!r}, but the checkpoint {origin} has {value!r}; "
                "does the file belong to this checkpoint?"
            )
    fields = {**said, **found}
    assumed = {}
    beside = f"{run.path.name} does not say" if run else f"there is no {FILES[0]} or {FILES[1]} beside the checkpoint"
    if "activation" not in said:
        assumed["activation"] = (
            f"activation: the tanh form of GELU is assumed, the default of Model Garden ({beside}): give "
            "--hidden-activation for another one"
        )
    if "norm_first" not in said:
        assumed["norm_first"] = f"norm_first: False is assumed ({beside}): give --norm-first for a model that has it"
    try:
        return BertConfig(**fields), assumed
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{run.path if run else origin}: {error}") from error


def _part(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    part = content.get(key)
    return part if isinstance(part, dict) else {}


def _picked(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {key: content[key]} if content.get(key) is not None else {}
