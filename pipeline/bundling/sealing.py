"""What all that make bundles have in common: versions, the files of another one, and how it gets to its place."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.bundle import DESCRIPTION, Bundle

if TYPE_CHECKING:
    from model.tokenizer.tokenization import TokenizerSpec

PACKAGES = ("tensorflow", "tf-keras", "tensorflow-text", "tensorflow-transform", "apache-beam", "pyarrow")
"""Whose versions a bundle names."""


def description_of(
    *, name: str, task: str, labels: Sequence[str], spec: "TokenizerSpec", **more: Any
) -> dict[str, Any]:
    """What `seal` writes of a new bundle whose texts become tokens as `spec` says; `more` goes before what is usual."""
    return {
        "name": name,
        "task": task,
        "labels": list(labels),
        "long_texts": spec.long_texts.described,
        "max_tokens": spec.max_tokens,
        "tokenizer": spec.described,
        "segments": spec.segments,
        "quality": {},
        "baseline": {},
        "versions": {package: version(package) for package in PACKAGES},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    }


def move_bundle(folder: Path, output: Path) -> None:
    """Puts a sealed bundle at its place, whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    # A name that nobody else has: what lies beside the output is not ours to delete.
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", suffix=".partial", dir=output.parent) as partial:
        shutil.copytree(folder, Path(partial) / "bundle")
        (Path(partial) / "bundle").rename(output)


def copy_files(bundle: Bundle, folder: Path) -> None:
    """Copies every file of a bundle but its description."""
    for name in bundle.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / name, folder / name)


def described(bundle: Bundle) -> dict[str, Any]:
    """What the description of a bundle says of its content, for one that is made from it."""
    found: dict[str, Any] = json.loads((bundle.path / DESCRIPTION).read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if key not in ("format", "files", "fingerprint")}
