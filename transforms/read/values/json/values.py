"""One JSON line that Arrow's parser refuses, value by value: what each key is in the type of its column.

Only the id and the texts decide whether the line is a row. A number keeps the digits it is written with.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from transforms.read.values.json.members import Members, NotInObjectError, NotJsonError, leave_out, value_at
from transforms.read.values.paths import Path
from transforms.read.values.written import EXACT, is_whole_number_lost, parse

_NAMES = {bool: "boolean", str: "string", list: "array"}
NOT_JSON = "not_json"
LONG_LINE = 1024 * 1024
"""Bytes of a line that only Arrow parses: in Python each value of it would take many times its bytes."""


class Keys(NamedTuple):
    """The keys to read: `told` is what Arrow's parser is told, `given` what comes out of a block.

    `declared` are the columns whose type the user gave; `label` is the one that a training learns. `paths` and
    `without`: as of Columns.
    """

    told: pa.Schema
    given: pa.Schema
    id: str | None
    texts: tuple[str, ...]
    declared: frozenset[str] = frozenset()
    label: str | None = None
    paths: Mapping[str, Path] = {}
    without: tuple[Path, ...] = ()

    def only(self, name: str | None = None) -> "Keys":
        """The keys of id and texts alone, and `name`."""
        wanted = {self.id, *self.texts, name}
        told, given = (pa.schema([f for f in schema if f.name in wanted]) for schema in (self.told, self.given))
        return self._replace(told=told, given=given)

    def decides(self, name: str) -> bool:
        """Whether a row is lost without its value of `name`."""
        return name == self.id or name in self.texts


class Row(NamedTuple):
    """The values of one line in the order of Keys.given; `unfit`: column -> code and reason why its value is null."""

    values: list[Any]
    unfit: dict[str, tuple[str, str]]


Parse = Callable[[bytes, int, Keys], pa.RecordBatch | None]


class _Number(NamedTuple):
    literal: str


class _Constant:
    """NaN and Infinity, which are not JSON."""


_DECODER = json.JSONDecoder(
    object_pairs_hook=Members,
    parse_float=_Number,
    parse_int=_Number,
    parse_constant=lambda _: _Constant(),
)


def read_line(line: bytes, keys: Keys, parse_objects: Parse) -> Row | tuple[str, str]:
    """The row of a line, or code and reason why there is none; `parse_objects` is Arrow's parser."""
    if len(line) > LONG_LINE:
        return _ask_arrow(line, keys, parse_objects)
    try:
        # Invalid bytes come back as they were; only the validation decides about them.
        members = _DECODER.decode(line.decode("utf-8", "surrogateescape").strip(" \t\r"))
    except (ValueError, RecursionError):
        return _ask_arrow(line, keys, parse_objects)
    if not isinstance(members, Members):
        return NOT_JSON, "the line is JSON but not an object"
    return _row(members, keys)


def _row(members: Members, keys: Keys) -> Row | tuple[str, str]:
    found = dict(members)
    times = Counter(name for name, _ in members)
    values: list[Any] = []
    unfit: dict[str, tuple[str, str]] = {}
    for field in keys.given:
        value, fault = None, None
        path = keys.paths.get(field.name)
        raw = found.get(field.name) if path is None else None
        try:
            if path is not None:
                raw = value_at(members, path)
            elif times[field.name] > 1:
                raise NotJsonError
            if field.name == keys.label and isinstance(raw, _Constant):
                # NaN and its like are no JSON, but Python writes them: as a label they are none at all.
                raw = None
            for text in keys.without:
                if text[0] == field.name:
                    raw = leave_out(raw, text[1:])
            value = _value(raw, field, keys)
        except UnicodeEncodeError:
            fault = "not_utf8", f"the value of {field.name!r} has half a surrogate pair, which UTF-8 cannot hold"
        except NotInObjectError as error:
            fault = "wrong_type", f"the value of {error.args[0]!r} is not a JSON object with {field.name!r} in it"
        except NotJsonError:
            fault = NOT_JSON, f"the value of {field.name!r} is not JSON: a key that stands twice, NaN or an infinity"
        except (TypeError, ValueError, OverflowError, RecursionError, pa.ArrowException):
            wanted = "text" if pa.types.is_binary(field.type) else field.type
            fault = "wrong_type", f"the value of {field.name!r} is a JSON {_name(raw)}, which does not fit {wanted}"
        if fault is not None:
            if keys.decides(field.name):
                return fault
            unfit[field.name] = fault
        values.append(value)
    return Row(values, unfit)


def _name(raw: Any) -> str:
    return "number" if isinstance(raw, _Number) else "object" if isinstance(raw, Members) else _NAMES[type(raw)]


def _value(raw: Any, field: pa.Field, keys: Keys) -> Any:
    if raw is None:
        return None
    value = _checked(raw)
    if not pa.types.is_binary(field.type):
        if field.name in keys.declared and isinstance(value, str | bool | _Number):
            return _declared(value, field.type)
        return _exact(value, field.type)
    if not isinstance(value, str):
        if not keys.decides(field.name) or field.name in keys.declared:
            value = text_of(value)
        elif field.name == keys.id and isinstance(value, _Number):
            value = _id(value.literal)
        else:
            raise TypeError(field.name)
    return value.encode("utf-8", "surrogateescape")


def _checked(raw: Any) -> Any:
    """The value, objects as dict; raises NotJsonError for what is not JSON in it."""
    if isinstance(raw, _Constant):
        raise NotJsonError
    if isinstance(raw, Members):
        members = dict(raw)
        if len(members) != len(raw):
            raise NotJsonError
        return {key: _checked(value) for key, value in members.items()}
    return [_checked(item) for item in raw] if type(raw) is list else raw


def text_of(value: Any) -> str:
    """A value as JSON text, numbers with the digits they were written with."""
    if isinstance(value, _Number):
        return value.literal
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)}: {text_of(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(text_of, value)) + "]"
    return _quoted(value)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _id(literal: str) -> str:
    if literal.removeprefix("-").isdigit():
        return str(int(literal))
    number = float(literal)
    if not abs(number) < EXACT or number != int(number):
        raise TypeError(literal)
    return str(int(number))


def _declared(value: str | bool | _Number, kind: pa.DataType) -> Any:
    """A string that holds a number is one where the user says so."""
    text = value if isinstance(value, str) else text_of(value)
    parsed, bad = parse(pa.array([text]), kind)
    if bad[0]:
        raise TypeError(str(kind))
    return parsed[0].as_py()


def _exact(value: Any, kind: pa.DataType) -> Any:
    """`value`; raises TypeError where pyarrow would make it fit: it makes 1 of 1.5, 1.0 of true and [] of ""."""
    if value is None:
        return None
    if pa.types.is_struct(kind) and isinstance(value, dict):
        if value.keys() - {field.name for field in kind}:
            raise TypeError(str(kind))  # A key that the column does not have would be lost without a word.
        return {field.name: _exact(value.get(field.name), field.type) for field in kind}
    if pa.types.is_list(kind) and isinstance(value, list):
        return [_exact(item, kind.value_type) for item in value]
    if isinstance(value, _Number) and pa.types.is_floating(kind):
        if is_whole_number_lost(value.literal):
            raise TypeError(str(kind))
        return float(value.literal)
    if isinstance(value, _Number) and pa.types.is_integer(kind):
        return _integer(value.literal, kind)
    if isinstance(value, bool) and pa.types.is_boolean(kind):
        return value
    if not (isinstance(value, str) and pa.types.is_string(kind)):
        raise TypeError(str(kind))
    value.encode()
    return value


def _integer(literal: str, kind: pa.DataType) -> int:
    whole = literal.removeprefix("-").isdigit()
    number = int(literal) if whole else float(literal)
    if number != int(number) or (not whole and abs(number) >= EXACT):
        raise TypeError(str(kind))
    return pa.scalar(int(number), kind).as_py()  # type: ignore[no-any-return]


def _ask_arrow(line: bytes, keys: Keys, parse_objects: Parse) -> Row | tuple[str, str]:
    """The row of a line Python cannot parse: Arrow passes over what nobody asked for, a hundred thousand brackets."""
    bare = line.strip(b" \t\r")
    whole = bare.startswith(b"{") and bare.endswith(b"}")
    alone = parse_objects(bare, 1, keys.only()) if whole else None
    if alone is None:
        return NOT_JSON, "the line is not a JSON object"
    values: list[Any] = []
    unfit: dict[str, tuple[str, str]] = {}
    for field in keys.given:
        rows = alone if keys.decides(field.name) else parse_objects(bare, 1, keys.only(field.name))
        if rows is None:
            unfit[field.name] = ("wrong_type", f"the value of {field.name!r} does not fit {field.type}")
        values.append(None if rows is None else rows.column(field.name)[0].as_py())
    return Row(values, unfit)
