"""JobConfig: one validated description of a scoring job, from a YAML file, flags, or both."""

import datetime as dt
import functools
import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pydantic

from pipeline.errors import ConfigError
from pipeline.jobs.column_types import GUESS, SchemaTypes, check_schema, declared
from pipeline.jobs.dates import SAMPLE, fill_sql
from pipeline.jobs.fields import INPUT, NIGHTS, OUTPUT, SCORING, WHERE, in_panel
from pipeline.jobs.inputs import check_input, check_paths
from pipeline.jobs.outputs import FolderPath, Outputs, absolute, outputs
from pipeline.jobs.sentences import sentence_of
from pipeline.jobs.text_files import TextFiles
from transforms.batches.formats import FORMATS, LONGEST_TEXT

if TYPE_CHECKING:
    # With them comes Arrow, which --help and a wrong flag are not to wait for.
    from transforms.publish.gate import Gate
    from transforms.read.columns import ColumnsRequest
    from transforms.runs.error_budget import ErrorBudget

_input, _output, _nights, _scoring, _where = map(in_panel, (INPUT, OUTPUT, NIGHTS, SCORING, WHERE))

LOCAL = ("direct", "local")
"""Runners whose workers are on this machine."""

Chips = Literal["amx", "avx512_bf16", "avx512_vnni", "avx512", "avx2_vnni", "avx2", "arm_bf16", "arm", "other", "gpu"]
"""Classes of chips; `bert-batch certify` shows that of a machine."""

LATER: frozenset[str] = frozenset(
    {
        *("embeddings", "keep_text_digests", "max_text_bytes", "min_probability", "strict_columns", "threshold"),
        *TextFiles.model_fields,
    }
)
"""Settings (by flag, `schema` not `schema_`) that came after the first outputs. At its default, such a setting is left
out of what resume compares: a run staged by an earlier version is the same work."""


class JobConfig(TextFiles):
    """One scoring job. Every field is a flag of `bert-batch score` and a key of its YAML file.

    The input is files, or one table (`bq://project.dataset.table`, of which `input_filter` chooses rows), or the result
    of the query in the file `input_query`.
    """

    bundle: FolderPath = _scoring(description="Folder of the bundle, local or gs://.")
    bundle_fingerprint: str = _scoring("", description="Beginning of the fingerprint the bundle must have.")
    input: tuple[str, ...] = _input(
        (),
        description="File, folder or pattern, repeatable; or bq://project.dataset.table. {date} is replaced.",
    )
    input_filter: str | None = _input(None, description="Rows of the table: a condition in SQL; {date} is replaced.")
    input_query: str | None = _input(None, description="File with a query, in place of --input; {date} is replaced.")
    output: tuple[str, ...] = _output(
        description="Folder for dt=<date>/, local or gs://, or bq://project.dataset.table. Twice for both."
    )
    staging: str | None = _output(None, description="gs:// folder that a table is loaded from.")
    dead_letters_table: bool = _output(False, description="Dead letters to <table>__dead_letters too.")
    date: str = _nights("today", description="YYYY-MM-DD, today or yesterday.")
    timezone: str = _nights("UTC", description="Where the day begins and ends.")
    format: str | None = _input(None, description="parquet, jsonl, csv, tsv or text; by default from the names.")
    id_column: str = _input("id", description="Column with the unique id.")
    id_from: Literal["column", "position"] = _input("column", description="column, or position: ids are <file>#<row>.")
    text_column: str = _input("text", description="Column with the text.")
    text_pair_column: str | None = _input(None, description="Column with the second text, for bundles of pairs.")
    keep: str = _output("all", description="Columns to carry along: all (but the text), none, or a,b.")
    rename: Mapping[str, str] = in_panel(OUTPUT, pairs="=")(
        default_factory=dict, description="Kept column under another name: old=new. Repeatable."
    )
    schema_: SchemaTypes = _input(
        default_factory=dict,
        alias="schema",
        description="Type of a column: name:type, repeatable; auto: numbers of a CSV are numbers.",
    )
    strict_columns: bool = _output(False, description="A kept value that does not fit: a dead letter, not null.")
    top_k: int | None = _scoring(None, ge=1, description="Classes to list per row; by default all.")
    threshold: float | None = _scoring(
        None,
        ge=0,
        le=1,
        description="Of several labels a text: probability from which one is given; else the bundle's.",
    )
    min_probability: float | None = _scoring(
        None, gt=0, le=1, description="A less probable label is no decision: column decision is the label, or abstain."
    )
    embeddings: Literal["float32", "float16"] | None = _scoring(
        None, description="Adds the column embedding, float32 or float16: the vector behind the scores."
    )
    max_text_bytes: int = _input(
        LONGEST_TEXT, ge=1, le=1 << 30, description="Bytes of one text; a longer one is a dead letter."
    )
    max_dead_fraction: float = _output(0.01, description="Share of rows that may be dead letters.")
    max_dead_rows: int | None = _output(None, description="Number of rows that may be dead letters.")
    hold_if_drift: bool = _output(False, description="Hold a run that is far from the last dates or the baseline.")
    min_rows_ratio: float | None = _output(
        None, gt=0, le=1, description="Hold a run with fewer rows than this share of what the last dates have."
    )
    allow_missing: bool = _input(False, description="An input that no file matches is empty.")
    trust_ids: bool = _input(False, description="Do not look for duplicate ids.")
    only_new: bool = _nights(False, description="Take scores of unchanged texts from the newest published date.")
    keep_text_digests: bool = _nights(False, description="Keep digests of the texts for a later --only-new.")
    token_budget: int | None = _scoring(
        None, ge=1, description="Padded tokens of one micro-batch; by default by device."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16", "int8", "fastest"] = _scoring(
        "auto", description="float32, bfloat16, float16, int8, auto: by device, or fastest: by certificate."
    )
    max_changed_labels: float = _scoring(
        0.01, gt=0, lt=1, description="Share of labels that --precision fastest may change."
    )
    runner: Literal["direct", "local", "dataflow", "portable"] = _where(
        "direct", description="direct (alias local), dataflow or portable."
    )
    workers: int = _where(1, ge=1, description="Local worker processes.")
    chip: Chips | None = _where(None, description="Class of the chips of workers elsewhere, such as amx.")
    if_published: Literal["replace", "skip"] = _nights(
        "replace", description="A date that is published: replace it, or skip."
    )
    report: str | None = _nights(None, description="Page to write of the night, ending in .html; {date} is replaced.")
    beam_options: tuple[str, ...] = in_panel(WHERE, argument="-- [BEAM]...")(
        (), description="After --: Beam's own options."
    )

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
        if self._kept is not None and not all(self._kept):
            raise ValueError(f"--keep {self.keep!r} names no column; give all, none, or columns as a,b")
        _ = self.budget
        check_paths(self.bundle, self.input, self.input_query, self.output)
        fill_sql(self.input_filter or "", SAMPLE, "--input-filter")
        # Also fixes what a relative folder means.
        if self.outputs.table is None and self.dead_letters_table:
            raise ValueError("--dead-letters-table is for an output table; add --output bq://project.dataset.table")
        if self.outputs.table is not None and self.embeddings == "float16":
            raise ValueError("--embeddings float16: BigQuery has no such type; take float32, or an output folder alone")
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
    def _kept(self) -> tuple[str, ...] | None:
        return {"all": None, "none": ()}.get(self.keep, tuple(name.strip() for name in self.keep.split(",")))

    @property
    def columns(self) -> "ColumnsRequest":
        """What the job says about columns."""
        from transforms.read.columns import ColumnsRequest

        return ColumnsRequest(
            text=self.text_column,
            text_pair=self.text_pair_column,
            id=None if self.id_from == "position" else self.id_column,
            keep=self._kept,
            rename=self.rename,
            types=declared(self.schema_),
            guess=GUESS in self.schema_,
            strict=self.strict_columns,
            max_text_bytes=self.max_text_bytes,
        )

    @property
    def budget(self) -> "ErrorBudget":
        """The error budget of the job."""
        from transforms.runs.error_budget import ErrorBudget

        return ErrorBudget(fraction=self.max_dead_fraction, rows=self.max_dead_rows)

    @property
    def gate(self) -> "Gate":
        """What holds a run of the job."""
        from transforms.publish.gate import Gate

        return Gate(drift=self.hold_if_drift, min_rows_ratio=self.min_rows_ratio)

    @property
    def digests(self) -> bool:
        """Whether digests of the texts are kept, for --only-new of a later date."""
        return self.only_new or self.keep_text_digests

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the output, for the manifest."""
        idle = {"output", "staging", "dead_letters_table", "allow_missing", "workers", "beam_options", "if_published"}
        idle |= {"report"}
        return {key: value for key, value in self.model_dump(by_alias=True, mode="json").items() if key not in idle}

    @property
    def compared_settings(self) -> dict[str, Any]:
        """The settings by which resume tells whether an earlier attempt did the same work."""
        # What they choose, engine and precision, is compared itself.
        idle = {"max_changed_labels", "chip"} | {"token_budget", "timezone", "runner", "bundle_fingerprint"}
        idle |= {"hold_if_drift", "min_rows_ratio"}
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
        from pipeline.errors import YamlFileError
        from pipeline.jobs.yaml_file import read_mapping

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
        problems = [sentence_of(model, problem, file, in_file) for problem in error.errors()]
        raise ConfigError("; ".join(problems)) from error
