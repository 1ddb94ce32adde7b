"""Importing on one page: a checkpoint someone else trained -> TF Transform graph and scoring graph -> bundle."""

import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import pyarrow as pa
import pydantic
import tensorflow_transform.beam as tft_beam

from model.bundle import SCORING, Bundle, seal
from model.checkpoints import Checkpoint, build_encoder_from, build_from
from model.classifier import BertClassifier, build_classifier
from model.layouts import load, write_vocabulary
from model.scoring_graph import PRECISIONS, ScoringGraph
from model.tokenization import TokenizerSpec, has_capitals
from model.tokenizer_files import read_tokens
from model.training import seed_everything
from pipeline.config import ConfigError
from pipeline.fitting import PACKAGES, move_bundle
from pipeline.runners import beam_options
from transforms.fit import FitPreprocessing, training_batch
from transforms.preprocessing import Preprocessing


class ImportJob(pydantic.BaseModel):
    """One import: checkpoint -> bundle. Every field is a flag of `bert-batch import`, `path` apart."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    path: str
    output: str
    name: str
    labels: tuple[str, ...] = ()
    labels_file: str | None = None
    vocabulary: str | None = None
    tokenizer: str | None = None
    lower_case: bool | None = None
    task: Literal["classification", "regression"] | None = None
    new_head: int | None = pydantic.Field(default=None, ge=1)
    max_tokens: int | None = pydantic.Field(default=None, ge=2)

    @pydantic.field_validator("labels", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        return tuple(label.strip() for label in value.split(",")) if isinstance(value, str) else value

    @pydantic.model_validator(mode="after")
    def _check(self) -> "ImportJob":
        if os.path.exists(self.output):
            raise ValueError(f"output {self.output!r} exists; a bundle is never overwritten: choose another folder")
        if self.labels and self.labels_file:
            raise ValueError("--labels and --labels-file are both given; give one of them")
        if self.tokenizer is not None:
            TokenizerSpec(flavour=self.tokenizer)
        return self


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A bundle, the Keras classifier it was exported from, and what was loaded, ignored and assumed."""

    bundle: Bundle
    classifier: BertClassifier
    report: tuple[str, ...]


def import_model(job: ImportJob) -> Imported:
    """Runs the whole import; the bundle appears at `job.output` complete or not at all.

    Raises CheckpointError for a model that would be scored wrongly, ConfigError for flags that do not fit it.
    """
    checkpoint = load(job.path)
    outputs = _outputs(job, checkpoint)
    task = _task(job, checkpoint, outputs)
    labels = _labels(job, checkpoint, outputs) if task == "classification" else ()
    tokens = _vocabulary(job, checkpoint)
    spec, notes = _tokenizer(job, checkpoint, tokens)
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
        ScoringGraph.from_classifier(classifier, config).export(folder / SCORING)
        origin = {
            "weights": "untrained head" if checkpoint.outputs is None else Path(job.path).name,
            "layout": checkpoint.layout,
            "ignored": dict(Counter(checkpoint.ignored.values())),
            "notes": [*checkpoint.notes, *notes],
        }
        description = {
            "name": job.name,
            "task": task,
            "labels": list(labels),
            "max_tokens": spec.max_tokens,
            "tokenizer": spec.described,
            "segments": 1,
            "model": config.to_dict(),
            "precisions": list(PRECISIONS),
            "quality": {},
            "baseline": {},
            "origin": origin,
            "versions": {package: version(package) for package in PACKAGES},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        seal(folder, description)
        move_bundle(folder, Path(job.output))
    return Imported(bundle=Bundle.load(job.output), classifier=classifier, report=_report(checkpoint, notes))


def _fit(vocabulary: Path, spec: TokenizerSpec, task: str, work: Path) -> None:
    """Writes bundle/transform_fn to `work`. Nothing is learned: one neutral row shows TF Transform the types."""
    target = "neutral" if task == "classification" else 0.0
    row = training_batch(pa.array(["neutral"]), pa.array([target]), pa.array(["0"]), task)
    preprocessing = Preprocessing(vocabulary=vocabulary, tokenizer=spec, task=task, with_target=False)
    with (
        beam.Pipeline(options=beam_options("direct", 1, ())) as p,
        tft_beam.Context(temp_dir=str(work / "tft"), passthrough_keys={"row_key"}),
    ):
        transform_fn = p | "Row" >> beam.Create([row]) | "Fit" >> FitPreprocessing(preprocessing)
        transform_fn | "WriteGraph" >> tft_beam.WriteTransformFn(str(work / "bundle"))


def _outputs(job: ImportJob, checkpoint: Checkpoint) -> int:
    if checkpoint.outputs is None and job.new_head is None:
        raise ConfigError(
            f"{checkpoint.origin}: is an encoder without a trained head ({checkpoint.layout}), its scores would be "
            f"random; train one with `bert-batch train --encoder {job.path}`, or ask for a fresh one with --new-head N"
        )
    if checkpoint.outputs is not None and job.new_head is not None:
        raise ConfigError(
            f"--new-head {job.new_head}: {checkpoint.origin} has a trained head with {checkpoint.outputs} outputs, "
            "which would be thrown away; leave the flag out"
        )
    return checkpoint.outputs or job.new_head or 0


def _task(job: ImportJob, checkpoint: Checkpoint, outputs: int) -> str:
    task = "regression" if outputs == 1 else "classification"
    if job.task not in (None, task):
        raise ConfigError(
            f"--task {job.task}: {checkpoint.origin} has {outputs} outputs, which is a {task}; a regression has "
            "exactly one output, a classification several"
        )
    return task


def _labels(job: ImportJob, checkpoint: Checkpoint, outputs: int) -> tuple[str, ...]:
    labels = job.labels
    if job.labels_file:
        try:
            labels = tuple(Path(job.labels_file).read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"--labels-file {job.labels_file}: cannot be read ({type(error).__name__})") from error
    labels = labels or checkpoint.labels or ()
    if not labels:
        raise ConfigError(
            f"{checkpoint.origin}: has {outputs} outputs and does not name them; give --labels with {outputs} labels, "
            "separated by commas, in the order of the numbers they had in training"
        )
    if len(labels) != outputs or len(set(labels)) != outputs or not all(labels):
        raise ConfigError(
            f"{len(labels)} labels ({len(set(labels))} different) for {outputs} outputs; give one for each"
        )
    return labels


def _vocabulary(job: ImportJob, checkpoint: Checkpoint) -> tuple[str, ...]:
    if job.vocabulary is not None:
        if not Path(job.vocabulary).is_file():
            raise ConfigError(f"--vocabulary {job.vocabulary}: not there")
        return read_tokens(Path(job.vocabulary), checkpoint.config.vocab_size)
    if checkpoint.vocabulary is None:
        raise ConfigError(f"{checkpoint.origin}: has no vocab.txt beside it; give the vocabulary with --vocabulary")
    return checkpoint.vocabulary


def _tokenizer(job: ImportJob, checkpoint: Checkpoint, tokens: tuple[str, ...]) -> tuple[TokenizerSpec, list[str]]:
    """How texts become tokens, and notes on what had to be assumed."""
    notes = []
    lower_case = job.lower_case if job.lower_case is not None else checkpoint.lower_case
    if lower_case is None:
        lower_case = not has_capitals(tokens)
        notes.append(f"lower case: {lower_case}, because the vocabulary has {'no' if lower_case else 'some'} capitals")
    positions = checkpoint.config.max_sequence_length
    longest = job.max_tokens or min(checkpoint.seq_length or positions, positions)
    if longest > positions:
        raise ConfigError(f"--max-tokens {longest}: the model has {positions} positions; give at most that")
    if len(tokens) < checkpoint.config.vocab_size:
        notes.append(
            f"vocabulary: {len(tokens):,} tokens for {checkpoint.config.vocab_size:,} embeddings; the rest is unused"
        )
    flavour = job.tokenizer or checkpoint.flavour
    return TokenizerSpec(flavour=flavour, lower_case=lower_case, max_tokens=longest), notes


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
