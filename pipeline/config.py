"""JobConfig: one validated description of a scoring job, from a YAML file, flags, or both."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pydantic
import yaml

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
    input: tuple[str, ...]
    output: str
    date: str = "today"
    timezone: str = "UTC"
    format: str | None = None
    id_column: str = "id"
    id_from: Literal["column", "position"] = "column"
    text_column: str = "text"
    keep: str = "all"
    rename: Mapping[str, str] = pydantic.Field(default_factory=dict)
    schema_: Mapping[str, str] = pydantic.Field(default_factory=dict, alias="schema")
    top_k: int | None = pydantic.Field(default=None, ge=1)
    max_dead_fraction: float = 0.01
    max_dead_rows: int | None = None
    allow_missing: bool = False
    trust_ids: bool = False
    token_budget: int | None = pydantic.Field(default=None, ge=1)
    runner: Literal["direct", "local", "dataflow", "portable"] = "direct"
    workers: int = pydantic.Field(default=1, ge=1)
    beam_options: tuple[str, ...] = ()

    @pydantic.field_validator("input", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @pydantic.field_validator("output", "bundle")
    @classmethod
    def _absolute(cls, value: str) -> str:
        # Workers may have another working directory.
        return value.rstrip("/") if "://" in value else os.path.abspath(value)

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
        return self

    @property
    def columns(self) -> ColumnsRequest:
        """What the job says about columns."""
        kept = {"all": None, "none": ()}.get(self.keep, tuple(name.strip() for name in self.keep.split(",")))
        return ColumnsRequest(
            text=self.text_column,
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
        without = {"output", "allow_missing", "workers", "beam_options"}
        return {key: value for key, value in self.model_dump(by_alias=True, mode="json").items() if key not in without}


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
    merged = {**content, **{key: value for key, value in flags.items() if value is not None}}
    try:
        return JobConfig(**merged)
    except pydantic.ValidationError as error:
        raise ConfigError("; ".join(_say(problem, file) for problem in error.errors())) from error


def _say(problem: Any, file: str | None) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    flag = "--" + key.replace("_", "-")
    if problem["type"] == "extra_forbidden":
        names = [field.alias or name for name, field in JobConfig.model_fields.items()]
        near = difflib.get_close_matches(key, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"
        return f"{file or 'job'}: key {key!r} is unknown{hint}"
    if problem["type"] == "missing":
        return f"{flag} is missing (or the key {key!r} in --job)"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{flag} {problem['input']!r}: {message}" if key else message
