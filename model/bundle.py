"""The bundle: preprocessing graph, scoring graph, labels, limits and provenance in one folder with one fingerprint.

    bundle.json   transform_fn/   transformed_metadata/   scoring/

Knows no TensorFlow, so that looking at a bundle is quick.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from model.long_texts import LongTexts

FORMAT = 5
"""The format that is written. Every one from 1 on is read; see _SINCE."""
_SINCE = {
    "activation": 2,
    "engines": 3,
    "thresholds": 4,
    "embedding_width": 5,
    "long_texts": 5,
    "graph": 5,
}
"""Key -> the first format that has it."""
DESCRIPTION = "bundle.json"
SCORING = "scoring"
INT8 = "int8"
"""A precision, and the folder of its graph: what `bert-batch quantize` adds to the files of another bundle."""
TASKS = ("classification", "multilabel", "regression")
"""One label of several, any number of several labels, or a value."""
USUAL_THRESHOLD = 0.5
"""The probability from which a label of several is given, where nothing says more."""
ACTIVATIONS = ("none", "sigmoid")
"""What may stand between the one output of a regression and its value."""
FUSED, AS_EXPORTED = "fused", "as exported"
"""What computes the scores: our own form of the network, or the graph that its maker exported."""
TENSORFLOW, OPENVINO = "tensorflow", "openvino"
"""Engines: what can compute a scoring graph."""
_LISTS = ("labels", "precisions", "engines", "thresholds")
_OUTSIDE_FINGERPRINT = ("fingerprint", "created", "versions")


class BundleError(ValueError):
    """A bundle is incomplete, changed or not one at all."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What `bundle.json` says, read from `path`.

    `labels` is empty for a regression. `activation` is what makes the shown numbers of the logits: softmax for a
    classification, a sigmoid of each for several labels, none or sigmoid for a regression; it is part of the scoring
    graph. `thresholds` has the probability from which each label of several is given, and is empty for other tasks.
    `long_texts` says what becomes of tokens beyond `max_tokens` (see LongTexts.of), {} that they are cut.
    `engines` can compute that graph: OpenVINO reads no graph of a bundle of format 1 or 2. `graph` says whose it is:
    fused, or as exported. `segments` is 1, or 2 for pairs. `embedding_width` is how many numbers the output `embedding`
    of that graph has a row, 0 if it has none.
    `quality` is what was measured when the bundle was built, `baseline` describes the texts it was trained on, `files`
    maps each other file to its sha256.
    """

    path: Path
    name: str
    task: str
    labels: tuple[str, ...]
    activation: str
    thresholds: tuple[float, ...]
    long_texts: Mapping[str, Any]
    max_tokens: int
    tokenizer: Mapping[str, Any]
    segments: int
    model: Mapping[str, Any]
    precisions: tuple[str, ...]
    engines: tuple[str, ...]
    embedding_width: int
    graph: str
    quality: Mapping[str, Any]
    baseline: Mapping[str, Any]
    origin: Mapping[str, Any]
    versions: Mapping[str, str]
    created: str
    files: Mapping[str, str]
    fingerprint: str
    format: int = field(default=FORMAT)

    @property
    def reference(self) -> str:
        """`name@fingerprint`, as every scored row has it."""
        return f"{self.name}@{self.fingerprint}"

    @property
    def windows(self) -> bool:
        """Whether a text may have several windows."""
        return LongTexts.of(self.long_texts).windows

    @property
    def scoring(self) -> str:
        """Folder of the scoring graph."""
        return str(self.path / SCORING)

    @property
    def int8(self) -> str:
        """File of the graph with products in int8, where the bundle has that precision."""
        return str(self.path / INT8 / "model.xml")

    @classmethod
    def describe(cls, path: str | Path) -> "Bundle":
        """Reads `bundle.json` and checks its fingerprint, not the other files; raises BundleError."""
        path = Path(path)
        try:
            found = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BundleError(
                f"{path}: is no bundle, it has no {DESCRIPTION}; make one with `bert-batch train`"
            ) from error
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{path / DESCRIPTION}: is not JSON; restore the bundle from its source") from error
        if not isinstance(found, dict):
            raise BundleError(f"{path / DESCRIPTION}: is no description of a bundle; restore the bundle")
        _check_format(path, found.get("format"))
        keys = {entry.name for entry in fields(cls)} - {"path"}
        keys -= {key for key, first in _SINCE.items() if found["format"] < first}
        if found.keys() != keys:
            odd = sorted(found.keys() ^ keys)
            raise BundleError(
                f"{path / DESCRIPTION}: was edited, {odd[0]!r} is missing or not known; restore the bundle"
            )
        if found["fingerprint"] != fingerprint(found):
            raise BundleError(f"{path / DESCRIPTION}: was edited, its fingerprint does not match; restore the bundle")
        # After the fingerprint, which is of the file as it is: keys of later formats are no part of it.
        read = {
            "activation": default_activation(found["task"]),
            "engines": [TENSORFLOW],
            "thresholds": [],
            "embedding_width": 0,
            "long_texts": {},
            "graph": FUSED,
            **found,
        }
        _check_kinds(read, path / DESCRIPTION)
        return cls(
            path=path,
            **{**read, **{key: tuple(read[key]) for key in ("labels", "precisions", "engines", "thresholds")}},
        )

    @classmethod
    def load(cls, path: str | Path) -> "Bundle":
        """Reads a bundle and verifies every file; raises BundleError naming the first missing, added or changed."""
        bundle = cls.describe(path)
        found = _files(bundle.path)
        # Names were checked: each lies below the folder, and none of the files is a link to another place.
        for name in sorted(found.keys() | bundle.files.keys()):
            if name not in found:
                problem = "is missing"
            elif name not in bundle.files:
                problem = "does not belong to the bundle"
            elif _sha256(found[name]) != bundle.files[name]:
                problem = "was changed since the bundle was built"
            else:
                continue
            raise BundleError(f"{bundle.path / name}: {problem}; restore the bundle from its source")
        return bundle


def seal(path: str | Path, description: Mapping[str, Any]) -> Bundle:
    """Writes `bundle.json` over the files in the folder `path`, with their checksums and the fingerprint.

    `description` has every field of Bundle but path, format, files and fingerprint; `activation` may be left out where
    it is that of every model of the task, `engines` where only TensorFlow reads the graph, `thresholds` where all are
    USUAL_THRESHOLD, `embedding_width` where the graph has no such output, `long_texts` where they are cut, `graph`
    where it is the fused one. Raises BundleError.
    """
    path = Path(path)
    task = description["task"]
    if task not in TASKS:
        raise BundleError(f"task is {task!r}; it must be {' or '.join(TASKS)}")
    usual = default_activation(task)
    activation = description.get("activation", usual)
    if activation not in (ACTIVATIONS if task == "regression" else (usual,)):
        raise BundleError(
            f"activation is {activation!r}, which no {task} has; a classification has softmax, a "
            f"regression {' or '.join(ACTIVATIONS)}"
        )
    thresholds = [USUAL_THRESHOLD] * len(description["labels"]) if task == "multilabel" else []
    files = {name: _sha256(file) for name, file in sorted(_files(path).items())}
    usual_values = {
        "activation": activation,
        "engines": [TENSORFLOW],
        "thresholds": thresholds,
        "embedding_width": 0,
        "long_texts": {},
        "graph": FUSED,
    }
    content = {**usual_values, **description, "format": FORMAT, "files": files}
    content["fingerprint"] = fingerprint(content)
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    (path / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    return Bundle.load(path)


def default_activation(task: str) -> str:
    """The activation of a bundle that does not say any: that of every bundle of format 1."""
    return {"classification": "softmax", "multilabel": "sigmoid"}.get(task, "none")


def _check_format(path: Path, found: Any) -> None:
    if type(found) is int and 1 <= found <= FORMAT:
        return
    way_out = "restore the bundle from its source"
    if type(found) is int and found > FORMAT:
        way_out = "score it with the version of bert-batch that made it, or a later one"
    raise BundleError(f"{path}: has bundle format {found!r}; this version reads formats 1 to {FORMAT}: {way_out}")


def fingerprint(content: Mapping[str, Any]) -> str:
    """sha256 of the canonical form (sorted keys, no spaces) of what decides the scores."""
    kept = {key: value for key, value in content.items() if key not in _OUTSIDE_FINGERPRINT}
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def is_file_name(name: object) -> bool:
    """Whether a bundle may have a file of that name: below its folder whatever the system, and printable."""
    if not isinstance(name, str) or not name.isprintable() or "\\" in name or ":" in name:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/")) and name != DESCRIPTION


def _check_kinds(found: Mapping[str, Any], where: Path) -> None:
    """Checks every value: a fingerprint that fits does not say that the author of the file meant well."""
    texts = all(isinstance(found[key], str) for key in ("name", "task", "activation", "created", "fingerprint"))
    mappings = ("tokenizer", "model", "quality", "baseline", "origin", "versions", "files", "long_texts")
    lists = all(
        isinstance(found[key], list) and all(isinstance(entry, str) for entry in found[key])
        for key in ("labels", "precisions", "engines")
    )
    texts = texts and found["graph"] in (FUSED, AS_EXPORTED)
    numbers = all(type(found[key]) is int and found[key] > 0 for key in ("max_tokens", "segments"))
    numbers &= type(found["embedding_width"]) is int and found["embedding_width"] >= 0
    thresholds = found["thresholds"]
    shares = isinstance(thresholds, list) and all(type(one) is float and 0 <= one <= 1 for one in thresholds)
    if shares and len(thresholds) != (len(found["labels"]) if found["task"] == "multilabel" else 0):
        raise BundleError(f"{where}: has {len(thresholds)} thresholds, which is not one a label; restore the bundle")
    if not (texts and lists and numbers and shares and all(isinstance(found[key], dict) for key in mappings)):
        raise BundleError(f"{where}: is no description of a bundle; restore the bundle")
    try:
        LongTexts.of(found["long_texts"]).check_fit(found["max_tokens"], found["segments"])
    except ValueError as error:
        raise BundleError(f"{where}: {error}; restore the bundle") from error
    if odd := [name for name in found["files"] if not is_file_name(name)]:
        raise BundleError(f"{where}: names the file {odd[0]!r}, which is no place inside the bundle; do not use it")


def _files(path: Path) -> dict[str, Path]:
    """The files below a bundle by name, `bundle.json` apart; raises BundleError for links and what is no file."""
    found: dict[str, Path] = {}
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names):
            file = Path(folder) / name
            if file.is_symlink() or (name in names and not file.is_file()):
                raise BundleError(f"{file}: is a link or no file; a bundle holds plain files: copy it with `cp -rL`")
        found |= {(Path(folder) / name).relative_to(path).as_posix(): Path(folder) / name for name in names}
    found.pop(DESCRIPTION, None)
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
