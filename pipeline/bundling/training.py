"""Training on one page: labelled rows -> TF Transform graph and examples -> fine-tuned classifier -> bundle."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_transform.beam as tft_beam

from model.bundle import SCORING, Bundle, seal
from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.detect import load, load_encoder, load_vocabulary, write_vocabulary
from model.checkpoints.tokenizer_files import read_tokens
from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.serving.scoring_graph import PRECISIONS, ScoringGraph
from model.tokenizer.tokenization import TokenizerSpec, has_capitals, read_vocabulary
from model.tokenizer.vocabulary import learn_vocabulary
from model.training.examples import Examples
from model.training.fine_tune import Progress, TrainingOptions, evaluate, fine_tune, seed_everything
from pipeline.bundling.sealing import PACKAGES, move_bundle
from pipeline.bundling.training_job import TrainingJob, plan_rows
from pipeline.errors import ConfigError
from pipeline.runners.presets import beam_options
from transforms.batches.schemas import REJECTED
from transforms.batches.sizes import row_bytes
from transforms.batches.texts import utf8
from transforms.featurize.fit import (
    CorpusBaseline,
    FitPreprocessing,
    LabelTexts,
    MakeExamples,
    examples_schema,
    hold_out,
    read_examples,
)
from transforms.featurize.preprocessing import Preprocessing
from transforms.featurize.step import read_labels
from transforms.read.formats.piece import read_piece
from transforms.read.step import ReadTexts, WriteMarked, read_marked
from transforms.read.values.convert import texts_of
from transforms.runs.error_budget import ErrorBudget
from transforms.runs.plan import Plan, write_plan
from transforms.stores.choose import store_for
from transforms.validate import ValidateTexts

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A bundle, and the Keras classifier it was exported from."""

    bundle: Bundle
    classifier: BertClassifier


def train(job: TrainingJob, on_progress: OnProgress | None = None) -> Trained:
    """Runs the whole training; the bundle appears at `job.output` complete or not at all."""
    plan = plan_rows(job, "--input", job.input)
    test = plan_rows(job, "--test-input", job.test_input) if job.test_input else None
    with tempfile.TemporaryDirectory() as temp:
        work = Path(temp)
        spec = tokenizer_of(job)
        vocabulary = _vocabulary(job, plan, work, spec)
        preprocessing = Preprocessing(vocabulary=vocabulary, tokenizer=spec, task=job.task)
        _fit(plan, test, preprocessing, work)
        _check_dead(work, plan.rows)
        folder = work / "bundle"
        labels = tuple(read_labels(str(folder))) if job.task == "classification" else ()
        examples, keys = read_examples(str(work / "train-*.parquet"), job.task)
        _check_labels(job, labels, examples)
        training, validation = hold_out(examples, keys, job.validation_share)
        config, classifier = _classifier(job, len(read_vocabulary(vocabulary)), max(1, len(labels)))
        options = _options(job)
        result = fine_tune(classifier, training, validation, options, on_progress)
        quality = {"validation": {"rows": len(validation), **result.metrics}}
        if test is not None:
            held_out, _ = read_examples(str(work / "test-*.parquet"), job.task)
            quality["test"] = {"rows": len(held_out), **_evaluate(classifier, held_out)}
        ScoringGraph.from_classifier(classifier, config).export(folder / SCORING)
        description = {
            "name": job.name,
            "task": job.task,
            "labels": list(labels),
            "max_tokens": spec.max_tokens,
            "tokenizer": spec.described,
            "segments": spec.segments,
            "model": config.to_dict(),
            "precisions": list(PRECISIONS),
            "quality": quality,
            "baseline": json.loads((work / "baseline.json").read_text()),
            "origin": {
                "weights": Path(os.path.abspath(job.encoder)).name if job.encoder else f"{job.preset}, from scratch",
                "training_rows": len(training),
                "epochs": result.epochs_run,
                "best_epoch": result.best_epoch,
                "learning_rate": options.learning_rate,
                "batch_size": options.batch_size,
                "seed": options.seed,
                **read_marked(work.glob("marked-*")),
            },
            "versions": {package: version(package) for package in PACKAGES},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        seal(folder, description)
        move_bundle(folder, Path(job.output))
    return Trained(bundle=Bundle.load(job.output), classifier=classifier)


def _fit(plan: Plan, test: Plan | None, preprocessing: Preprocessing, work: Path) -> None:
    """The Beam job: writes bundle/transform_fn, train-*, test-* and dead-*.parquet, and baseline.json to `work`."""
    unknown = read_vocabulary(preprocessing.vocabulary).index("[UNK]")
    schema, segments = examples_schema(preprocessing.task), preprocessing.tokenizer.segments
    with (
        beam.Pipeline(options=beam_options("direct", 1, ())) as p,
        tft_beam.Context(temp_dir=str(work / "tft"), passthrough_keys={"row_key"}),
    ):
        labelled = _labelled(p, plan, preprocessing.task, work, "train")
        transform_fn = labelled | "Fit" >> FitPreprocessing(preprocessing)
        transform_fn | "WriteGraph" >> tft_beam.WriteTransformFn(str(work / "bundle"))
        examples = labelled | "MakeExamples" >> MakeExamples(preprocessing.task, transform_fn, segments)
        examples | "WriteExamples" >> _WriteBatches(str(work / "train"), schema)
        (
            examples
            | "Describe" >> beam.CombineGlobally(CorpusBaseline(unknown))
            | "ToJson" >> beam.Map(json.dumps)
            | "WriteBaseline" >> beam.io.WriteToText(str(work / "baseline.json"), shard_name_template="")
        )
        if test is not None:
            held_out = _labelled(p, test, preprocessing.task, work, "test")
            more = held_out | "MakeTestExamples" >> MakeExamples(preprocessing.task, transform_fn, segments)
            more | "WriteTestExamples" >> _WriteBatches(str(work / "test"), schema)


def _labelled(p: beam.Pipeline, plan: Plan, task: str, work: Path, part: str) -> beam.PCollection[pa.RecordBatch]:
    path = str(work / f"{part}-plan")
    write_plan(store_for(path), path, plan, {})
    read = p | f"Read {part}" >> ReadTexts(path, plan.columns)
    valid = read.rows | f"Validate {part}" >> ValidateTexts(plan.columns)
    read.counts | f"Marks {part}" >> WriteMarked(str(work / f"marked-{part}"))
    labelled = valid.texts | f"Label {part}" >> LabelTexts(task)
    dead = (read.dead, valid.dead, labelled.dead) | f"Dead {part}" >> beam.Flatten()
    dead | f"WriteDead {part}" >> _WriteBatches(str(work / f"dead-{part}"), REJECTED)
    return labelled.rows


class _WriteBatches(beam.PTransform):
    def __init__(self, prefix: str, schema: pa.Schema) -> None:
        super().__init__()
        self._prefix, self._schema = prefix, schema

    def expand(self, batches: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        tables = batches | "ToTable" >> beam.Map(lambda batch: pa.Table.from_batches([batch]))
        return tables | beam.io.WriteToParquetBatched(self._prefix, self._schema, file_name_suffix=".parquet")


def _check_dead(work: Path, rows: int) -> None:
    tables = [pq.read_table(file, columns=["code", "source", "row"]) for file in sorted(work.glob("dead-*.parquet"))]
    dead = pa.concat_tables(tables) if tables else REJECTED.empty_table()
    exceeded = ErrorBudget().exceeded(dead.num_rows, rows)
    if exceeded:
        first = dead.slice(0, 1).to_pylist()[0]
        place = f"{first['source']}#{first['row']}"
        raise ConfigError(f"labelled rows: {exceeded.split(';')[0]}; the first is {place} ({first['code']}): mend them")


def tokenizer_of(job: TrainingJob) -> TokenizerSpec:
    """The tokenizer of the new bundle: what the flags say, else that of the encoder."""
    flavour, lower_case = "model_garden", True
    segments = 2 if job.text_pair_column else 1
    if job.encoder is not None:
        checkpoint = load(job.encoder, head=False)
        checkpoint.check_segments(segments)
        positions = checkpoint.config.max_sequence_length
        if job.max_tokens > positions:
            raise ConfigError(
                f"--max-tokens {job.max_tokens}: the encoder {job.encoder} has {positions} positions; give at most that"
            )
        tokens = _encoder_tokens(job, checkpoint)
        flavour, known = checkpoint.flavour, checkpoint.lower_case
        lower_case = not has_capitals(tokens) if known is None else known
    return TokenizerSpec(
        flavour=job.tokenizer or flavour,
        lower_case=lower_case if job.lower_case is None else job.lower_case,
        max_tokens=job.max_tokens,
        segments=segments,
        truncator=job.truncator,
    )


def _encoder_tokens(job: TrainingJob, checkpoint: Checkpoint) -> tuple[str, ...]:
    """The vocabulary to train an encoder with: the flag's, which its embedding table must cover, else its own."""
    if job.vocabulary is not None:
        return read_tokens(Path(job.vocabulary), checkpoint.config.vocab_size)
    return load_vocabulary(str(job.encoder))


def _check_labels(job: TrainingJob, labels: tuple[str, ...], examples: Examples) -> None:
    """TF Transform leaves out labels that no line of a vocabulary can hold."""
    if job.task != "classification":
        return
    if count := int((examples.targets < 0).sum()):
        raise ConfigError(
            f"--label-column {job.label_column}: {count} rows have an empty label, or one with the end of a line; "
            "mend them, or leave these rows out"
        )
    if len(labels) < 2:
        raise ConfigError(
            f"--label-column {job.label_column}: the rows have {len(labels)} different labels; a classification needs "
            "two or more. For numbers to be predicted give --task regression"
        )


def _vocabulary(job: TrainingJob, plan: Plan, work: Path, spec: TokenizerSpec) -> Path:
    if job.vocabulary is not None:
        read_tokens(Path(job.vocabulary), sys.maxsize)
        return Path(job.vocabulary)
    if job.encoder is not None:
        return write_vocabulary(load_vocabulary(job.encoder), work / "vocab.txt")
    path = work / "vocab.txt"
    texts = list(_texts(plan))
    if not any(text.strip() for text in texts):
        raise ConfigError(f"--input {', '.join(job.input)}: has no text to learn from in column {job.text_column!r}")
    learn_vocabulary(texts, path, size=job.vocabulary_size, lower_case=spec.lower_case)
    return path


def _texts(plan: Plan) -> Iterator[bytes]:
    for split in plan.splits:
        for piece in split.pieces:
            for block in read_piece(piece, plan.columns):
                for name in (plan.columns.text, plan.columns.text_pair):
                    if name in block.rows.schema.names:  # Else nothing of the block could be read.
                        # One that is too long is a dead letter later on; of it there are the first bytes only.
                        column = block.rows.column(name)
                        short = column.filter(pa.array(row_bytes(column) <= plan.columns.max_text_bytes))
                        texts, _ = utf8(texts_of(short))
                        yield from texts.drop_null().cast(pa.binary()).to_pylist()


def _classifier(job: TrainingJob, vocabulary_size: int, width: int) -> tuple[BertConfig, BertClassifier]:
    seed_everything(job.seed)
    if job.encoder is not None:
        config, encoder = load_encoder(job.encoder)
        return config, build_classifier(config, width, encoder=encoder)
    config = BertConfig.preset(job.preset, vocab_size=vocabulary_size, max_sequence_length=job.max_tokens)
    return config, build_classifier(config, width)


def _options(job: TrainingJob) -> TrainingOptions:
    epochs, learning_rate = (4, 5e-5) if job.encoder else (10, 1e-3)
    return TrainingOptions(
        epochs=job.epochs or epochs,
        learning_rate=job.learning_rate or learning_rate,
        batch_size=job.batch_size,
        patience=job.patience,
        seed=job.seed,
    )


def _evaluate(classifier: BertClassifier, examples: Examples) -> dict[str, Any]:
    if len(examples) and examples.targets.dtype == "int64" and examples.targets.min() < 0:
        count = int((examples.targets < 0).sum())
        raise ConfigError(f"--test-input has {count} rows with labels that no training row has")
    return evaluate(classifier, examples)
