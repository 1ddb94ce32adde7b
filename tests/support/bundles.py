"""Bundles built the real way: TF Transform, Keras, export."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from model.bundle import Bundle, seal
from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.serving.scoring_graph import ENGINES, PRECISIONS, ScoringGraph
from model.tokenizer.tokenization import TokenizerSpec
from transforms.featurize.fit import FitPreprocessing, training_batch
from transforms.featurize.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Built:
    """A bundle, and what it was made from."""

    path: Path
    vocabulary: Path
    spec: TokenizerSpec
    make: Callable[[], BertClassifier]

    @property
    def bundle(self) -> Bundle:
        return Bundle.describe(self.path)

    @cached_property
    def classifier(self) -> BertClassifier:
        """Its Keras classifier, made in each process that asks."""
        return self.make()


def lively(config: BertConfig, outputs: int, seed: int) -> BertClassifier:
    """A classifier with random weights, always the same ones for a seed."""
    import tf_keras

    tf_keras.utils.set_random_seed(seed)
    return build_classifier(config, outputs)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Others who want to make the same wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_bundle(
    path: Path,
    vocabulary: Path,
    *,
    labels: tuple[str, ...],
    seed: int = 7,
    max_tokens: int = 64,
    name: str = "test",
    **tokenizer: Any,
) -> Built:
    """A classifier with random but lively weights (a regressor without labels), fitted and exported for real.

    What is sealed at `path` already is the same one.
    """
    task = "classification" if labels else "regression"
    spec = TokenizerSpec(max_tokens=max_tokens, **tokenizer)
    config = BertConfig(
        vocab_size=len(vocabulary.read_text().split("\n")) - 1,
        hidden_size=32,
        num_layers=2,
        num_attention_heads=2,
        inner_dim=64,
        max_sequence_length=max_tokens,
        initializer_range=0.3,
    )
    make = partial(lively, config, max(1, len(labels)), seed)
    built = Built(path=path, vocabulary=vocabulary, spec=spec, make=make)
    if (path / "bundle.json").exists():
        return built
    texts = [f"play song {i}" for i in range(max(2, len(labels)))]
    # The label vocabulary is sorted by frequency: repeat earlier labels more often, and the order is that of `labels`.
    targets: list[Any] = list(labels) or [0.5, 1.5]
    repeat = range(len(targets), 0, -1)
    texts = [text for text, n in zip(texts, repeat, strict=False) for _ in range(n)]
    targets = [target for target, n in zip(targets, repeat, strict=False) for _ in range(n)]
    keys = pa.array([str(i) for i in range(len(texts))])
    pairs = pa.array(texts) if spec.segments == 2 else None
    batch = training_batch(pa.array(texts), pa.array(targets), keys, task, pairs)
    path.mkdir(parents=True)
    fit = FitPreprocessing(Preprocessing(vocabulary=vocabulary, tokenizer=spec, task=task))
    with (
        beam.Pipeline(runner=FnApiRunner()) as p,
        tft_beam.Context(temp_dir=str(path.parent / f"{path.name}-temp"), passthrough_keys={"row_key"}),
    ):
        p | beam.Create([batch]) | fit | tft_beam.WriteTransformFn(str(path))
    ScoringGraph.from_classifier(built.classifier, config).export(path / "scoring")
    description = {
        "name": name,
        "task": task,
        "labels": list(labels),
        "max_tokens": max_tokens,
        "tokenizer": spec.described,
        "segments": spec.segments,
        "model": config.to_dict(),
        "precisions": list(PRECISIONS),
        "engines": list(ENGINES),
        **{key: {} for key in ("quality", "baseline", "origin", "versions")},
        "created": "2026-11-01T00:00:00+00:00",
    }
    seal(path, description)
    return built
