"""TrainingJob: one validated description of a training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from pipeline.bundling.networks.formula import HiddenActivation, of_layers
from pipeline.errors import ConfigError
from pipeline.jobs.column_types import GUESS, SchemaTypes, arrow_types, check_schema, declared
from pipeline.jobs.config import described
from pipeline.jobs.dates import placeholder_in
from pipeline.jobs.fields import BUNDLE, INPUT, MODEL, TOKENIZER, TRAINING, in_panel
from pipeline.jobs.long_texts import LongTextFlags
from pipeline.jobs.outputs import check_new_bundle
from pipeline.jobs.text_files import TextFiles

if TYPE_CHECKING:
    # With them comes Arrow, which --help and a wrong flag are not to wait for.
    from transforms.read.columns import ColumnsRequest
    from transforms.runs.plan import Plan

_input, _bundle, _model, _tokenizer, _training = map(in_panel, (INPUT, BUNDLE, MODEL, TOKENIZER, TRAINING))


class TrainingJob(TextFiles, LongTextFlags):
    """One training: labelled rows -> bundle. Every field is a flag of `bert-batch train`.

    `encoder` is a Hugging Face folder to start from; without it a `preset` is trained from scratch on a vocabulary of
    its own. `epochs` None: a cap that is not meant to be reached; `learning_rate` None: 1e-3 from scratch, else
    usual_learning_rate. `tokenizer` None: its maker's for an encoder, model_garden from scratch; `lower_case` None: as
    the encoder's tokenizer, else yes.
    `label_separator` None: the labels of a multilabel training come as lists, and lists in JSON.
    `text_pair_column` makes it a training on pairs, cut by `truncator`. `schema` types id, text and label.
    """

    input: tuple[str, ...] = _input(description="File, folder or pattern. Repeatable.")
    output: str = _bundle(description="Folder of the new bundle.")
    name: str = _bundle(description="Name of the bundle; every scored row has it.")
    task: Literal["classification", "multilabel", "regression"] = _training(
        "classification", description="classification, multilabel (any number of labels a text) or regression."
    )
    text_column: str = _input("text", description="Column with the text.")
    text_pair_column: str | None = _input(None, description="Column with the second text, for a bundle of pairs.")
    label_column: str = _input("label", description="Column with the label or value.")
    label_separator: str | None = _input(
        None, min_length=1, description="Of --task multilabel: stands between labels; by default they are in lists."
    )
    id_column: str | None = _input(None, description="Column with the unique id; by default the position.")
    format: str | None = _input(None, description="parquet, jsonl, csv, tsv or text; by default from the names.")
    schema_: SchemaTypes = _input(
        default_factory=dict, alias="schema", description="Type of id, text or label: name:type. Repeatable."
    )
    encoder: str | None = _model(None, description="Folder or checkpoint of a BERT to start from.")
    preset: Literal["tiny", "mini", "small", "medium", "base", "large"] = _model(
        "tiny", description="Size without --encoder: tiny, mini, small, medium, base or large."
    )
    hidden_activation: HiddenActivation | None = _model(
        None, description="Of --encoder's layers, where no file says it: gelu_tanh, gelu_erf or relu; else gelu_tanh."
    )
    norm_first: bool | None = _model(
        None, description="Layers of --encoder normalise before they compute, where no file says it; else after."
    )
    vocabulary: str | None = _tokenizer(None, description="WordPiece file; by default the encoder's or learned.")
    vocabulary_size: int = _tokenizer(8_000, ge=100, description="Tokens to learn at most.")
    tokenizer: Literal["model_garden", "huggingface", "google_research"] | None = _tokenizer(
        None,
        description="model_garden, huggingface or google_research; by default the encoder's, else the first.",
    )
    lower_case: bool | None = _tokenizer(None, description="Fold case; by default as the encoder does, else yes.")
    truncator: Literal["round_robin", "longest_first", "waterfall"] = _tokenizer(
        "round_robin", description="Of pairs: round_robin, longest_first or waterfall."
    )
    max_tokens: int = _tokenizer(128, ge=2, description="Longer texts are truncated.")
    epochs: int | None = _training(None, ge=1, description="At most; by default what --patience needs.")
    batch_size: int = _training(32, ge=1, description="Rows of one step.")
    learning_rate: float | None = _training(
        None, gt=0, description="Peak; by default 5e-5 * 768 / hidden size with an encoder, 1e-3 without."
    )
    patience: int = _training(1, ge=1, description="Epochs without progress after which the rate falls, and the end.")
    validation_share: float = _training(0.1, gt=0, lt=1, description="Rows held out for early stopping.")
    max_dead_fraction: float = _training(
        0.01, ge=0, le=1, description="Share of rows that may be dropped, of --input and of --test-input each."
    )
    test_input: tuple[str, ...] = _input((), description="Rows to measure on, never trained on. Repeatable.")
    seed: int = _training(1, description="Same seed, same rows, same machine: same bundle.")

    _layers = pydantic.field_validator("hidden_activation", mode="before")(of_layers)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "TrainingJob":
        check_schema(self.schema_)
        if self.task == "regression" and self.schema_.get(self.label_column, "float64") not in ("float64", "int64"):
            raise ValueError(f"--schema {self.label_column}:…: the label of a regression is a float64 or an int64")
        if self.label_separator is not None and self.task != "multilabel":
            raise ValueError(
                f"--label-separator is for --task multilabel, and this is a {self.task}; give that task too"
            )
        self.choose_long_texts(self.task, self.max_tokens, 2 if self.text_pair_column else 1)
        check_new_bundle(self.output)
        if self.encoder is None and (self.hidden_activation, self.norm_first) != (None, None):
            raise ValueError("--hidden-activation and --norm-first say what an --encoder is, and there is none")
        return self

    @property
    def columns(self) -> "ColumnsRequest":
        """The text, and the label under the name the graph expects."""
        from transforms.read.columns import ColumnsRequest

        label = arrow_types()["float64" if self.task == "regression" else "string"]
        return ColumnsRequest(
            text=self.text_column,
            text_pair=self.text_pair_column,
            id=self.id_column,
            keep=(self.label_column,),
            rename={self.label_column: "target"},
            label=self.label_column,
            listed=self.task == "multilabel" and self.label_separator is None,
            guess=GUESS in self.schema_,
            types={self.label_column: label, **declared(self.schema_)},
            # The label decides: a row whose label does not fit teaches nothing.
            strict=True,
        )


def training_job(flags: Mapping[str, Any]) -> TrainingJob:
    """The training that the flags describe; raises ConfigError."""
    return described(TrainingJob, flags)


def usual_learning_rate(job: TrainingJob, hidden_size: int) -> float:
    """The peak without --learning-rate: 1e-3 from scratch; 5e-5 for BERT-base, more for smaller encoders."""
    return min(2e-4, 5e-5 * 768 / hidden_size) if job.encoder else 1e-3


def plan_rows(job: TrainingJob, flag: str, paths: Sequence[str]) -> "Plan":
    """The labelled rows of some files; raises what plan_inputs raises, and ConfigError if there is none."""
    from transforms.errors import PlanError
    from transforms.read.plan_files import plan_inputs

    if odd := next((path for path in paths if placeholder_in(path)), None):
        raise ConfigError(f"{flag} {odd}: a training has no date to fill in; name the files, or use wildcards")
    try:
        # A test set may be of another format than a CSV with a delimiter of its own.
        loose = flag != "--input"
        plan = plan_inputs(paths, job.columns, file_format=job.format, dialect=job.dialect, loose_dialect=loose)
    except PlanError as error:
        raise PlanError(f"{flag}: {error}") from error
    if not plan.rows:
        raise ConfigError(f"{flag} {', '.join(paths)}: has no rows; give labelled rows")
    return plan
