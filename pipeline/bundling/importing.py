"""Importing on one page: a checkpoint someone else trained -> TF Transform graph and scoring graph -> bundle."""

import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tensorflow_transform.impl_helper import analyze_in_place
from tfx_bsl.tfxio.tensor_adapter import TensorAdapter

from model.bundle import AS_EXPORTED, SCORING, TENSORFLOW, Bundle, seal
from model.checkpoints.checkpoint import Checkpoint, build_encoder_from, build_from
from model.checkpoints.detect import load, write_vocabulary
from model.network.classifier import BertClassifier, build_classifier
from model.serving.exported.as_exported import check_written
from model.serving.scoring_graph import ENGINES, PRECISIONS, ScoringGraph
from model.tokenizer.tokenization import TokenizerSpec
from model.training.fine_tune import seed_everything
from pipeline.bundling.import_job import (
    ImportJob,
    choose_activation,
    choose_labels,
    choose_task,
    choose_tokenizer,
    choose_vocabulary,
    count_outputs,
    label_notes,
)
from pipeline.bundling.networks.as_exported import Exported, read_exported
from pipeline.bundling.networks.formula import with_formula
from pipeline.bundling.sealing import description_of, move_bundle
from transforms.featurize.fit import tensor_config
from transforms.featurize.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A bundle, the Keras classifier it was exported from (logits, whatever the activation), and a report.

    The report says what was loaded, ignored and assumed. A network that is scored as exported has no classifier here.
    """

    bundle: Bundle
    classifier: BertClassifier | None
    report: tuple[str, ...]


def import_model(job: ImportJob) -> Imported:
    """Runs the whole import; the bundle appears at `job.output` complete or not at all.

    Raises CheckpointError for a model that would be scored wrongly, ConfigError for flags that do not fit it.
    """
    if job.as_exported:
        return bundle_exported(job, read_exported(job))
    return bundle_checkpoint(job, with_formula(job, load(job.path)))


def bundle_checkpoint(job: ImportJob, checkpoint: Checkpoint) -> Imported:
    """The same of a checkpoint that was read: its network, as the fused graph computes it."""
    outputs = count_outputs(job, checkpoint)
    task = choose_task(job, checkpoint, outputs)
    labels = choose_labels(job, checkpoint, outputs)
    tokens = choose_vocabulary(job, checkpoint)
    spec, notes = choose_tokenizer(job, checkpoint, tokens, task)
    activation, more = choose_activation(job, checkpoint, outputs, task)
    notes += [*label_notes(checkpoint, labels), *more]
    if checkpoint.outputs is None:
        notes.append(
            f"head: untrained, {outputs} outputs with random weights; the scores mean nothing before a training"
        )
    classifier = _classifier(checkpoint, outputs)
    with tempfile.TemporaryDirectory() as temp:
        work = Path(temp)
        folder = work / "bundle"
        _fit(write_vocabulary(tokens, work / "vocab.txt"), spec, task, work)
        config = checkpoint.config
        graph = ScoringGraph.from_classifier(classifier, config, activation)
        graph.export(folder / SCORING)
        origin = {
            "weights": "untrained head" if checkpoint.outputs is None else Path(os.path.abspath(job.path)).name,
            "layout": checkpoint.layout,
            "ignored": dict(Counter(checkpoint.ignored.values())),
            "notes": [*checkpoint.notes, *notes],
        }
        description = description_of(
            name=job.name,
            task=task,
            labels=labels,
            spec=spec,
            activation=activation,
            model=config.to_dict(),
            precisions=list(PRECISIONS),
            engines=list(ENGINES),
            embedding_width=graph.embedding_width,
            origin=origin,
        )
        seal(folder, description)
        move_bundle(folder, Path(job.output))
    return Imported(bundle=Bundle.load(job.output), classifier=classifier, report=_report(checkpoint, notes))


def bundle_exported(job: ImportJob, found: Exported) -> Imported:
    """The same of a network that is scored by its own graph; the written graph is tried once more."""
    with tempfile.TemporaryDirectory() as temp:
        work = Path(temp)
        folder = work / "bundle"
        _fit(write_vocabulary(found.tokens, work / "vocab.txt"), found.spec, found.task, work)
        found.graph.export(folder / SCORING)
        proof = {**found.proof.numbers, "written": check_written(folder / SCORING, found.proof)}
        description = description_of(
            name=job.name,
            task=found.task,
            labels=found.labels,
            spec=found.spec,
            activation=found.activation,
            model=found.model,
            precisions=["float32"],
            engines=[TENSORFLOW],
            graph=AS_EXPORTED,
            quality={"proof": proof},
            origin=found.origin,
        )
        seal(folder, description)
        move_bundle(folder, Path(job.output))
    return Imported(bundle=Bundle.load(job.output), classifier=None, report=found.report)


def _fit(vocabulary: Path, spec: TokenizerSpec, task: str, work: Path) -> None:
    """Writes bundle/transform_fn to `work`. Nothing is learned: no row is looked at."""
    task = "regression" if task == "regression" else "classification"
    preprocessing = Preprocessing(vocabulary=vocabulary, tokenizer=spec, task=task, with_target=False)
    types = TensorAdapter(tensor_config(task, spec.segments)).OriginalTypeSpecs()
    analyze_in_place(preprocessing, False, types, types, str(work / "bundle"))


def _classifier(checkpoint: Checkpoint, outputs: int) -> BertClassifier:
    if checkpoint.outputs is not None:
        return build_from(checkpoint)
    seed_everything(1)
    config = checkpoint.config
    return build_classifier(config, outputs, encoder=build_encoder_from(checkpoint))


def _report(checkpoint: Checkpoint, notes: list[str]) -> tuple[str, ...]:
    weights = sum(array.size for array in checkpoint.weights.values())
    lines = [
        f"read     {checkpoint.origin}",
        f"layout   {checkpoint.layout}",
        f"loaded   {len(checkpoint.weights)} variables, {weights:,} weights; none of the model's is missing",
    ]
    for reason, count in Counter(checkpoint.ignored.values()).items():
        example = next(key for key, why in checkpoint.ignored.items() if why == reason)
        lines.append(f"ignored  {count} ({reason}), such as {example}")
    lines += [f"note     {note}" for note in (*checkpoint.notes, *notes)]
    return tuple(lines)
