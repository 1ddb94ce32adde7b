"""Derives the command line of a job from the fields of its model, so that a flag is written once, there."""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, signature
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import pydantic
import typer
from pydantic.fields import FieldInfo

from pipeline.errors import ConfigError
from pipeline.jobs.config import JobConfig, load_job

JobFile = Annotated[str | None, typer.Option("--job", help="YAML file with these flags as keys; flags override it.")]
LogFormat = Annotated[str, typer.Option(help="text, or json: one JSON object a line.")]
Command = Callable[..., None]


def flags_of(
    model: type[pydantic.BaseModel], *, without: tuple[str, ...] = (), **defaults: Any
) -> Callable[[Command], Command]:
    """Gives a command that takes `**flags` one for every field of `model`, beside the parameters of its own.

    A flag that is not given is None: the model, or a file, has the default. `defaults` are those of this command.
    """

    def derive(command: Command) -> Command:
        own = [value for value in signature(command).parameters.values() if value.kind is not Parameter.VAR_KEYWORD]
        # First what the model itself has, then what it shares with others.
        fields = sorted(model.model_fields.items(), key=lambda field: field[0] not in model.__annotations__)
        derived = [_flag(name, field, defaults) for name, field in fields if name not in without]
        every = [value.replace(kind=Parameter.KEYWORD_ONLY) for value in (*own, *derived)]
        command.__signature__ = Signature(every)  # type: ignore[attr-defined]
        command.__annotations__ = {value.name: value.annotation for value in every}
        return command

    return derive


def _flag(name: str, field: FieldInfo, defaults: Mapping[str, Any]) -> Parameter:
    form = form_of(field)
    text = f"{field.description}{_shown(field, defaults.get(name))}"
    said: dict[str, Any] = {"help": text, "rich_help_panel": form["panel"], "show_default": False}
    kind = kind_of(field)
    if "argument" not in form:
        shape: Any = typer.Option(None, **said)
    else:
        shape = typer.Argument(... if field.is_required() else None, metavar=form["argument"] or None, **said)
    annotation = kind if field.is_required() and "argument" in form else kind | None
    return Parameter(field.alias or name, Parameter.KEYWORD_ONLY, default=shape, annotation=annotation)


def form_of(field: FieldInfo) -> dict[str, str]:
    """What pipeline.jobs.fields.in_panel says of a field."""
    assert isinstance(field.json_schema_extra, dict), "a field without a panel has no flag"
    return {key: str(value) for key, value in field.json_schema_extra.items()}


def kind_of(field: FieldInfo) -> Any:
    """The type of one value on the command line; the model itself checks the value."""
    annotation = field.annotation
    options = [part for part in get_args(annotation) if part is not NoneType]
    if NoneType in get_args(annotation):
        annotation = options[0]
    origin = get_origin(annotation)
    if origin is Literal:
        return type(get_args(annotation)[0])
    if origin is None:
        return annotation
    return str if "separated" in form_of(field) else list[str]


def _shown(field: FieldInfo, default: Any) -> str:
    if field.is_required():
        # For an argument Typer says so.
        return "" if "argument" in form_of(field) else "  [required]"
    if default is None:
        default = field.get_default(call_default_factory=True)
    if default in (None, "", (), {}):
        return ""
    return f"  [default: {'no' if default is False else default}]"


def job_of(file: str | None, flags: Mapping[str, Any], **defaults: Any) -> JobConfig:
    """The job of a file and flags; raises ConfigError."""
    return load_job(file, {**flags, **_pairs(flags)}, **defaults)


def _pairs(flags: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The mappings among the flags of a scoring job; raises ConfigError for what is no pair."""
    found = {}
    for name, field in JobConfig.model_fields.items():
        separator = form_of(field).get("pairs")
        if separator is None or not flags.get(name):
            continue
        parts = {value: value.partition(separator) for value in flags[name]}
        if wrong := [value for value, (left, _, right) in parts.items() if not (left and right)]:
            raise ConfigError(f"--{name} {wrong[0]!r} is not of the form name{separator}value")
        found[name] = {left: right for left, _, right in parts.values()}
        if len(found[name]) < len(parts):
            twice = next(left for left in found[name] if sum(left == other for other, _, _ in parts.values()) > 1)
            raise ConfigError(f"--{name} gives {twice!r} two values; give one")
    return found
