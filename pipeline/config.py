"""JobConfig: one validated description of a scoring job, from a YAML file, flags, or both."""

import datetime as dt
import difflib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pydantic
import yaml

from pipeline.outputs import Outputs, absolute, outputs
from transforms.columns import ColumnsRequest
from transforms.plan import FORMATS
from transforms.runs import ErrorBudget

TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


class ConfigError(ValueError):
    """A job is described wrongly; nothing has run."""


class JobConfig(pydantic.BaseModel):
    """One scoring job. Every field is a flag of `bert-batch score` and a key of its YAML file."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    bundle: str
    bundle_fingerprint: str = ""
    input: tuple[str, ...]
    output: tuple[str, ...]
    staging: str | None = None
    dead_letters_table: bool = False
    date: str = "today"
    timezone: str = "UTC"
    format: str | None = None
    id_column: str = "id"
    id_from: Literal["column", "position"] = "column"
    text_column: str = "text"
    text_pair_column: str | None = None
    keep: str = "all"
    rename: Mapping[str, str] = pydantic.Field(default_factory=dict)
    schema_: Mapping[str, str] = pydantic.Field(default_factory=dict, alias="schema")
    top_k: int | None = pydantic.Field(default=None, ge=1)
    max_dead_fraction: float = 0.01
    max_dead_rows: int | None = None
    allow_missing: bool = False
    trust_ids: bool = False
    token_budget: int | None = pydantic.Field(default=None, ge=1)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    runner: Literal["direct", "local", "dataflow", "portable"] = "direct"
    workers: int = pydantic.Field(default=1, ge=1)
    beam_options: tuple[str, ...] = ()

    @pydantic.field_validator("input", "output", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        values = (value,) if isinstance(value, str) else value
        return tuple(os.path.expanduser(v) if isinstance(v, str) else v for v in values)

    @pydantic.field_validator("date", mode="before")
    @classmethod
    def _date_as_text(cls, value: Any) -> Any:
        # YAML reads 2026-11-21 as a date.
        return value.isoformat() if isinstance(value, dt.date) else value

    @pydantic.field_validator("keep", mode="before")
    @classmethod
    def _list_as_text(cls, value: Any) -> Any:
        return ",".join(map(str, value)) if isinstance(value, list) else value

    @pydantic.field_validator("bundle")
    @classmethod
    def _bundle_path(cls, value: str) -> str:
        return absolute(value)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "JobConfig":
        if not self.input:
            raise ValueError("input is empty; name at least one file, folder or pattern")
        known = sorted(set(FORMATS.values()))
        if self.format is not None and self.format not in known:
            raise ValueError(f"format {self.format!r} is unknown; known are {', '.join(known)}")
        unknown = [kind for kind in self.schema_.values() if kind not in TYPES]
        if unknown:
            raise ValueError(f"schema type {unknown[0]!r} is unknown; known are {', '.join(TYPES)}")
        _ = self.budget
        # Also fixes what a relative folder means.
        if self.outputs.table is None and self.dead_letters_table:
            raise ValueError("--dead-letters-table is for an output table; add --output bq://project.dataset.table")
        return self

    @functools.cached_property
    def outputs(self) -> Outputs:
        """Where the job publishes."""
        return outputs(self.output, self.staging)

    @property
    def home(self) -> str:
        """The folder of manifests, parts and runs."""
        return self.outputs.home

    @property
    def columns(self) -> ColumnsRequest:
        """What the job says about columns."""
        kept = {"all": None, "none": ()}.get(self.keep, tuple(name.strip() for name in self.keep.split(",")))
        return ColumnsRequest(
            text=self.text_column,
            text_pair=self.text_pair_column,
            id=None if self.id_from == "position" else self.id_column,
            keep=kept,
            rename=self.rename,
            types={name: TYPES[kind] for name, kind in self.schema_.items()},
        )

    @property
    def budget(self) -> ErrorBudget:
        """The error budget of the job."""
        return ErrorBudget(fraction=self.max_dead_fraction, rows=self.max_dead_rows)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the output, for the manifest."""
        without = {"output", "staging", "dead_letters_table", "allow_missing", "workers", "beam_options"}
        return {key: value for key, value in self.model_dump(by_alias=True, mode="json").items() if key not in without}


class TrainingJob(pydantic.BaseModel):
    """One training: labelled rows -> bundle. Every field is a flag of `bert-batch train`.

    `encoder` is a Hugging Face folder to start from; without it a `preset` is trained from scratch on a vocabulary of
    its own. `epochs` and `learning_rate` None: 4 and 5e-5 for an encoder, 10 and 1e-3 from scratch. `tokenizer` None:
    huggingface for an encoder, model_garden from scratch; `lower_case` None: as the encoder's tokenizer, else yes.
    `text_pair_column` makes it a training on pairs, cut by `truncator`.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    input: tuple[str, ...]
    output: str
    name: str
    task: Literal["classification", "regression"] = "classification"
    text_column: str = "text"
    text_pair_column: str | None = None
    label_column: str = "label"
    id_column: str | None = None
    format: str | None = None
    encoder: str | None = None
    preset: Literal["tiny", "mini", "small", "medium", "base", "large"] = "tiny"
    vocabulary: str | None = None
    vocabulary_size: int = pydantic.Field(default=8_000, ge=100)
    tokenizer: Literal["model_garden", "huggingface"] | None = None
    lower_case: bool | None = None
    truncator: Literal["round_robin", "waterfall"] = "round_robin"
    max_tokens: int = pydantic.Field(default=128, ge=2)
    epochs: int | None = pydantic.Field(default=None, ge=1)
    batch_size: int = pydantic.Field(default=32, ge=1)
    learning_rate: float | None = pydantic.Field(default=None, gt=0)
    patience: int = pydantic.Field(default=3, ge=1)
    validation_share: float = pydantic.Field(default=0.1, gt=0, lt=1)
    test_input: tuple[str, ...] = ()
    seed: int = 1

    @pydantic.model_validator(mode="after")
    def _check(self) -> "TrainingJob":
        if os.path.exists(self.output):
            raise ValueError(f"output {self.output!r} exists; a bundle is never overwritten: choose another folder")
        return self

    @property
    def columns(self) -> ColumnsRequest:
        """The text, and the label under the name the graph expects."""
        kind = TYPES["string" if self.task == "classification" else "float64"]
        return ColumnsRequest(
            text=self.text_column,
            text_pair=self.text_pair_column,
            id=self.id_column,
            keep=(self.label_column,),
            rename={self.label_column: "target"},
            types={self.label_column: kind},
        )


def load_job(file: str | None, flags: Mapping[str, Any]) -> JobConfig:
    """The job of a YAML file (or none), overridden by the flags that were given; raises ConfigError."""
    content: dict[str, Any] = {}
    if file is not None:
        try:
            content = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"--job {file}: cannot be read as YAML ({type(error).__name__})") from error
        if not isinstance(content, dict):
            raise ConfigError(f"--job {file}: is not a mapping of keys to values")
    return _make(JobConfig, {**content, **_given(flags)}, file)


def described(model: "type[Model]", flags: Mapping[str, Any]) -> "Model":
    """The job of one kind that the flags describe; raises ConfigError."""
    return _make(model, _given(flags), None)


def training_job(flags: Mapping[str, Any]) -> TrainingJob:
    """The training that the flags describe; raises ConfigError."""
    return _make(TrainingJob, _given(flags), None)


Model = TypeVar("Model", bound=pydantic.BaseModel)


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if value not in (None, [], {})}


def _make(model: type[Model], values: Mapping[str, Any], file: str | None) -> Model:
    try:
        return model(**values)
    except pydantic.ValidationError as error:
        raise ConfigError("; ".join(_say(model, problem, file) for problem in error.errors())) from error


def _say(model: type[pydantic.BaseModel], problem: Any, file: str | None) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    flag = "--" + key.replace("_", "-")
    if problem["type"] == "extra_forbidden":
        names = [field.alias or name for name, field in model.model_fields.items()]
        near = difflib.get_close_matches(key, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"
        return f"{file or 'job'}: key {key!r} is unknown{hint}"
    if problem["type"] == "missing":
        return f"{flag} is missing (or the key {key!r} in --job)"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{flag} {problem['input']!r}: {message}" if key else message
