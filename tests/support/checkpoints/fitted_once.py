"""The TF Transform graph of an import depends on vocabulary, tokenizer and task alone: a process fits each once."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.tokenizer.tokenization import TokenizerSpec
from pipeline.bundling import importing


@contextmanager
def fitted_once() -> Iterator[None]:
    """Inside, an import copies the graph of an earlier one with the same vocabulary, tokenizer and task."""
    fit = importing._fit
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as kept:

        def copy(vocabulary: Path, spec: TokenizerSpec, task: str, work: Path) -> None:
            key = hashlib.sha256(repr((vocabulary.read_bytes(), spec, task == "regression")).encode()).hexdigest()
            graph = Path(kept) / key
            if not graph.exists():
                fit(vocabulary, spec, task, work)
                shutil.copytree(work / "bundle", graph)
            else:
                shutil.copytree(graph, work / "bundle")

        patch.setattr(importing, "_fit", copy)
        yield
