"""BigQuery's fields for the columns of our Parquet files, and how a table differs from the one a job needs.

Fields and tables are what the REST API calls so, as plain values: they go into the plan and the manifest of a run.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from transforms.errors import PlanError, shown

Field = dict[str, Any]

_SHARED = {
    "text_hash": "FARM_FINGERPRINT of the text (of a pair: both texts, U+001F between them)",
    "logical_date": "Date the row belongs to",
    "run_id": "Run that wrote the row",
}
SCORES = {
    "id": "Identifier of the text, unique within a logical date",
    "label": "Most probable class",
    "probability": "Probability of the most probable class",
    "decision": "The most probable class, or abstain where its probability is below --min-probability",
    "labels": "Labels of the text, at or above their thresholds, most probable first",
    "labels.label": "Label",
    "labels.probability": "Probability of the label",
    "probabilities": "Classes with their probabilities, most probable first",
    "probabilities.label": "Class",
    "probabilities.probability": "Probability of the class",
    "value": "Result of the regression",
    "embedding": "The vector of the text from which the model makes its scores",
    "token_count": "Tokens of the text with special tokens and without padding",
    "truncated": "Whether the text was longer than the bundle takes and was cut",
    "windows": "Windows that the text was cut into",
    "deciding_window": "Window that decided, counted from 0; null where no single one did",
    "window_first_token": "First token of the text in that window, counted from 0",
    "bundle": "name@fingerprint of the bundle that scored the row",
    "scored_at": "Start of the run that scored the row",
    **_SHARED,
}
"""Descriptions of our columns in the table of scores; those of structs by their path."""
REJECTS = {
    "id": "Identifier of the text, where it has a readable one",
    "stage": "Step that rejected the row",
    "code": "Why, out of a fixed list",
    "reason": "Why, as a sentence; never the text",
    "source": "File the row came from",
    "row": "Position of the row in the file",
    "failed_at": "Start of the run",
    **_SHARED,
}
"""Descriptions of the columns in the table of dead letters."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
_TAKEN = re.compile(r"_TABLE_|_FILE_|_PARTITION|_ROW_TIMESTAMP|__ROOT__|_COLIDENTIFIER", re.IGNORECASE)
_SQL_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}

_SCALARS: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_uint64, ""),
    (pa.types.is_integer, "INTEGER"),
    (pa.types.is_float16, ""),
    (pa.types.is_floating, "FLOAT"),
    (lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind), "STRING"),
    (lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind), "BYTES"),
    (pa.types.is_fixed_size_binary, "BYTES"),
    (pa.types.is_date, "DATE"),
    (lambda kind: pa.types.is_time(kind) and kind.unit != "ns", "TIME"),
    (lambda kind: pa.types.is_timestamp(kind) and kind.unit != "ns" and kind.tz is None, "DATETIME"),
    (lambda kind: pa.types.is_timestamp(kind) and kind.unit != "ns" and kind.tz == "UTC", "TIMESTAMP"),
    (lambda kind: pa.types.is_decimal(kind) and _digits(kind) <= 29 and kind.scale <= 9, "NUMERIC"),
    (lambda kind: pa.types.is_decimal(kind) and _digits(kind) <= 38 and kind.scale <= 38, "BIGNUMERIC"),
)


def table_fields(schema: pa.Schema, descriptions: Mapping[str, str]) -> list[Field]:
    """The fields of a table that takes Parquet files of this schema, in its order.

    Raises PlanError naming every column whose name or type BigQuery does not take.
    """
    problems: list[str] = []
    fields = _fields(list(schema), "", descriptions, problems)
    if problems:
        raise PlanError(
            f"BigQuery cannot take every kept column: {'; '.join(problems)}. Leave a column out with --keep, give it "
            "another name with --rename, or another type with --schema"
        )
    return fields


def _fields(
    columns: Sequence[pa.Field], parent: str, descriptions: Mapping[str, str], problems: list[str]
) -> list[Field]:
    seen: dict[str, str] = {}
    for column in columns:
        path = parent + column.name
        if not _NAME.fullmatch(column.name) or _TAKEN.match(column.name):
            problems.append(f"{shown(path)} is no name for a column there (letters, digits and _ are)")
        elif column.name.lower() in seen:
            problems.append(f"{shown(path)} and {shown(seen[column.name.lower()])} are one name there")
        seen.setdefault(column.name.lower(), path)
    return [_field(column, parent + column.name, descriptions, problems) for column in columns]


def _field(column: pa.Field, path: str, descriptions: Mapping[str, str], problems: list[str]) -> Field:
    kind, mode = column.type, "NULLABLE" if column.nullable else "REQUIRED"
    if _is_list(kind):
        kind, mode = kind.value_type, "REPEATED"
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    field: Field = {"name": column.name, "type": _type(kind), "mode": mode}
    if not field["type"]:
        problems.append(f"{shown(path)} is {column.type}")
    if description := descriptions.get(path, "" if "." in path else "Kept from the input"):
        field["description"] = description
    if field["type"] == "RECORD":
        field["fields"] = _fields(list(kind), f"{path}.", descriptions, problems)
    return field


def _is_list(kind: pa.DataType) -> bool:
    return any(holds(kind) for holds in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _type(kind: pa.DataType) -> str:
    """BigQuery's type for an Arrow type as Parquet holds it, or nothing if a load job does not take it."""
    if pa.types.is_struct(kind):
        return "RECORD" if kind.num_fields else ""
    return next((name for holds, name in _SCALARS if holds(kind)), "")


def _digits(kind: pa.DataType) -> int:
    return int(kind.precision - kind.scale)


_ADDED = frozenset({"decision", "embedding", "windows", "deciding_window", "window_first_token"})
"""Columns of ours that not every job has: a table that exists gets them, NULLABLE, a list REPEATED."""


def to_add(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Field]:
    """The columns that the table `found` must get before a job of the table `wanted` writes it."""
    there = {field["name"].lower() for field in _schema(found)}
    ours = (field for field in _schema(wanted) if field["name"] in _ADDED)
    # A kept column may have the name of one of ours that the job does not write: it is described otherwise.
    return [f for f in ours if f.get("description") == SCORES[f["name"]] and f["name"] not in there]


def add_column(table: str, field: Field) -> str:
    """The statement that adds a column of values or lists of them; one that is there stays as it is."""
    described = json.dumps(field["description"], ensure_ascii=False)
    kind = _SQL_NAMES.get(field["type"], field["type"])
    kind = f"ARRAY<{kind}>" if _mode(field) == "REPEATED" else kind
    column = f"`{field['name']}` {kind} OPTIONS(description={described})"
    return f"ALTER TABLE `{table}` ADD COLUMN IF NOT EXISTS {column}"


def added(found: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """The table `found` with these columns at its end."""
    return {**found, "schema": {**found.get("schema", {}), "fields": [*_schema(found), *fields]}}


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """How the table `found` differs from `wanted`, a sentence each; empty if the job can write it.

    A nullable column of the table that the job does not have is no difference: it stays NULL.
    """
    if found.get("type", "TABLE") != "TABLE":
        return [f"it is a {found['type']}, wanted a table"]
    problems = list(_differing(_schema(found), _schema(wanted), ""))
    for what, describe in (("partitioning", _partitioning), ("clustering", _clustering)):
        if describe(found) != describe(wanted) and describe(wanted) != "none":
            problems.append(f"{what}: found {describe(found)}, wanted {describe(wanted)}")
    return problems


def _schema(table: Mapping[str, Any]) -> list[Field]:
    return list(table.get("schema", {}).get("fields", []))


def _differing(found: Sequence[Field], wanted: Sequence[Field], parent: str) -> list[str]:
    # BigQuery does not tell names apart by case.
    there, ours = ({field["name"].lower(): field for field in fields} for fields in (found, wanted))
    problems = []
    for name, field in ours.items():
        path, other = parent + field["name"], there.get(name)
        if other is None:
            problems.append(f"column {path!r}: missing, wanted {_described(field)}")
        elif _described(other) != _described(field):
            problems.append(
                f"column {path!r}: found {_described(other)}, wanted {_described(field)}{_way_back(path, other, field)}"
            )
        else:
            problems += _differing(other.get("fields", []), field.get("fields", []), f"{path}.")
    for name, field in there.items():
        # A struct is written whole, so it must have the same fields.
        if name not in ours and (parent or _mode(field) == "REQUIRED"):
            problems.append(f"column {parent + field['name']!r}: found {_described(field)}, and the job has none")
    if parent and not problems and list(there) != list(ours):
        problems.append(f"column {parent[:-1]!r}: found its fields as {list(there)}, wanted {list(ours)}")
    return problems


def _way_back(path: str, found: Field, wanted: Field) -> str:
    """Columns of a CSV are text now: the flag under which a kept one still is the number that the table has."""
    kind = {"INTEGER": "int64", "FLOAT": "float64"}.get(found["type"])
    text = wanted["type"] == "STRING" and _mode(wanted) == "NULLABLE"
    return f" (a column of a CSV is a number with --schema {path}:{kind})" if kind and text and "." not in path else ""


def _described(field: Field) -> str:
    kind = _SQL_NAMES.get(field["type"], field["type"])
    limits = ", ".join(str(field[key]) for key in ("maxLength", "precision", "scale") if key in field)
    return f"{kind}{f'({limits})' if limits else ''} {_mode(field)}"


def _mode(field: Field) -> str:
    return str(field.get("mode") or "NULLABLE")


def _partitioning(table: Mapping[str, Any]) -> str:
    if time := table.get("timePartitioning"):
        return f"{time.get('type', 'DAY')} of {time.get('field', 'the time of loading')}"
    return "ranges" if "rangePartitioning" in table else "none"


def _clustering(table: Mapping[str, Any]) -> str:
    return ", ".join(table.get("clustering", {}).get("fields", [])) or "none"
