"""What training and import have in common: what made a bundle, and how it gets to its place."""

import shutil
import tempfile
from pathlib import Path

PACKAGES = ("tensorflow", "tf-keras", "tensorflow-text", "tensorflow-transform", "apache-beam", "pyarrow")
"""Whose versions a bundle names."""


def move_bundle(folder: Path, output: Path) -> None:
    """Puts a sealed bundle at its place, whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    # A name that nobody else has: what lies beside the output is not ours to delete.
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", suffix=".partial", dir=output.parent) as partial:
        shutil.copytree(folder, Path(partial) / "bundle")
        (Path(partial) / "bundle").rename(output)
