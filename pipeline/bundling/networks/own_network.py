"""A network of one's own: from a Keras classifier in a script to a bundle."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.tokenizer_files import read_tokens
from model.network.weights import read_weights
from model.serving.exportable import fused_config
from model.serving.exported.as_exported import save_classifier
from pipeline.bundling.import_job import ImportJob
from pipeline.bundling.importing import Imported, bundle_checkpoint, bundle_exported
from pipeline.bundling.networks.as_exported import read_exported
from pipeline.errors import ConfigError
from pipeline.jobs.config import described

if TYPE_CHECKING:
    from model.network.classifier import BertClassifier
    from model.network.config import BertConfig


def bundle_network(
    classifier: BertClassifier,
    *,
    output: str,
    name: str,
    vocabulary: str,
    inputs: Mapping[str, str] | None = None,
    outputs_are: str = "logits",
    **settings: Any,
) -> Imported:
    """Writes a bundle of a classifier around any network: `BertClassifier(network, num_classes, …)`.

    The network has named Keras inputs, int32 `[B, T]`, of token ids and, if it reads them, mask and type ids; it gives
    the sequence output `[B, T, H]` and the pooled output `[B, H]` in a dict, a list or a tuple. Where its inputs are
    not called as Model Garden's are, `inputs` maps `ids`, `mask` and `types` to their names. A head of one's own gives
    `[B, labels]`; of a head with several outputs, `outputs_are="NAME=logits"` says which one counts.

    `vocabulary` is a WordPiece file, one token a line. `settings` are the flags of `bert-batch import` with the same
    meaning: `labels` or `labels_file`, `task`, `activation`, `tokenizer`, `lower_case`, `max_tokens`, `segments`,
    `truncator`. The bundle appears at `output` complete or not at all.

    A BertEncoder with one of the usual heads becomes the fused graph. Every other network is exported as the Keras
    graph that it is, with dropout off, in float32, and is tried first: CheckpointError says why if the scores of a row
    depend on chance, on padding or on other rows. Raises ConfigError for settings that do not fit.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    common = {"output": output, "name": name, "vocabulary": vocabulary, **given}
    if inputs is None and outputs_are == "logits" and (config := _fused(classifier)) is not None:
        job = described(ImportJob, {**common, "path": classifier.name})
        return bundle_checkpoint(job, _checkpoint(classifier, config))
    with tempfile.TemporaryDirectory() as temp:
        path = str(Path(temp) / "network")
        wired = [f"{role}={key}" for role, key in (inputs or {}).items()]
        exported = {"as_exported": True, "path": path, "inputs": wired, "outputs_are": outputs_are}
        job = described(ImportJob, {**common, **exported})
        _check_table(classifier, len(read_tokens(Path(vocabulary), sys.maxsize)))
        save_classifier(classifier, path)
        found = read_exported(job, classifier.name)
        return bundle_exported(job, replace(found, origin={**found.origin, "weights": classifier.name}))


def _fused(classifier: BertClassifier) -> BertConfig | None:
    try:
        return fused_config(classifier)
    except ValueError:
        return None


def _checkpoint(classifier: BertClassifier, config: BertConfig) -> Checkpoint:
    return Checkpoint(
        origin=classifier.name,
        layout="Keras classifier",
        config=config,
        weights=read_weights(classifier),
        flavour_assumed=True,
    )


def _check_table(classifier: BertClassifier, tokens: int) -> None:
    """Raises ConfigError if the network says that it has fewer word vectors than the vocabulary has tokens."""
    table = getattr(getattr(classifier, "network", None), "get_embedding_table", None)
    if table is not None and (rows := int(table().shape[0])) < tokens:
        raise ConfigError(
            f"vocabulary: {tokens} tokens, but the embedding table of {classifier.name} has {rows} rows; give the "
            "vocabulary that the network was trained with"
        )
