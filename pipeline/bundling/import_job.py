"""ImportJob, and what its flags and the checkpoint decide together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from pipeline.bundling.networks.flags import ExportedFlags
from pipeline.bundling.networks.formula import HiddenActivation, OutputActivation, of_layers, of_output
from pipeline.errors import ConfigError
from pipeline.jobs.fields import BUNDLE, MODEL, TOKENIZER, in_panel
from pipeline.jobs.long_texts import LongTextFlags
from pipeline.jobs.outputs import check_new_bundle

if TYPE_CHECKING:
    # With them comes TensorFlow, which a wrong flag is not to wait for.
    from model.checkpoints.checkpoint import Checkpoint
    from model.tokenizer.tokenization import TokenizerSpec

_bundle, _model, _tokenizer = map(in_panel, (BUNDLE, MODEL, TOKENIZER))


class ImportJob(ExportedFlags, LongTextFlags):
    """One import: checkpoint -> bundle. Every field is a flag of `bert-batch import`, `path` apart."""

    path: str = in_panel(MODEL, argument="")(description="Hugging Face folder, TensorFlow checkpoint or SavedModel.")
    output: str = _bundle(description="Folder of the new bundle.")
    name: str = _bundle(description="Name of the bundle; every scored row has it.")
    labels: tuple[str, ...] = in_panel(MODEL, separated=",")(
        (), description="a,b,c in the order of the model's classes."
    )
    labels_file: str | None = _model(None, description="File with one label a line, in that order.")
    vocabulary: str | None = _tokenizer(None, description="WordPiece file; by default the one beside it.")
    tokenizer: Literal["model_garden", "huggingface", "google_research"] | None = _tokenizer(
        None, description="model_garden, huggingface or google_research; by default the maker's."
    )
    lower_case: bool | None = _tokenizer(None, description="Fold case; by default as the files say.")
    task: Literal["classification", "multilabel", "regression"] | None = _model(
        None, description="classification, multilabel or regression; by default by outputs and files."
    )
    activation: OutputActivation | None = _model(
        None, description="Of one output: none (raw) or sigmoid; by default as the files say, else none."
    )
    hidden_activation: HiddenActivation | None = _model(
        None, description="Of the encoder's layers, where no file says it: gelu_tanh, gelu_erf or relu; else gelu_tanh."
    )
    norm_first: bool | None = _model(
        None, description="Layers normalise before they compute, where no file says it; else after."
    )
    new_head: int | None = _model(None, ge=1, description="Outputs of an untrained head for an encoder without.")
    max_tokens: int | None = _tokenizer(
        None, ge=2, description="Longer texts are truncated; by default what the model was for."
    )
    segments: Literal[1, 2] | None = _tokenizer(
        None, description="2 for pairs of texts; by default as trained, else 1."
    )
    truncator: Literal["round_robin", "longest_first", "waterfall"] | None = _tokenizer(
        None, description="Of pairs: round_robin, longest_first, waterfall; by default by origin."
    )

    _layers = pydantic.field_validator("hidden_activation", mode="before")(of_layers)
    _output = pydantic.field_validator("activation", mode="before")(of_output)

    @pydantic.field_validator("labels", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        return tuple(label.strip() for label in value.split(",")) if isinstance(value, str) else value

    @pydantic.model_validator(mode="after")
    def _check(self) -> ImportJob:
        check_new_bundle(self.output)
        if self.labels and self.labels_file:
            raise ValueError("--labels and --labels-file are both given; give one of them")
        return self


def count_outputs(job: ImportJob, checkpoint: Checkpoint) -> int:
    """The number of outputs; raises ConfigError for an encoder without head, unless a fresh one is asked for."""
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


def choose_task(job: ImportJob, checkpoint: Checkpoint, outputs: int) -> str:
    """One output is a regression, several are one label of several or, if files or the flag say so, any number of them.

    Raises ConfigError if the flag says what cannot be.
    """
    task = "regression" if outputs == 1 else "multilabel" if checkpoint.several else "classification"
    if job.task == "multilabel" and outputs > 1:
        return job.task
    if job.task not in (None, task):
        raise ConfigError(
            f"--task {job.task}: {checkpoint.origin} has {outputs} outputs, which is a {task}; a regression has "
            "exactly one output, labels several"
        )
    return task


def choose_activation(
    job: ImportJob, checkpoint: Checkpoint, outputs: int, task: str = "classification"
) -> tuple[str, list[str]]:
    """The function after the head, and notes on who decided it: softmax of several outputs or a sigmoid of each, by the
    task; none or sigmoid of one.

    Raises ConfigError where the model's maker has a function that no bundle has.
    """
    from model.checkpoints.cross_encoder import IDENTITY, SIGMOID, SOFTMAX

    place, name = checkpoint.activation or ("", "")
    if outputs > 1:
        if job.activation is not None:
            raise ConfigError(
                f"--activation {job.activation}: {checkpoint.origin} has {outputs} outputs, a classification, whose "
                "probabilities are always a softmax; the flag is for a model of one output: leave it out"
            )
        if task == "multilabel" and (not name or name in (*IDENTITY, *SIGMOID)):
            said = checkpoint.several
            return "sigmoid", [] if said else ["task: multilabel as asked; no file says that texts have several labels"]
        if task == "multilabel" or (name and name not in (*IDENTITY, *SOFTMAX)):
            raise ConfigError(
                f"{place} is {name!r} with {outputs} outputs, and the task {task}; one label of several is scored by "
                "softmax, several labels (--task multilabel) by a sigmoid of each: bring such a model"
            )
        return "softmax", []
    meant = "sigmoid" if name in SIGMOID else "none" if name in IDENTITY else None
    if job.activation is not None:
        differs = name and job.activation != meant
        return job.activation, [f"activation: {job.activation} as asked, although {place} is {name}"] if differs else []
    if name and meant is None:
        raise ConfigError(
            f"{place} is {name!r}; only Sigmoid and Identity of torch.nn are known: choose what the value is with "
            "--activation none (the raw output) or --activation sigmoid"
        )
    if meant is not None:
        shown = "a number from 0 to 1" if meant == "sigmoid" else "the raw output"
        return meant, [f"activation: {meant}, because {place} is {name}; the value is {shown}"]
    notes = [
        "activation: none, so the value is the raw output; nothing says what the model's maker shows. transformers' "
        "text-classification pipeline shows a sigmoid of it: give --activation sigmoid for that"
    ]
    return "none", notes if checkpoint.activation_assumed else []


def choose_labels(job: ImportJob, checkpoint: Checkpoint, outputs: int) -> tuple[str, ...]:
    """The labels in the order of the outputs: the flags', else the checkpoint's; raises ConfigError unless they fit.

    A regression has none.
    """
    given = _given_labels(job)
    if outputs == 1:
        if given is not None:
            raise ConfigError(
                f"--labels: {checkpoint.origin} has one output, a regression, and a value has no label; leave "
                "--labels and --labels-file out, or bring a model with one output for each label"
            )
        return ()
    labels = checkpoint.labels if given is None else given
    if labels is None:
        raise ConfigError(
            f"{checkpoint.origin}: has {outputs} outputs and does not name them; give --labels with {outputs} labels, "
            "separated by commas, in the order of the numbers they had in training"
        )
    if len(labels) != outputs or len(set(labels)) != outputs or not all(labels):
        raise ConfigError(
            f"{len(labels)} labels ({len(set(labels))} different) for {outputs} outputs; give one for each"
        )
    return labels


def _given_labels(job: ImportJob) -> tuple[str, ...] | None:
    if job.labels_file is None:
        return job.labels or None
    try:
        lines = Path(job.labels_file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--labels-file {job.labels_file}: cannot be read ({type(error).__name__})") from error
    return tuple(line.strip() for line in lines)


def label_notes(checkpoint: Checkpoint, labels: tuple[str, ...]) -> list[str]:
    """A note if the flags rename what the checkpoint names (`LABEL_0`, which is no name, apart)."""
    named = checkpoint.labels
    if not labels or named in (None, labels) or all(label == f"LABEL_{i}" for i, label in enumerate(named or ())):
        return []
    return [f"labels: {', '.join(labels)} as asked, although the model calls them {', '.join(named or ())}"]


def choose_vocabulary(job: ImportJob, checkpoint: Checkpoint) -> tuple[str, ...]:
    """The tokens by id: of the file that the flag names, else of the one beside the checkpoint; raises ConfigError."""
    from model.checkpoints.tokenizer_files import read_tokens

    if job.vocabulary is not None:
        if not Path(job.vocabulary).is_file():
            raise ConfigError(f"--vocabulary {job.vocabulary}: not there; give a file with one token a line")
        return read_tokens(Path(job.vocabulary), checkpoint.config.vocab_size)
    if checkpoint.vocabulary is None:
        raise ConfigError(
            f"{checkpoint.origin}: has neither vocab.txt nor tokenizer.json beside it; give the vocabulary with "
            "--vocabulary"
        )
    return checkpoint.vocabulary


def choose_tokenizer(
    job: ImportJob, checkpoint: Checkpoint, tokens: tuple[str, ...], task: str
) -> tuple[TokenizerSpec, list[str]]:
    """How texts become tokens, for a bundle of the task, and notes on what had to be assumed."""
    from model.tokenizer.tokenization import TokenizerSpec, has_capitals

    segments, notes = _segments(job, checkpoint)
    lower_case = job.lower_case if job.lower_case is not None else checkpoint.lower_case
    if lower_case is None:
        lower_case = not has_capitals(tokens)
        notes.append(f"lower case: {lower_case}, because the vocabulary has {'no' if lower_case else 'some'} capitals")
    if checkpoint.flavour_assumed and job.tokenizer is None:
        notes.append(
            "tokenizer: model_garden is assumed, as for a training on texts; one on TFRecords of "
            "create_finetuning_data.py tokenized otherwise: give --tokenizer google_research for it"
        )
    positions = checkpoint.config.max_sequence_length
    longest = job.max_tokens or min(checkpoint.seq_length or positions, positions)
    if longest > positions:
        raise ConfigError(f"--max-tokens {longest}: the model has {positions} positions; give at most that")
    if len(tokens) < checkpoint.config.vocab_size:
        notes.append(
            f"vocabulary: {len(tokens):,} tokens for {checkpoint.config.vocab_size:,} embeddings; the rest is unused"
        )
    spec = TokenizerSpec(
        flavour=job.tokenizer or checkpoint.flavour,
        lower_case=lower_case,
        strip_accents=checkpoint.strip_accents,
        max_tokens=longest,
        segments=segments,
        truncator=job.truncator or checkpoint.truncator,
        long_texts=job.choose_long_texts(task, longest, segments),
    )
    return spec, notes


def _segments(job: ImportJob, checkpoint: Checkpoint) -> tuple[int, list[str]]:
    """How many texts a row has: what the flag says, else the training, else one; and a note on it."""
    fields, notes = checkpoint.text_fields, []
    if len(fields) > 2:
        raise ConfigError(
            f"{checkpoint.origin}: was trained on {len(fields)} texts a row (text_fields {', '.join(fields)}); only "
            "one text or a pair can be scored. Bring a model of those"
        )
    segments = job.segments or max(1, len(fields))
    if fields and segments != len(fields):
        notes.append(f"segments: {segments} as asked, although training had the text_fields {', '.join(fields)}")
    elif segments == 2 and fields:
        notes.append(
            f"segments: 2, because training had two text_fields; the text is {fields[0]}, its pair {fields[1]}"
        )
    checkpoint.check_segments(segments)
    if job.truncator and segments == 1:
        raise ConfigError(
            f"--truncator {job.truncator}: cuts pairs, and this model is imported for single texts; leave the flag "
            "out, or import pairs with --segments 2"
        )
    return segments, notes
