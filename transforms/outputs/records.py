"""Checks whatever is read from the files of an output: anybody who can write there could have written it.

Ids, dates, counts and paths must have the form that we write, and paths must stay below the output. A format newer than
this program is refused. Unknown keys are left as they are; keys that earlier versions did not write have a default.
"""

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn

import pydantic

from transforms.errors import RecordError, TooLargeError, own_sentence
from transforms.outputs.drift.record import Drift
from transforms.outputs.names import DATE_FOLDER, RUN_ID, is_below
from transforms.outputs.summary.record import Summary
from transforms.stores.choose import store_for

FORMAT = 1
"""The newest format of manifests and verdicts that is read."""
MAX_BYTES = 1 << 30
"""No record is larger; a larger file is not read into memory."""

Count = Annotated[int, pydantic.Field(strict=True, ge=0, lt=1 << 63)]
Checksum = Annotated[str, pydantic.Field(pattern="^crc32c:[0-9a-f]{8}$")]


def _run_id(value: str) -> str:
    if not RUN_ID.fullmatch(value):
        raise ValueError("is no run id")
    return value


def _relative(value: str) -> str:
    if not is_below(value):
        raise ValueError("leads out of the output")
    return value


def _day(value: str) -> str:
    if not DATE_FOLDER.fullmatch(f"dt={value}"):
        raise ValueError("is no date")
    dt.date.fromisoformat(value)
    return value


def _time(value: str) -> str:
    if dt.datetime.fromisoformat(value).tzinfo is None:
        raise ValueError("has no time zone")
    return value


RunId = Annotated[str, pydantic.AfterValidator(_run_id)]
Relative = Annotated[str, pydantic.AfterValidator(_relative)]
Day = Annotated[str, pydantic.AfterValidator(_day)]
Time = Annotated[str, pydantic.AfterValidator(_time)]


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", strict=True)


class _Digests(_Record):
    path: Relative
    bytes: Count
    checksum: Checksum


class _Part(_Record):
    path: Relative
    rows: Count
    bytes: Count
    checksum: Checksum
    staged: Relative | None = None
    digests: _Digests | None = None


class _Table(_Record):
    table: Annotated[str, pydantic.Field(pattern=r"^[^`/\s]+$")]
    fields: list[dict[str, Any]]
    dead_letters: bool = False
    # Uploads are deleted there.
    staging: Annotated[str, pydantic.Field(pattern=r"^(gs://[^/*{]+(/[^*{]*)?)?$")] = ""


class _Compared(_Record):
    date: Day
    run_id: RunId


class _Counts(_Record):
    read: Count
    scored: Count
    dead: Count
    skipped: Count = 0


class _Manifest(_Record):
    format: Literal[1] = 1
    sequence: Annotated[Count, pydantic.Field(ge=1)]
    run_id: RunId
    logical_date: Day
    started: Time | None = None
    published_at: Time | None = None
    finished: bool
    expired: bool = False
    replaces: RunId | None = None
    bundle: str
    settings: dict[str, Any] = {}
    table: _Table | None = None
    table_input: dict[str, Any] | None = None
    inputs: list[Any] = []
    files: list[_Part]
    dead_letters: list[_Part]
    counts: _Counts
    dead_codes: dict[str, Count] = {}
    notes: dict[str, Count] = {}
    kept_misfits: dict[str, Count] = {}
    work: dict[str, Count | str | float] = {}
    precision: str = ""
    engine: str = "tensorflow"
    splits_taken_over: Count = 0
    compared_with: _Compared | None = None
    summary: Summary | None = None
    drift: Drift = {}
    gate: dict[str, Any] = {}
    accepted: Time | None = None


_MISSING: Mapping[str, Any] = {
    "settings": {},
    "inputs": [],
    "table": None,
    "dead_codes": {},
    "notes": {},
    "kept_misfits": {},
    "work": {},
}
_SECTIONS = ("files", "dead_letters")


def read(path: str) -> bytes | None:
    """The bytes of a record, or None where there is no such file; raises RecordError for one that cannot be one."""
    try:
        return store_for(path).read(path, MAX_BYTES)
    except TooLargeError:
        broken(path, "is too large to be a file of ours")
    except OSError as error:
        broken(path, f"cannot be read ({own_sentence(error) or type(error).__name__})")


def parse(raw: bytes, path: str) -> dict[str, Any]:
    """The JSON object in the file at `path`; raises RecordError."""
    try:
        content = json.loads(raw.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)
        if b"\\ud" in raw.lower():
            # Half of a pair of surrogates could be read and never be written again.
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        broken(path, "is not JSON (not even UTF-8)")
    except RecursionError:
        broken(path, "is not JSON that this program writes (nested too deeply)")
    except ValueError:
        broken(path, "is not JSON")
    if not isinstance(content, dict):
        broken(path, "is not a JSON object")
    newer = content.get("format", FORMAT)
    if type(newer) is int and newer > FORMAT:
        raise RecordError(
            f"{path}: is of format {newer}; this version of bert-batch reads format {FORMAT} and overwrites no newer "
            "one. Use the version that wrote it"
        )
    return content


def manifest(raw: bytes, path: str) -> dict[str, Any]:
    """The manifest in the file at `path`, below `dt=<date>/`; raises RecordError naming the file and the key."""
    content = parse(raw, path)
    try:
        found = _Manifest.model_validate(content)
    except (pydantic.ValidationError, RecursionError) as error:
        broken(path, _why(error))
    if f"dt={found.logical_date}" != path.rsplit("/", 2)[-2]:
        broken(path, "logical_date is another date than that of its folder")
    for key in _SECTIONS:
        for part in content[key]:
            files = [part, *([part["digests"]] if part.get("digests") else [])]
            if not all(_lies_in_dates(file["path"], key) for file in files):
                broken(path, f"{key}: a path leads out of the folders of dates")
    return {**_MISSING, **content}


def _lies_in_dates(path: str, key: str) -> bool:
    parts = path.split("/")
    parts = parts[1:] if key == "dead_letters" and parts[0] == "_dead_letters" else parts
    return len(parts) == 2 and DATE_FOLDER.fullmatch(parts[0]) is not None


def checked(kind: Any, raw: bytes, path: str) -> Any:
    """The dataclass `kind` in the JSON file at `path`; keys it does not have are passed over. Raises RecordError."""
    parse(raw, path)
    try:
        return _adapter(kind).validate_json(raw, strict=True)
    except (pydantic.ValidationError, RecursionError) as error:
        broken(path, _why(error))


_adapters: dict[Any, pydantic.TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = pydantic.TypeAdapter(kind)
    return _adapters[kind]


def check_table(values: Mapping[str, Any], path: str) -> None:
    """Raises RecordError if `values`, from the file at `path`, do not describe a table that a job may write into."""
    try:
        _Table.model_validate(dict(values))
    except pydantic.ValidationError as error:
        broken(path, f"table: {_why(error)}")


def is_time(value: str) -> bool:
    """Whether it is a time in ISO form, with its zone."""
    try:
        return bool(_time(value))
    except ValueError:
        return False


def broken(path: str, why: str) -> NoReturn:
    """Raises RecordError."""
    raise RecordError(f"{path}: {why}, so what it should say is not known; restore the file")


def _why(error: Exception) -> str:
    """Which key is wrong and how; never its value, which may be anybody's."""
    if not isinstance(error, pydantic.ValidationError):
        return "is nested too deeply"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "it"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key if key.isprintable() else 'a key'}: {message[0].lower()}{message[1:]}"


def _finite(literal: str) -> float:
    if not math.isfinite(number := float(literal)):
        raise ValueError("a number is too large")
    return number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
