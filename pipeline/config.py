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

from pipeline.inputs import check_input
from pipeline.outputs import Outputs, absolute, outputs
from transforms.columns import ColumnsRequest
from transforms.plan import FORMATS
from transforms.runs import ErrorBudget
from transforms.schemas import LONGEST_TEXT

TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}

LATER: frozenset[str] = frozenset({"max_text_bytes"})
"""Settings (by flag, `schema` not `schema_`) that came after the first outputs. At its default, such a setting is left
out of what resume compares: a run staged by an earlier version is the same work."""


class ConfigError(ValueError):
    """A job is described wrongly; nothing has run."""


class JobConfig(pydantic.BaseModel):
    """One scoring job. Every field is a flag of `bert-batch score` and a key of its YAML file.

    The input is files, or one table (`bq://project.dataset.table`, of which `input_filter` chooses rows), or the result
    of the query in the file `input_query`.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    bundle: str
    bundle_fingerprint: str = ""
    input: tuple[str, ...] = ()
    input_filter: str | None = None
    input_query: str | None = None
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
    max_text_bytes: int = pydantic.Field(default=LONGEST_TEXT, ge=1, le=1 << 30)
    max_dead_fraction: float = 0.01
    max_dead_rows: int | None = None
    allow_missing: bool = False
    trust_ids: bool = False
    only_new: bool = False
    token_budget: int | None = pydantic.Field(default=None, ge=1)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    runner: Literal["direct", "local", "dataflow", "portable"] = "direct"
    workers: int = pydantic.Field(default=1, ge=1)
    if_published: Literal["replace", "skip"] = "replace"
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

    @pydantic.field_validator("input_query")
    @classmethod
    def _absolute_query(cls, value: str | None) -> str | None:
        # Dead letters name it.
        return None if value is None else absolute(value)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "JobConfig":
        given = {"--format": self.format is not None, "--id-from position": self.id_from == "position"}
        check_input(self.input, self.input_filter, self.input_query, files_only=[f for f, on in given.items() if on])
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
            max_text_bytes=self.max_text_bytes,
        )

    @property
    def budget(self) -> ErrorBudget:
        """The error budget of the job."""
        return ErrorBudget(fraction=self.max_dead_fraction, rows=self.max_dead_rows)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the output, for the manifest."""
        idle = {"output", "staging", "dead_letters_table", "allow_missing", "workers", "beam_options", "if_published"}
        return {key: value for key, value in self.model_dump(by_alias=True, mode="json").items() if key not in idle}

    @property
    def compared_settings(self) -> dict[str, Any]:
        """The settings by which resume tells whether an earlier attempt did the same work."""
        idle = {"token_budget", "timezone", "runner", "bundle_fingerprint"}
        said = self.model_dump(by_alias=True, mode="json", exclude_defaults=True)
        return {key: value for key, value in self.settings.items() if key not in idle | (LATER - said.keys())}


def load_job(file: str | None, flags: Mapping[str, Any], **defaults: Any) -> JobConfig:
    """The job of a YAML file (or none), overridden by the flags that were given; raises ConfigError.

    `defaults` are those of a command that has its own.
    """
    content: dict[str, Any] = {}
    if file is not None:
        try:
            content = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"--job {file}: cannot be read as YAML ({type(error).__name__})") from error
        if not isinstance(content, dict):
            raise ConfigError(f"--job {file}: is not a mapping of keys to values")
    return _make(JobConfig, {**defaults, **content, **_given(flags)}, file)


def described(model: "type[Model]", flags: Mapping[str, Any]) -> "Model":
    """The job of one kind that the flags describe; raises ConfigError."""
    return _make(model, _given(flags), None)


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
