"""What imports do again and again is done once, or not at all where no test looks at it.

The TF Transform graph of an import depends on vocabulary, tokenizer and task alone: each is fitted once. Of its
scoring graph there are the signatures in float32, unless a test asks for the others: tests of ScoringGraph have them.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tensorflow as tf

from model.serving.scoring_graph import PADDED, SIGNATURE, ScoringGraph
from model.tokenizer.tokenization import TokenizerSpec
from pipeline.bundling import importing


class InFloat32(ScoringGraph):
    """A ScoringGraph whose export has no signature of half precision, unless `whole`."""

    whole = False

    def export(self, path: str | Path) -> None:
        if self.whole:
            super().export(path)
        else:
            tf.saved_model.save(self, str(path), signatures={SIGNATURE: self.score, PADDED: self.padded()})


Kept = Callable[[str, Callable[[Path], object]], Path]
"""Gives the folder of a key; the function makes it, unless it is there."""


@contextmanager
def fitted_once(kept: Kept) -> Iterator[None]:
    """Inside, an import copies the graph of an earlier one with the same vocabulary, tokenizer and task."""
    fit = importing._fit
    with pytest.MonkeyPatch.context() as patch:

        def copy(vocabulary: Path, spec: TokenizerSpec, task: str, work: Path) -> None:
            def make(folder: Path) -> None:
                fit(vocabulary, spec, task, work)
                (work / "bundle").rename(folder)

            key = hashlib.sha256(repr((vocabulary.read_bytes(), spec, task == "regression")).encode()).hexdigest()
            shutil.copytree(kept(key, make), work / "bundle")

        patch.setattr(importing, "_fit", copy)
        patch.setattr(importing, "ScoringGraph", InFloat32)
        yield
