"""Finds out what a user brings, and reads it."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tensorflow as tf

from model.checkpoints.checkpoint import Checkpoint, build_encoder_from
from model.checkpoints.hugging_face import read_hugging_face
from model.checkpoints.model_garden import GRAPH, read_model_garden
from model.checkpoints.run_configs import find_run_config
from model.checkpoints.safetensors_files import INDEX, SINGLE
from model.checkpoints.stored_variables import Stored
from model.checkpoints.tf1 import WORDS, read_tf1
from model.checkpoints.tokenizer_files import read_tokenizer
from model.errors import CheckpointError
from model.network.config import BertConfig
from model.network.encoder import BertEncoder

_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_NOT_READ = {
    "pytorch_model.bin": "save_pretrained(folder, safe_serialization=True) writes model.safetensors",
    "pytorch_model.bin.index.json": "save_pretrained(folder, safe_serialization=True) writes safetensors",
    "tf_model.h5": "load it with from_pretrained and save_pretrained(folder, safe_serialization=True)",
}


@dataclass(frozen=True, kw_only=True)
class Detected:
    """What is at a path: a Hugging Face `path` (a folder), or the prefix of a TensorFlow checkpoint.

    `folders` are where its vocabulary and configuration may be, the nearest first.
    """

    kind: Literal["hugging_face", "model_garden", "tf1"]
    path: Path
    folders: tuple[Path, ...]


def detect(path: str | Path) -> Detected:
    """Finds the layout of a folder, a checkpoint prefix or one of its files; raises CheckpointError."""
    path = Path(path)
    if path.name.endswith((".safetensors", INDEX)) and path.is_file():
        path = path.parent
    if adapter := next((path / name for name in _ADAPTER if (path / name).is_file()), None):
        raise CheckpointError(
            f"{adapter}: is an adapter of PEFT, which is no whole model; merge it into its model first: "
            "AutoPeftModelForSequenceClassification.from_pretrained(folder).merge_and_unload().save_pretrained(another)"
        )
    if path.suffix in (".h5", ".keras", ".bin", ".pt", ".ckpt") and path.is_file():
        raise CheckpointError(
            f"{path}: whole-model and PyTorch files are not read; save the model with "
            "tf.train.Checkpoint(model=classifier).write(prefix), or save_pretrained(folder, safe_serialization=True)"
        )
    if (path / SINGLE).is_file() or (path / INDEX).is_file():
        return Detected(kind="hugging_face", path=path, folders=(path,))
    prefix = _prefix(path)
    stored = Stored(prefix).shapes
    folders = tuple(dict.fromkeys((path if path.is_dir() else prefix.parent, prefix.parent, prefix.parent.parent)))
    if prefix.name == "variables":
        folders = (path / "assets", *folders)
    if GRAPH in stored:
        return Detected(kind="model_garden", path=prefix, folders=folders)
    if WORDS in stored:
        return Detected(kind="tf1", path=prefix, folders=folders)
    raise CheckpointError(
        f"{prefix}: is a TensorFlow checkpoint with neither an object graph ({GRAPH}) nor google-research's names "
        f"({WORDS}); save the model with tf.train.Checkpoint(model=classifier).write(prefix)"
    )


def load(path: str | Path, *, head: bool = True) -> Checkpoint:
    """Reads what is at `path`, whatever its layout; without `head` the encoder alone. Raises CheckpointError."""
    found = detect(path)
    if found.kind == "hugging_face":
        return read_hugging_face(found.path, head=head)
    run = find_run_config(list(found.folders))
    read = read_model_garden if found.kind == "model_garden" else read_tf1
    checkpoint = read(found.path, run, head=head)
    graph = _export(found.path.parent.parent)
    if checkpoint.lower_case is None:
        checkpoint = dataclasses.replace(checkpoint, lower_case=exported_case(graph))
    if found.kind == "model_garden" and not checkpoint.text_fields and b"WordpieceTokenize" not in graph:
        checkpoint = dataclasses.replace(checkpoint, flavour_assumed=True)
    above = found.path.parent.parent if found.path.name != "variables" else None
    if run and run.path.parent == above:
        checkpoint = _noted(checkpoint, f"settings: those of {run.path}, in the folder above the checkpoint")
    for folder in found.folders:
        checkpoint = _with_tokenizer(checkpoint, folder)
        if checkpoint.vocabulary:
            if folder == above:
                checkpoint = _noted(checkpoint, f"vocabulary: that of {folder}, the folder above the checkpoint")
            break
    return checkpoint


def _with_tokenizer(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """Adds what the tokenizer's files in `folder` say and nothing said before; raises CheckpointError."""
    found = read_tokenizer(folder, checkpoint.config.vocab_size)
    cases = (checkpoint.lower_case, found["lower_case"])
    if None not in cases and len(set(cases)) > 1:
        raise CheckpointError(
            f"{folder}: is the tokenizer lower case? Its files say {cases[1]}, the training or the export of "
            f"{checkpoint.origin} says {cases[0]}; make them agree"
        )
    new = {key: value for key, value in found.items() if value is not None and getattr(checkpoint, key) is None}
    return dataclasses.replace(checkpoint, **new)


def _noted(checkpoint: Checkpoint, note: str) -> Checkpoint:
    return dataclasses.replace(checkpoint, notes=(*checkpoint.notes, note))


def load_encoder(path: str | Path, *, output_range: int | None = None) -> tuple[BertConfig, BertEncoder]:
    """Loads the encoder at `path`, in any layout, to be fine-tuned; its new head reads the encoder's pooled output, or
    pools for itself where the encoder has no pooler.

    Both are of the first token, so `output_range` 1, with which the last layer computes no other, suffices for it.
    """
    return encoder_of(load(path, head=False), output_range=output_range)


def encoder_of(checkpoint: Checkpoint, *, output_range: int | None = None) -> tuple[BertConfig, BertEncoder]:
    """The same of a checkpoint that was read without its head."""
    config = checkpoint.config
    if checkpoint.has_pooler:
        config = config.replace(use_encoder_pooler=True)
    return config, build_encoder_from(checkpoint, output_range=output_range)


def _prefix(path: Path) -> Path:
    """The checkpoint prefix that a folder, a prefix or one of a checkpoint's files stands for."""
    for name, way_out in _NOT_READ.items():
        if (path / name).is_file():
            raise CheckpointError(f"{path / name}: this form of weights is not read; {way_out}")
    if path.suffix == ".index" and path.is_file():
        return path.with_suffix("")
    if Path(f"{path}.index").is_file():
        return path
    if (path / "saved_model.pb").is_file():
        return path / "variables" / "variables"
    state = path / "checkpoint"
    if state.is_file():
        # The state file may hold the absolute path of another machine.
        newest = _newest(state)
        if (path / f"{newest}.index").is_file():
            return path / newest
        raise CheckpointError(f"{state}: names {newest!r}, which is not there; give the checkpoint's own path")
    found = sorted(path.glob("*.index"))
    if len(found) == 1:
        return found[0].with_suffix("")
    if found:
        raise CheckpointError(
            f"{path}: has {len(found)} checkpoints and no file named checkpoint that says which; give the path of one, "
            f"such as {found[-1].with_suffix('')}"
        )
    raise CheckpointError(
        f"{path}: there is no model that can be read. Give a Hugging Face folder (config.json, model.safetensors), a "
        "TensorFlow checkpoint (prefix or folder) or a SavedModel folder"
    )


def _newest(state: Path) -> str:
    """The name of the checkpoint that a state file names."""
    try:
        found = tf.train.get_checkpoint_state(str(state.parent))
    except UnicodeError:
        found = None
    if found is None:
        raise CheckpointError(f"{state}: cannot be read; give the checkpoint's own path")
    return Path(found.model_checkpoint_path).name


def _export(folder: Path) -> bytes:
    """The graph of a SavedModel, empty without one."""
    file = folder / "saved_model.pb"
    return file.read_bytes() if file.is_file() else b""


def exported_case(graph: bytes) -> bool | None:
    """Whether the text signature of a SavedModel folds case; None without one, and where the graph does not show it."""
    if b"FastWordpieceTokenize" in graph:
        return None  # Its case folding is compiled into a table.
    return b"CaseFoldUTF8" in graph if b"WordpieceTokenize" in graph else None


def load_vocabulary(path: str | Path) -> tuple[str, ...]:
    """The vocabulary beside the model at `path`; raises CheckpointError if there is none."""
    found = detect(path)
    for folder in found.folders:
        if tokens := read_tokenizer(folder, sys.maxsize)["vocabulary"]:
            return tokens  # type: ignore[no-any-return]
    raise CheckpointError(f"{found.folders[0] / 'vocab.txt'}: not there; give the vocabulary with --vocabulary")


def write_vocabulary(tokens: Sequence[str], path: Path) -> Path:
    """Writes one token a line."""
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path
