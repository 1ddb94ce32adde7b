"""The same weights in other containers: half precision, shards, names of wrappers; and tokenizer.json alone."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
HALVES = {"BF16": ml_dtypes.bfloat16, "F16": np.float16}
_TYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "int64": "I64"}


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """A safetensors file, byte by byte: the library has no BF16 for numpy."""
    header, blocks, place = {}, [], 0
    for name, array in tensors.items():
        block = np.ascontiguousarray(array).tobytes()
        kind = _TYPES[array.dtype.name]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [place, place + len(block)]}
        blocks.append(block)
        place += len(block)
    described = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(described)) + described + b"".join(blocks))


def rounded(weights: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """The weights in half precision."""
    return {name: array.astype(HALVES[kind]) for name, array in weights.items()}


def renamed(folder: Path, prefix: str) -> None:
    """Puts a prefix before every name."""
    save_file({prefix + name: array for name, array in load_file(folder / SINGLE).items()}, folder / SINGLE)


def shards(folder: Path, count: int = 3, kind: str | None = None) -> dict[str, str]:
    """Writes model.safetensors as shards with their index, and gives the file of each weight."""
    weights: Mapping[str, np.ndarray] = load_file(folder / SINGLE)
    weights = weights if kind is None else rounded(weights, kind)
    names = [f"model-{number + 1:05}-of-{count:05}.safetensors" for number in range(count)]
    places = {name: names[number % count] for number, name in enumerate(sorted(weights))}
    for file in names:
        write_tensors(folder / file, {name: array for name, array in weights.items() if places[name] == file})
    write_index(folder, places)
    (folder / SINGLE).unlink()
    return places


def write_index(folder: Path, places: Mapping[str, object]) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": places}))


def edit_shard(file: Path, changes: Mapping[str, np.ndarray | None]) -> None:
    """Sets tensors of a shard in float32; None takes one out."""
    kept = {name: array for name, array in (load_file(file) | dict(changes)).items() if array is not None}
    save_file(kept, file)
