"""JobConfig: one validated description of a scoring job, from a YAML file, flags, or both."""

import datetime as dt
import difflib
import functools
import os
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeVar

import pydantic

from pipeline.jobs.column_types import GUESS, TYPES, check_schema, schema_of
from pipeline.jobs.dates import SAMPLE, fill, fill_sql, placeholder_in
from pipeline.jobs.inputs import check_input
from pipeline.jobs.outputs import Outputs, absolute, outputs
from pipeline.jobs.text_files import TextFiles
from pipeline.jobs.yaml_file import YamlFileError, read_mapping
from transforms.batches.schemas import LONGEST_TEXT
from transforms.read.columns import ColumnsRequest
from transforms.read.plan_files import FORMATS
from transforms.runs.run import ErrorBudget

LOCAL = ("direct", "local")
"""Runners whose workers are on this machine."""

LATER: frozenset[str] = frozenset({"keep_text_digests", "max_text_bytes", "strict_columns", *TextFiles.model_fields})
"""Settings (by flag, `schema` not `schema_`) that came after the first outputs. At its default, such a setting is left
out of what resume compares: a run staged by an earlier version is the same work."""


class ConfigError(ValueError):
    """A job is described wrongly, in one or several ways; nothing has run."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class JobConfig(TextFiles):
    """One scoring job. Every field is a flag of `bert-batch score` and a key of its YAML file.

    The input is files, or one table (`bq://project.dataset.table`, of which `input_filter` chooses rows), or the result
    of the query in the file `input_query`.
    """

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
    strict_columns: bool = False
    top_k: int | None = pydantic.Field(default=None, ge=1)
    max_text_bytes: int = pydantic.Field(default=LONGEST_TEXT, ge=1, le=1 << 30)
    max_dead_fraction: float = 0.01
    max_dead_rows: int | None = None
    allow_missing: bool = False
    trust_ids: bool = False
    only_new: bool = False
    keep_text_digests: bool = False
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
        if not isinstance(values, (list, tuple)):
            return value  # Pydantic says that it is no text.
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

    @pydantic.field_validator("schema_", mode="before")
    @classmethod
    def _schema_as_mapping(cls, value: Any) -> Any:
        return schema_of(value)

    @pydantic.field_validator("bundle")
    @classmethod
    def _bundle_path(cls, value: str) -> str:
        return absolute(value) if value.strip() else value

    @pydantic.field_validator("input_query")
    @classmethod
    def _absolute_query(cls, value: str | None) -> str | None:
        # Dead letters name it.
        return None if value is None else absolute(value)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "JobConfig":
        given = {"--format": self.format is not None, "--id-from position": self.id_from == "position"}
        given |= {"--encoding": self.dialect.encoding != "utf-8", **dict.fromkeys(self.dialect.said, True)}
        check_input(self.input, self.input_filter, self.input_query, files_only=[f for f, on in given.items() if on])
        known = sorted(set(FORMATS.values()))
        if self.format is not None and self.format not in known:
            raise ValueError(f"format {self.format!r} is unknown; known are {', '.join(known)}")
        check_schema(self.schema_)
        if self.columns.keep is not None and not all(self.columns.keep):
            raise ValueError(f"--keep {self.keep!r} names no column; give all, none, or columns as a,b")
        _ = self.budget
        self._check_paths()
        # Also fixes what a relative folder means.
        if self.outputs.table is None and self.dead_letters_table:
            raise ValueError("--dead-letters-table is for an output table; add --output bq://project.dataset.table")
        return self

    def _check_paths(self) -> None:
        paths = [("--bundle", self.bundle), ("--input-query", self.input_query or "-")]
        paths += [("--input", path) for path in self.input] + [("--output", path) for path in self.output]
        for flag, path in paths:
            if not path.strip() or "\0" in path or re.fullmatch("gs:/*", path):
                raise ValueError(f"{flag} {path!r} is no path; name a file or a folder")
            if flag == "--input":
                fill(path, SAMPLE)
            elif flag != "--output" and (found := placeholder_in(path)):  # Of outputs `outputs` says it.
                raise ValueError(
                    f"{flag} {path}: {found} is not replaced there, the path is the same for all dates; "
                    "placeholders are for --input, --input-filter and the text of a query"
                )
        fill_sql(self.input_filter or "", SAMPLE, "--input-filter")

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
            types={name: TYPES[kind] for name, kind in self.schema_.items() if name != GUESS},
            guess=GUESS in self.schema_,
            strict=self.strict_columns,
            max_text_bytes=self.max_text_bytes,
        )

    @property
    def budget(self) -> ErrorBudget:
        """The error budget of the job."""
        return ErrorBudget(fraction=self.max_dead_fraction, rows=self.max_dead_rows)

    @property
    def digests(self) -> bool:
        """Whether digests of the texts are kept, for --only-new of a later date."""
        return self.only_new or self.keep_text_digests

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
        if self.only_new:
            said.pop("keep_text_digests", None)  # Which says nothing more then.
        return {key: value for key, value in self.settings.items() if key not in idle | (LATER - said.keys())}


def load_job(file: str | None, flags: Mapping[str, Any], **defaults: Any) -> JobConfig:
    """The job of a YAML file (or none), overridden by the flags that were given; raises ConfigError.

    `defaults` are those of a command that has its own.
    """
    content: dict[str, Any] = {}
    if file is not None:
        try:
            content = read_mapping(file)
        except YamlFileError as error:
            raise ConfigError(f"--job {file}: {error}") from error
    given = _given(flags)
    return _make(JobConfig, {**defaults, **content, **given}, file, content.keys() - given.keys())


def described(model: "type[Model]", flags: Mapping[str, Any]) -> "Model":
    """The job of one kind that the flags describe; raises ConfigError."""
    return _make(model, _given(flags), None)


Model = TypeVar("Model", bound=pydantic.BaseModel)


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if value not in (None, [], {})}


def _make(model: type[Model], values: Mapping[str, Any], file: str | None, in_file: Collection[str] = ()) -> Model:
    try:
        return model(**values)
    except pydantic.ValidationError as error:
        problems = [_say(model, problem, file, in_file) for problem in error.errors()]
        raise ConfigError("; ".join(problems)) from error


def _say(model: type[pydantic.BaseModel], problem: Any, file: str | None, in_file: Collection[str]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    flag = "--" + key.replace("_", "-")
    if problem["type"] == "extra_forbidden":
        names = [field.alias or name for name, field in model.model_fields.items()]
        near = difflib.get_close_matches(key, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"
        return f"{file or 'job'}: key {key!r} is unknown{hint}"
    if problem["type"] == "missing":
        return f"{flag} is missing (or the key {key!r} in --job)"
    message: str = problem["msg"].removeprefix("Value error, ")
    value = _short(problem["input"])
    if not key:
        return message
    if problem["loc"][0] not in in_file:
        return f"{flag} {value}: {message}"
    if problem["type"] in ("string_type", "tuple_type"):
        message = "it must be a text; put it into quotes"
    if problem["input"] is None:
        message = "it has no value; give one, or leave the key out"
    return f"{file}: key {key!r} is {value}: {message}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 200 else shown[:200] + "…"
