"""The tensors of a Hugging Face folder: one safetensors file or shards with an index, under the model's own names."""

import json
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from model.checkpoints.checkpoint import some
from model.checkpoints.json_files import read_json
from model.errors import CheckpointError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_FLOAT_TYPES = ("BF16", "F16", "F32", "F64")
_HALVES = _FLOAT_TYPES[:2]

# What stands before the name of every weight of a wrapped model -> the wrapper, and what the model itself is in it.
_WRAPPERS = {
    "module": ("torch.nn.DataParallel or DistributedDataParallel", "model.module"),
    "_orig_mod": ("torch.compile", "model._orig_mod"),
    "_fsdp_wrapped_module": ("FullyShardedDataParallel", "model._fsdp_wrapped_module"),
    "_forward_module": ("Lightning's strategies, as for DeepSpeed,", "model._forward_module"),
}
_PEFT = ("base_model.model.", ".lora_", ".base_layer.", ".modules_to_save.", ".ia3_")
_ADAPTERS = (".adapters.", ".loras.")
"""Of AdapterHub, which cannot always be merged."""


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """`arrays` by the names that the model itself has for them; `origin` is the file errors name.

    BF16, which numpy has not, is float32 here; `files` is how many were read; `notes` say what was changed.
    """

    origin: Path
    arrays: Mapping[str, np.ndarray]
    files: int
    notes: tuple[str, ...]


def read_tensors(folder: Path) -> Tensors:
    """Reads model.safetensors, or the shards that its index names; raises CheckpointError if they are not whole."""
    index, notes = folder / INDEX, []
    if (folder / SINGLE).is_file():
        origin, files = folder / SINGLE, [folder / SINGLE]
        stored = dict(_read(origin))
        if index.is_file():
            notes.append(f"weights: those of {SINGLE}, which transformers prefers; {INDEX} beside it was not looked at")
    else:
        origin = index
        places = _places(index)
        files = [folder / name for name in sorted(set(places.values()))]
        stored = _read_shards(index, places, files)
    kinds = Counter(kind for kind, _ in stored.values() if kind in _HALVES)
    for kind, count in sorted(kinds.items()):
        notes.append(
            f"weights: {count} of {len(stored)} are stored in {kind} and were widened to float32, which loses nothing; "
            "where their maker computes in that type, the maker's scores are the coarser ones"
        )
    arrays, more = _unwrapped(origin, {key: array for key, (_, array) in stored.items()})
    return Tensors(origin=origin, arrays=arrays, files=len(files), notes=(*notes, *more))


def _places(index: Path) -> dict[str, str]:
    """Weight -> the file that the index names for it, once all of them are there and no others."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index}: has no weight_map of weights to files; copy the file again")
    for name in sorted(set(map(str, places.values()))):
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise CheckpointError(
                f"{index}: names the file {name!r}, which is no safetensors file of its folder; save the model again"
            )
        if not (index.parent / name).is_file():
            raise CheckpointError(
                f"{index.parent / name}: not there, although {INDEX} places weights in it; copy all of its files again"
            )
    found = {file.name for file in index.parent.glob("*-of-*.safetensors")}
    if odd := sorted(found - set(places.values())):
        raise CheckpointError(
            f"{index.parent / odd[0]}: {INDEX} does not name it; keep the files of one save only, with its own index"
        )
    return places


def _read_shards(index: Path, places: Mapping[str, str], files: Iterable[Path]) -> dict[str, tuple[str, np.ndarray]]:
    stored: dict[str, tuple[str, np.ndarray]] = {}
    for file in files:
        for key, found in _read(file):
            if places.get(key) != file.name:
                said = f"places it in {places[key]}" if key in places else "does not name it"
                raise CheckpointError(
                    f"{file}: holds {key}, but {INDEX} {said}; copy all files of one save again, with its own index"
                )
            stored[key] = found
    if missing := sorted(places.keys() - stored.keys()):
        raise CheckpointError(
            f"{index.parent / places[missing[0]]}: has no {some(missing)}, although {INDEX} places it there; copy all "
            "files of one save again, with its own index"
        )
    return stored


def _read(path: Path) -> Iterator[tuple[str, tuple[str, np.ndarray]]]:
    """Name, stored type and array of each tensor in a file."""
    try:
        with safe_open(str(path), framework="np") as file:
            for key in file.keys():  # noqa: SIM118 (the file is no mapping)
                kind = file.get_slice(key).get_dtype()
                if kind not in _FLOAT_TYPES and not key.endswith("position_ids"):
                    raise CheckpointError(
                        f"{path}: {key} has type {kind}; save the model as float32 (or one of {_FLOAT_TYPES})"
                    )
                yield key, (kind, _bfloat16(path, key) if kind == "BF16" else file.get_tensor(key))
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: is damaged, or no safetensors file (a Git LFS pointer, for example); copy the file itself again"
        ) from error


def _bfloat16(path: Path, key: str) -> np.ndarray:
    """A tensor that numpy has no type for, as float32: its bits are the upper half of a float32's.

    `path` was opened by safetensors before, which checks where its tensors lie.
    """
    header, start = _header(path)
    shape, (first, last) = header[key]["shape"], header[key]["data_offsets"]
    halves = np.fromfile(path, "<u2", count=(last - first) // 2, offset=start + first)
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(shape)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """What the beginning of the file says of each tensor, and where the first one begins."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)), 8 + size


def _unwrapped(origin: Path, tensors: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The tensors under the names they have in the model itself, and notes on what was taken off."""
    if adapted := [key for key in tensors if any(part in key for part in _ADAPTERS)]:
        raise CheckpointError(
            f"{origin}: {some(adapted)} are weights of adapters (AdapterHub), which are computed beside the model; "
            "bring a model that was fine-tuned whole, or merge them with model.merge_adapter(name) if they can be"
        )
    if adapted := [key for key in tensors if key.startswith(_PEFT[0]) or any(part in key for part in _PEFT[1:])]:
        raise CheckpointError(
            f"{origin}: {some(adapted)} are the names of a model that PEFT adapts; merge the adapter first: "
            "model.merge_and_unload().save_pretrained(folder)"
        )
    notes = []
    while prefix := next((p for p in _WRAPPERS if tensors and all(key.startswith(f"{p}.") for key in tensors)), None):
        tensors = {key.removeprefix(f"{prefix}."): array for key, array in tensors.items()}
        notes.append(f"weights: {prefix}. was taken off every name; {_WRAPPERS[prefix][0]} puts it there")
    for prefix, (wrapper, inner) in _WRAPPERS.items():
        if wrapped := [key for key in tensors if prefix in key.split(".")]:
            raise CheckpointError(
                f"{origin}: {prefix} in {some(wrapped)} is from {wrapper}, but other names have none; save the model "
                f"itself: {inner}.save_pretrained(folder)"
            )
    return tensors, notes
