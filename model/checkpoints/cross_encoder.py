"""What sentence-transformers writes into a CrossEncoder's folder about the function after its head."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.checkpoints.json_files import read_json

SIGMOID = ("torch.nn.modules.activation.Sigmoid", "torch.nn.Sigmoid")
IDENTITY = ("torch.nn.modules.linear.Identity", "torch.nn.Identity")
SOFTMAX = ("torch.nn.modules.activation.Softmax", "torch.nn.Softmax")


def read_activation(folder: Path, described: Mapping[str, Any]) -> tuple[str, str] | None:
    """Where an activation is named (file and key) and its name there; None if nothing names one.

    `described` is the content of config.json. Versions from 5.4 on, from 4 on and earlier ones have places of their
    own, and a folder may have several: the newest counts, as it does there. Raises CheckpointError for a broken file.
    """
    named: list[tuple[str, Any]] = []
    file = folder / "config_sentence_transformers.json"
    if file.is_file():
        named.append((f"{file}: activation_fn", read_json(file).get("activation_fn")))
    file, section = folder / "config.json", described.get("sentence_transformers")
    if isinstance(section, dict):
        named.append((f"{file}: sentence_transformers.activation_fn", section.get("activation_fn")))
    key = "sbert_ce_default_activation_function"
    named.append((f"{file}: {key}", described.get(key)))
    return next(((place, str(name)) for place, name in named if name is not None), None)
