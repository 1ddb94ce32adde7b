"""Bundles built the real way: TF Transform, Keras, export."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from pipeline.bundling.sealing import described
from transforms.featurize.fit import FitPreprocessing, training_batch
from transforms.featurize.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Built:
    """A bundle, and what it was made from."""

    path: Path
    vocabulary: Path
    spec: TokenizerSpec
    make: Callable[[], BertClassifier]
    labels: tuple[str, ...] = ()
    config: BertConfig | None = None

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


def planned_bundle(
    path: Path,
    vocabulary: Path,
    *,
    labels: tuple[str, ...],
    seed: int = 7,
    max_tokens: int = 64,
    **tokenizer: Any,
) -> Built:
    """A classifier with random but lively weights, or without labels a regressor, which nobody has built yet."""
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
    return Built(path=path, vocabulary=vocabulary, spec=spec, labels=labels, config=config, make=make)


def build_bundle(path: Path, vocabulary: Path, **settings: Any) -> Built:
    """A bundle as planned_bundle describes it."""
    return write_bundle(planned_bundle(path, vocabulary, **settings))


def with_other_weights(built: Built, path: Path, seed: int) -> Built:
    """The same bundle of another network, at `path`: its texts are prepared by the same graph."""
    assert built.config is not None
    other = replace(built, path=path, make=partial(lively, built.config, max(1, len(built.labels)), seed))
    shutil.copytree(built.path, path, ignore=shutil.ignore_patterns("scoring"))
    ScoringGraph.from_classifier(other.classifier, built.config).export(path / "scoring")
    seal(path, described(built.bundle))
    return other


def write_bundle(planned: Built) -> Built:
    """Fits and exports it for real, and seals it."""
    assert planned.config is not None
    path, spec, labels = planned.path, planned.spec, planned.labels
    task = "classification" if labels else "regression"
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
    fit = FitPreprocessing(Preprocessing(vocabulary=planned.vocabulary, tokenizer=spec, task=task))
    with (
        beam.Pipeline(runner=FnApiRunner()) as p,
        tft_beam.Context(temp_dir=str(path.parent / f"{path.name}-temp"), passthrough_keys={"row_key"}),
    ):
        p | beam.Create([batch]) | fit | tft_beam.WriteTransformFn(str(path))
    graph = ScoringGraph.from_classifier(planned.classifier, planned.config)
    graph.export(path / "scoring")
    description = {
        "name": "test",
        "task": task,
        "labels": list(labels),
        "max_tokens": spec.max_tokens,
        "tokenizer": spec.described,
        "segments": spec.segments,
        "model": planned.config.to_dict(),
        "precisions": list(PRECISIONS),
        "engines": list(ENGINES),
        "embedding_width": graph.embedding_width,
        **{key: {} for key in ("quality", "baseline", "origin", "versions")},
        "created": "2026-11-01T00:00:00+00:00",
    }
    seal(path, description)
    return planned
