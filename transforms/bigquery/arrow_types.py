"""BigQuery's types as Arrow, the way the Storage Read API sends them."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

_SCALARS = {
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "INTEGER": pa.int64(),
    "INT64": pa.int64(),
    "FLOAT": pa.float64(),
    "FLOAT64": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "BOOL": pa.bool_(),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    # Sent as text: WKT, and JSON.
    "GEOGRAPHY": pa.string(),
    "JSON": pa.string(),
}


def arrow_type(field: Any) -> pa.DataType | None:
    """The Arrow type of a `bigquery.SchemaField`; None if Parquet cannot hold it (INTERVAL), or it is not known."""
    kind = _element(field)
    return pa.list_(kind) if kind is not None and field.mode == "REPEATED" else kind


def known_parts(field: Any) -> pa.DataType | None:
    """The same, but of a record what Parquet can hold of it."""
    if field.field_type not in ("RECORD", "STRUCT") or field.mode == "REPEATED":
        return arrow_type(field)
    parts = {part.name: known_parts(part) for part in field.fields}
    return pa.struct([(name, kind) for name, kind in parts.items() if kind is not None])


def unfit(field: Any) -> str:
    """Name and type of what makes `field` unfit, for an error: `a.b is INTERVAL`."""
    inner = next((part for part in field.fields if arrow_type(part) is None), None)
    return f"{field.name} is {field.field_type}" if inner is None else f"{field.name}.{unfit(inner)}"


def _element(field: Any) -> pa.DataType | None:
    if field.field_type in ("RECORD", "STRUCT"):
        return _struct((part.name, arrow_type(part)) for part in field.fields)
    if field.field_type == "RANGE":
        bound = _SCALARS.get(field.range_element_type.element_type)
        return _struct([("start", bound), ("end", bound)])
    return _SCALARS.get(field.field_type)


def _struct(parts: Iterable[tuple[str, pa.DataType | None]]) -> pa.DataType | None:
    parts = list(parts)
    return None if any(kind is None for _, kind in parts) else pa.struct(parts)
