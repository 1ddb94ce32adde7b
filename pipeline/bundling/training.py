"""Training on one page: labelled rows -> TF Transform graph and examples -> fine-tuned classifier -> bundle."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from model.bundle import SCORING, Bundle, default_activation, seal
from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.detect import encoder_of, load, load_vocabulary, write_vocabulary
from model.checkpoints.tokenizer_files import read_tokens
from model.network.classifier import BertClassifier, build_classifier
from model.network.config import BertConfig
from model.serving.scoring_graph import ENGINES, PRECISIONS, ScoringGraph
from model.tokenizer.tokenization import TokenizerSpec, has_capitals, read_vocabulary
from model.tokenizer.vocabulary import learn_vocabulary
from model.training.fine_tune import DivergedError, TrainingOptions, fine_tune, seed_everything
from model.windows import Folding
from pipeline.bundling.certifying import HeldOut, held_out_rows
from pipeline.bundling.labelled_rows import TEST, TRAIN, Classes, check_labels, dropped_rows, prepare_rows
from pipeline.bundling.networks.formula import ASSUMED, with_formula
from pipeline.bundling.sealing import description_of, move_bundle
from pipeline.bundling.telling import RowsFound, Silent, Teller, diverged, without_summary
from pipeline.bundling.training_job import TrainingJob, plan_rows, usual_learning_rate
from pipeline.bundling.training_record import Record, ValidationRows, measure
from pipeline.errors import ConfigError, RunFailedError
from transforms.batches.sizes import row_bytes
from transforms.batches.texts import utf8
from transforms.featurize.examples import held_rows, hold_out, read_examples
from transforms.featurize.preprocessing import Preprocessing
from transforms.featurize.step import read_labels
from transforms.read.formats.piece import read_piece
from transforms.read.step import read_marked
from transforms.read.values.convert import texts_of
from transforms.runs.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A bundle, the Keras classifier it was exported from, and some of the rows that it was not trained on."""

    bundle: Bundle
    classifier: BertClassifier
    held_out: HeldOut


def train(job: TrainingJob, teller: Teller | None = None) -> Trained:
    """Runs the whole training; the bundle appears at `job.output` complete or not at all.

    Raises ConfigError for rows that cannot be trained on, RunFailedError for a training that diverges.
    """
    teller = teller or Silent()
    plan = plan_rows(job, "--input", job.input)
    test = plan_rows(job, "--test-input", job.test_input) if job.test_input else None
    with tempfile.TemporaryDirectory() as temp:
        work = Path(temp)
        folder = work / "bundle"
        spec = tokenizer_of(job)
        vocabulary = _vocabulary(job, plan, work, spec)
        prepare_rows(job, plan, test, Preprocessing(vocabulary=vocabulary, tokenizer=spec, task=job.task), work)
        dropped = {part: dropped_rows(job, work, part, p.rows) for part, p in ((TRAIN, plan), (TEST, test)) if p}
        labels = () if job.task == "regression" else tuple(read_labels(str(folder)))
        folding = Folding.of(spec.long_texts, spec.max_tokens, default_activation(job.task))
        read, read_test = (
            read_examples(str(work / f"{part}-*.parquet"), job.task, work / f"{part}.tokens", len(labels), folding)
            for part in (TRAIN, TEST)
        )
        for part, of, found in ((TRAIN, plan, read), (TEST, test, read_test)):
            if of is not None and found.too_many:
                dropped[part] = dropped_rows(job, work, part, of.rows, found.too_many)
        check_labels(job, labels, read, read_test, test)
        examples, held_out = read.examples, read_test.examples
        training, validation = hold_out(examples, read.row_keys, job.validation_share)
        _check_shares(job, len(training), len(validation))
        config, classifier, notes = _classifier(job, len(read_vocabulary(vocabulary)), max(1, len(labels)))
        options = _options(job, config.hidden_size)
        classes = Classes.of(labels, examples.targets) if labels else None
        rows = {"training": len(training), "validation": len(validation), **({"test": len(held_out)} if test else {})}
        rate = options.learning_rate
        teller.found(RowsFound(rows=rows, dropped=dropped, classes=classes, learning_rate=rate, notes=notes))
        try:
            result = fine_tune(classifier, training, validation, options, teller.epoch, teller.step)
        except DivergedError as error:
            raise RunFailedError(diverged(error)) from None
        teller.ended(result)
        measured = measure(classifier, validation, held_out if test else None)
        teller.measured(measured.quality)
        activation = default_activation(job.task)
        graph = ScoringGraph.from_classifier(classifier, config, activation)
        graph.export(folder / SCORING)
        Record(
            result=result,
            rows=rows,
            dropped=dropped,
            classes=classes,
            labels=labels,
            measured=measured,
            targets=validation.targets,
        ).write(folder)
        origin = {
            "weights": Path(os.path.abspath(job.encoder)).name if job.encoder else f"{job.preset}, from scratch",
            "training_rows": len(training),
            "epochs": result.epochs_run,
            "best_epoch": result.best_epoch,
            "ended": result.ended,
            "learning_rate": options.learning_rate,
            "batch_size": options.batch_size,
            "seed": options.seed,
            **({"dropped": told} if (told := {part: codes for part, codes in dropped.items() if codes}) else {}),
            **read_marked(work.glob("marked-*")),
            # Those that name a path are told, and no part of what the bundle is.
            **({"notes": said} if (said := [note for note in notes if note.startswith(ASSUMED)]) else {}),
        }
        keys = read.row_keys.filter(pa.array(held_rows(read.row_keys, job.validation_share)))
        rows_held = ValidationRows(plan=plan, keys=keys, logits=measured.logits)
        baseline = json.loads((work / "baseline.json").read_text())
        try:
            baseline["summary"] = rows_held.summary(folder, spec, labels, measured.thresholds)
        except Exception as error:
            # The rows are read once more: an input that has changed meanwhile, or is gone, must not lose the training.
            teller.warned(without_summary(error))
        description = description_of(
            name=job.name,
            task=job.task,
            labels=labels,
            spec=spec,
            thresholds=list(measured.thresholds),
            model=config.to_dict(),
            precisions=list(PRECISIONS),
            engines=list(ENGINES),
            embedding_width=graph.embedding_width,
            quality=measured.quality,
            baseline=baseline,
            origin=origin,
        )
        seal(folder, description)
        move_bundle(folder, Path(job.output))
        # Their tokens are in a file that goes.
        some = held_out_rows(validation, labels)
    return Trained(bundle=Bundle.load(job.output), classifier=classifier, held_out=some)


def _check_shares(job: TrainingJob, training: int, validation: int) -> None:
    """Which rows are held out is drawn by their ids: of few rows it may be none, or all."""
    if training and validation:
        return
    rows = training + validation
    raise ConfigError(
        f"--input {', '.join(job.input)}: of {rows:,} labelled rows {validation:,} are held out by --validation-share "
        f"{job.validation_share:g} and {training:,} are left to train on; both must be more than 0: give more rows, or "
        f"another --validation-share{', for example 0.5' if rows > 1 and not validation else ''}"
    )


def tokenizer_of(job: TrainingJob) -> TokenizerSpec:
    """The tokenizer of the new bundle: what the flags say, else that of the encoder."""
    flavour, lower_case, strip_accents = "model_garden", True, None
    segments = 2 if job.text_pair_column else 1
    if job.encoder is not None:
        # Also for what the flags say of it: before any row is read.
        checkpoint = with_formula(job, load(job.encoder, head=False))
        checkpoint.check_segments(segments)
        positions = checkpoint.config.max_sequence_length
        if job.max_tokens > positions:
            raise ConfigError(
                f"--max-tokens {job.max_tokens}: the encoder {job.encoder} has {positions} positions; give at most that"
            )
        tokens = _encoder_tokens(job, checkpoint)
        flavour, known, strip_accents = checkpoint.flavour, checkpoint.lower_case, checkpoint.strip_accents
        lower_case = not has_capitals(tokens) if known is None else known
    return TokenizerSpec(
        flavour=job.tokenizer or flavour,
        lower_case=lower_case if job.lower_case is None else job.lower_case,
        strip_accents=strip_accents,
        max_tokens=job.max_tokens,
        segments=segments,
        truncator=job.truncator,
        long_texts=job.choose_long_texts(job.task, job.max_tokens, segments),
    )


def _encoder_tokens(job: TrainingJob, checkpoint: Checkpoint) -> tuple[str, ...]:
    """The vocabulary to train an encoder with: the flag's, which its embedding table must cover, else its own."""
    if job.vocabulary is not None:
        return read_tokens(Path(job.vocabulary), checkpoint.config.vocab_size)
    return load_vocabulary(str(job.encoder))


def _vocabulary(job: TrainingJob, plan: Plan, work: Path, spec: TokenizerSpec) -> Path:
    if job.vocabulary is not None:
        read_tokens(Path(job.vocabulary), sys.maxsize)
        return Path(job.vocabulary)
    if job.encoder is not None:
        return write_vocabulary(load_vocabulary(job.encoder), work / "vocab.txt")
    path = work / "vocab.txt"
    texts = _Texts(plan)
    if not any(text.strip() for text in texts):
        raise ConfigError(f"--input {', '.join(job.input)}: has no text to learn from in column {job.text_column!r}")
    learn_vocabulary(texts, path, size=job.vocabulary_size, lower_case=spec.lower_case)
    return path


class _Texts:
    """The texts of a plan, read anew by whoever goes through them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[bytes]:
        columns = self._plan.columns
        for piece in (piece for split in self._plan.splits for piece in split.pieces):
            for block in read_piece(piece, columns):
                for name in (columns.text, columns.text_pair):
                    if name in block.rows.schema.names:  # Else nothing of the block could be read.
                        # One that is too long is a dead letter later on; of it there are the first bytes only.
                        column = block.rows.column(name)
                        short = column.filter(pa.array(row_bytes(column) <= columns.max_text_bytes))
                        texts, _ = utf8(texts_of(short))
                        yield from texts.drop_null().cast(pa.binary()).to_pylist()


def _classifier(
    job: TrainingJob, vocabulary_size: int, width: int
) -> tuple[BertConfig, BertClassifier, tuple[str, ...]]:
    """Sizes, network, and what had to be assumed of its encoder."""
    seed_everything(job.seed)
    if job.encoder is not None:
        checkpoint = with_formula(job, load(job.encoder, head=False))
        config, encoder = encoder_of(checkpoint, output_range=1)
        return config, build_classifier(config, width, encoder=encoder), checkpoint.notes
    config = BertConfig.preset(job.preset, vocab_size=vocabulary_size, max_sequence_length=job.max_tokens)
    return config, build_classifier(config, width), ()


def _options(job: TrainingJob, hidden_size: int) -> TrainingOptions:
    return TrainingOptions(
        epochs=job.epochs,
        learning_rate=job.learning_rate or usual_learning_rate(job, hidden_size),
        batch_size=job.batch_size,
        patience=job.patience,
        seed=job.seed,
    )
