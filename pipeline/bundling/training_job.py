"""TrainingJob: one validated description of a training."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pydantic

from pipeline.jobs.column_types import GUESS, TYPES, check_schema, schema_of
from pipeline.jobs.config import ConfigError, described
from pipeline.jobs.outputs import check_writable
from pipeline.jobs.text_files import TextFiles
from transforms.read.columns import ColumnsRequest
from transforms.read.plan_files import plan_inputs
from transforms.runs.plan import Plan


class TrainingJob(TextFiles):
    """One training: labelled rows -> bundle. Every field is a flag of `bert-batch train`.

    `encoder` is a Hugging Face folder to start from; without it a `preset` is trained from scratch on a vocabulary of
    its own. `epochs` and `learning_rate` None: 4 and 5e-5 for an encoder, 10 and 1e-3 from scratch. `tokenizer` None:
    its maker's for an encoder, model_garden from scratch; `lower_case` None: as the encoder's tokenizer, else yes.
    `text_pair_column` makes it a training on pairs, cut by `truncator`. `schema` types id, text and label.
    """

    input: tuple[str, ...]
    output: str
    name: str
    task: Literal["classification", "regression"] = "classification"
    text_column: str = "text"
    text_pair_column: str | None = None
    label_column: str = "label"
    id_column: str | None = None
    format: str | None = None
    schema_: Mapping[str, str] = pydantic.Field(default_factory=dict, alias="schema")
    encoder: str | None = None
    preset: Literal["tiny", "mini", "small", "medium", "base", "large"] = "tiny"
    vocabulary: str | None = None
    vocabulary_size: int = pydantic.Field(default=8_000, ge=100)
    tokenizer: Literal["model_garden", "huggingface", "google_research"] | None = None
    lower_case: bool | None = None
    truncator: Literal["round_robin", "longest_first", "waterfall"] = "round_robin"
    max_tokens: int = pydantic.Field(default=128, ge=2)
    epochs: int | None = pydantic.Field(default=None, ge=1)
    batch_size: int = pydantic.Field(default=32, ge=1)
    learning_rate: float | None = pydantic.Field(default=None, gt=0)
    patience: int = pydantic.Field(default=3, ge=1)
    validation_share: float = pydantic.Field(default=0.1, gt=0, lt=1)
    test_input: tuple[str, ...] = ()
    seed: int = 1

    @pydantic.field_validator("schema_", mode="before")
    @classmethod
    def _schema_as_mapping(cls, value: Any) -> Any:
        return schema_of(value)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "TrainingJob":
        check_schema(self.schema_)
        if self.task == "regression" and self.schema_.get(self.label_column, "float64") not in ("float64", "int64"):
            raise ValueError(f"--schema {self.label_column}:…: the label of a regression is a float64 or an int64")
        if os.path.exists(self.output):
            raise ValueError(f"output {self.output!r} exists; a bundle is never overwritten: choose another folder")
        check_writable(self.output)
        return self

    @property
    def columns(self) -> ColumnsRequest:
        """The text, and the label under the name the graph expects."""
        declared = {name: TYPES[kind] for name, kind in self.schema_.items() if name != GUESS}
        label = TYPES["string" if self.task == "classification" else "float64"]
        return ColumnsRequest(
            text=self.text_column,
            text_pair=self.text_pair_column,
            id=self.id_column,
            keep=(self.label_column,),
            rename={self.label_column: "target"},
            label=self.label_column,
            guess=GUESS in self.schema_,
            types={self.label_column: label, **declared},
            # The label decides: a row whose label does not fit teaches nothing.
            strict=True,
        )


def training_job(flags: Mapping[str, Any]) -> TrainingJob:
    """The training that the flags describe; raises ConfigError."""
    return described(TrainingJob, flags)


def plan_rows(job: TrainingJob, flag: str, paths: Sequence[str]) -> Plan:
    """The labelled rows of some files; raises what plan_inputs raises, and ConfigError if there is none."""
    plan = plan_inputs(paths, job.columns, file_format=job.format, dialect=job.dialect)
    if not plan.rows:
        raise ConfigError(f"{flag} {', '.join(paths)}: has no rows; give labelled rows")
    return plan
