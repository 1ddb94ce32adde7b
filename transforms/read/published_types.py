"""What kept columns were in the newest published date, so that a number does not become text without a word."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.batches.schemas import Columns
from transforms.errors import PlanError
from transforms.runs.history import read_manifests
from transforms.stores.choose import store_for
from transforms.stores.paths import join


def newest_schema(output: str) -> tuple[str, pa.Schema] | None:
    """Date and Parquet schema of the newest date below `output` that has rows; None if there is none to be read."""
    for date, manifest in reversed(list(read_manifests(output).published.items())):
        if not manifest["files"]:
            continue
        try:
            path = join(output, manifest["files"][0]["path"])
            with store_for(path).open(path) as file:
                return date, pq.read_schema(file)
        except (ValueError, OSError):
            continue  # A date that cannot be read is no reason to stop another one.
    return None


def check_numbers_stay(columns: Columns, output: str, names: Mapping[str, pa.DataType], only: Sequence[str]) -> None:
    """Raises PlanError if a column of `only` is text now and another type of `names` in the newest published date.

    `names`: what --schema knows. Columns whose type the user gave are as he wants them.
    """
    kept = zip(columns.kept_from, columns.kept, strict=True)
    texts = {field.name: name for name, field in kept if name in only and pa.types.is_string(field.type)}
    texts = {name: source for name, source in texts.items() if source not in columns.types}
    newest = newest_schema(output) if texts else None
    if newest is None:
        return
    date, schema = newest
    # Columns of ours are not null unless declared so; those of the user always may be.
    before = {field.name: _known(field.type, names) for field in schema if field.nullable}
    changed = {texts[name]: kind for name, kind in before.items() if kind is not None and name in texts}
    if changed:
        raise PlanError(
            f"{output}/dt={date} has {_listed(changed)}, which would be text from now on: columns of CSV and TSV, and "
            f"those that are several things in several files, are text unless --schema types them. "
            f"To keep the types: {_flags(changed)}  To take text: "
            f"{_flags(dict.fromkeys(changed, 'string'))}"
        )


def _known(kind: pa.DataType, names: Mapping[str, pa.DataType]) -> str | None:
    if pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float64"
    return next((name for name, known in names.items() if known == kind and name != "string"), None)


def _listed(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"column {name!r} as {kind}" for name, kind in changed.items())


def _flags(changed: Mapping[str, str]) -> str:
    return " ".join(f"--schema {shlex.quote(f'{name}:{kind}')}" for name, kind in changed.items())
