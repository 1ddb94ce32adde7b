"""Dead letters: the rows that cannot be scored, each with a code of a fixed list and a reason for a person."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.batches.schemas import MAX_ROWS, REJECTED, SOURCE

CODES = {
    "unreadable_row_group": "the row group of the Parquet file is damaged",
    "not_json": "the line is not a JSON object",
    "wrong_type": "a value does not fit the type of its column",
    "wrong_folder": "a value is another one than that of the key=value folder in which the file lies",
    "too_few_fields": "the CSV record has fewer fields than the header",
    "too_many_fields": "the CSV record has more fields than the header",
    "unclosed_quote": "a quoted field of the CSV has too many lines, or the file ends before it is closed",
    "missing_id": "the id is null, absent, empty or only white space",
    "duplicate_id": "an earlier row has the same id",
    "missing_text": "the text is null or absent",
    "blank_text": "the text is empty or only white space",
    "text_too_long": "the text has more bytes than --max-text-bytes, or its record is too long to be read",
    "not_utf8": "a value is not valid UTF-8",
    "missing_label": "the label is null, NaN or not a finite number (training only)",
    "not_tokenized": "the tokenizer failed on this text",
    "too_many_windows": "the text has more windows than --max-windows of the bundle",
    "not_scored": "the model failed on this text",
    "not_finite": "the model gave a value that is not a finite number",
}

OF_THE_MODEL = frozenset({"not_tokenized", "not_scored", "not_finite"})
"""Codes of rows that are sound as they were read: another machine may score them."""


def position_columns(source: str, split: int, rows: npt.NDArray[np.int64]) -> list[pa.Array]:
    """The three columns that say where rows come from: source, split, row."""
    indices = pa.array(np.zeros(len(rows), np.int32))
    return [
        pa.DictionaryArray.from_arrays(indices, pa.array([source])).cast(SOURCE),
        pa.array(np.full(len(rows), split, np.int32)),
        pa.array(rows, pa.int64()),
    ]


def reject_positions(
    stage: str, code: str, reason: str, *, source: str, split: int, rows: npt.NDArray[np.int64]
) -> list[pa.RecordBatch]:
    """Dead letters (REJECTED) for rows that were never read, of which only the positions are known."""
    batches = []
    for start in range(0, len(rows), MAX_ROWS):
        part = rows[start : start + MAX_ROWS]
        nothing = pa.nulls(len(part), pa.string())
        where = position_columns(source, split, part)
        batches.append(_batch(where, nothing, stage, [code] * len(part), [reason] * len(part), None))
    return batches


def reject(
    batch: pa.RecordBatch,
    which: npt.NDArray[np.intp],
    stage: str,
    codes: Sequence[str],
    reasons: Sequence[str],
    ids: pa.Array | None = None,
) -> pa.RecordBatch:
    """Dead letters (REJECTED) for the rows `which` of `batch`; code and reason per row. `ids` replaces its ids."""
    rows = batch.take(pa.array(which, pa.int64()))
    where = [rows.column(name) for name in ("source", "split", "row")]
    hashes = rows.column("text_hash") if "text_hash" in rows.schema.names else None
    id_ = rows.column("id") if ids is None else ids.take(pa.array(which, pa.int64()))
    return _batch(where, id_, stage, codes, reasons, hashes)


def _batch(
    where: list[pa.Array],
    ids: pa.Array,
    stage: str,
    codes: Sequence[str],
    reasons: Sequence[str],
    hashes: pa.Array | None,
) -> pa.RecordBatch:
    unknown = set(codes) - CODES.keys()
    if unknown:
        raise ValueError(f"dead letter codes {sorted(unknown)} are not in the fixed list")
    count = len(codes)
    columns = [
        *where,
        ids,
        pa.array([stage] * count, pa.string()),
        pa.array(codes, pa.string()),
        pa.array(reasons, pa.string()),
        pa.nulls(count, pa.int64()) if hashes is None else hashes,
    ]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTED)
