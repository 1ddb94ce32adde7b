"""Reading CSV and TSV: every value as bytes first, so that no row takes others with it."""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from transforms.blocks import (
    Block,
    Blocks,
    Damage,
    NotWhatItClaimsError,
    Piece,
    Positions,
    no_rows,
    positions,
)

BLOCK_BYTES = 16 * 1024 * 1024
"""A row longer than this cannot be read: Arrow wants a row to span at most two blocks."""
DELIMITERS = {"csv": ",", "tsv": "\t"}
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


class _QuoteCounter(io.RawIOBase):
    """Passes bytes on and counts the quotes: an odd number means that one was never closed."""

    def __init__(self, file: Any) -> None:
        self._file, self.quotes = file, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self.quotes += data.count(b'"')
        return data


def read_blocks(file: BinaryIO, piece: Piece, wanted: Sequence[str]) -> Blocks:
    """The rows of a CSV or TSV file with a header; a row with another number of fields becomes damage.

    `row` counts records after the header, from 0; quoted line breaks do not count, empty lines are no records.
    """
    source = _QuoteCounter(pa.CompressedInputStream(file, piece.compression) if piece.compression else file)
    bad: dict[int, Damage] = {}
    try:
        reader = _open(source, piece, wanted, bad)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise RuntimeError(f"{piece.file}: the CSV header cannot be read; see the plan of the run") from error
    following, held = 0, None
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            break
        except pa.ArrowInvalid as error:
            # How many rows are lost is not to be known, so no budget may pass it.
            raise RuntimeError(
                f"{piece.file}: the CSV cannot be read on after record {following}; "
                f"mend the file (a row of more than {BLOCK_BYTES:,} bytes or an unclosed quote)"
            ) from error
        if held is not None:
            yield held
        held, following = _block(batch, following, bad)
    if held is not None:
        yield _without_unclosed_row(held) if source.quotes % 2 else held
    rest = sorted(bad)
    if rest:
        lost = np.array(rest, np.int64)
        yield Block(lost, no_rows(pa.schema([])), lost[:0], [bad[row] for row in rest])


def _open(source: _QuoteCounter, piece: Piece, wanted: Sequence[str], bad: dict[int, Damage]) -> Any:
    def refuse(row: Any) -> str:
        few = row.actual_columns < row.expected_columns
        record = row.number - 2  # Arrow counts from 1 and counts the header.
        bad[record] = Damage(
            np.array([record], np.int64),
            "too_few_fields" if few else "too_many_fields",
            f"the record has {row.actual_columns} fields, the header {row.expected_columns}",
        )
        return "skip"

    return pa.csv.open_csv(
        source,
        pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        pa.csv.ParseOptions(delimiter=DELIMITERS[piece.format], newlines_in_values=True, invalid_row_handler=refuse),
        pa.csv.ConvertOptions(
            column_types={name: pa.binary() for name in wanted},
            include_columns=list(wanted),
            include_missing_columns=True,
            strings_can_be_null=False,
        ),
    )


def _block(batch: pa.RecordBatch, first: int, bad: dict[int, Damage]) -> tuple[Block, int]:
    """Gives the rows of `batch` their positions, leaving out those of the records Arrow skipped before them."""
    place: Positions = positions(first, batch.num_rows + len(bad))
    if bad:
        place = place[~np.isin(place, np.fromiter(bad, np.int64, len(bad)))]
    place = place[: batch.num_rows]
    following = int(place[-1]) + 1 if len(place) else first
    damage = [bad.pop(row) for row in sorted(row for row in bad if row < following)]
    covered = np.concatenate([place, *(d.positions for d in damage)])
    return Block(covered, batch, place, damage), following


def _without_unclosed_row(block: Block) -> Block:
    """A quote that is never closed swallows the rest of the file into the last record: that one is damaged."""
    last = block.rows.num_rows - 1
    row = block.rows.slice(last) if last >= 0 else block.rows
    if not any(pc.any(pc.match_substring(column, "\n")).as_py() for column in row.columns):
        return block
    damage = Damage(block.positions[last:], "unclosed_quote", "a quote is opened and never closed")
    return Block(block.covered, block.rows.slice(0, last), block.positions[:last], [*block.damage, damage])


def inspect(head: bytes, name: str, file_format: str) -> dict[str, pa.DataType]:
    """Column names and types from the first records of a file; raises NotWhatItClaimsError.

    A column is int64 or float64 if every value looks like one, and a string otherwise: an id such as 007 or a date
    stays as it is written.
    """
    try:
        text = head.decode("utf-8-sig", "surrogateescape")
        if "\0" in text:
            raise csv.Error("NUL")
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=DELIMITERS[file_format]))
    except csv.Error as error:
        raise NotWhatItClaimsError(f"{name}: is read as {file_format.upper()} but is not text") from error
    if not records:
        return {}
    header, rows = records[0], [row for row in records[1:] if len(row) == len(records[0])]
    if len(set(header)) != len(header):
        twice = sorted({column for column in header if header.count(column) > 1})
        raise NotWhatItClaimsError(f"{name}: the header names {twice} twice; every column needs its own name")
    return {column: _kind([row[i] for row in rows]) for i, column in enumerate(header)}


def _kind(values: list[str]) -> pa.DataType:
    filled = [value for value in values if value]
    if filled and all(_INTEGER.fullmatch(value) for value in filled):
        return pa.int64()
    if filled and all(_NUMBER.fullmatch(value) for value in filled):
        return pa.float64()
    return pa.string()
