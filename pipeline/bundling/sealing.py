"""What all that make bundles have in common: versions, the files of another one, and how it gets to its place."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from model.bundle import DESCRIPTION, Bundle

PACKAGES = ("tensorflow", "tf-keras", "tensorflow-text", "tensorflow-transform", "apache-beam", "pyarrow")
"""Whose versions a bundle names."""


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
