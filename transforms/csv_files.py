"""Reading CSV and TSV: every value as bytes first, so that no row takes others with it."""

import csv
import io
import itertools
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from transforms.blocks import (
    Block,
    Blocks,
    ByteStream,
    Damage,
    NotWhatItClaimsError,
    Piece,
    Positions,
    no_rows,
    positions,
)
from transforms.written import prints_as_written

BLOCK_BYTES = 16 * 1024 * 1024
"""A row longer than this cannot be read: Arrow wants a row to span at most two blocks."""
DELIMITERS = {"csv": ",", "tsv": "\t"}
_END = "\x00 end of file"
# A text may be longer than the 128 KiB the csv module stops at.
csv.field_size_limit(sys.maxsize)


class _Source(io.RawIOBase):
    """Passes bytes on and counts the quotes: without an odd number none was left open."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream, self._held, self.quotes = stream, b"", 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self._held = self._held + self._stream.read(len(buffer) - len(self._held)), b""
        if len(data) > 1 and data.endswith(b"\r"):
            # Arrow drops a line feed that opens a block when the last one closed with a return, even inside quotes.
            data, self._held = data[:-1], b"\r"
        self.quotes += data.count(b'"')
        buffer[: len(data)] = data
        return len(data)


def read_blocks(file: BinaryIO, piece: Piece, wanted: Sequence[str]) -> Blocks:
    """The rows of a CSV or TSV file with a header; a row with another number of fields becomes damage.

    `row` counts records after the header, from 0; quoted line breaks do not count, empty lines are no records. A quote
    that is never closed makes one damaged row of every line from its record on.
    """
    source = _Source(ByteStream(file, piece.file, piece.compression))
    bad: dict[int, Damage] = {}
    following, held = 0, None
    try:
        reader = _open(source, piece, wanted, bad)
        while (batch := _next(reader)) is not None:
            if held is not None:
                yield held
            held, following = _block(batch, following, bad)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        # How many rows are lost is not to be known, so no budget may pass it.
        raise NotWhatItClaimsError(
            f"{piece.file}: the CSV cannot be read on after record {following}; "
            f"mend the file (a row of more than {BLOCK_BYTES:,} bytes, or an unclosed quote)"
        ) from error
    lines = _lines_after_open_quote(file, piece) if source.quotes % 2 else 0
    last = max(bad, default=following - 1)
    if lines and last >= 0:
        if held is not None and last not in bad:
            held = _without_last(held)
        bad[last] = Damage(positions(last, lines), "unclosed_quote", f"a quote in record {last} is never closed")
    if held is not None:
        yield held
    if bad:
        lost = [bad[row] for row in sorted(bad)]
        yield Block(np.concatenate([d.positions for d in lost]), no_rows(pa.schema([])), positions(0, 0), lost)


def _without_last(block: Block) -> Block:
    rows, place = block.rows, block.positions
    return Block(block.covered[block.covered != place[-1]], rows.slice(0, rows.num_rows - 1), place[:-1], block.damage)


def _next(reader: Any) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None


def _open(source: _Source, piece: Piece, wanted: Sequence[str], bad: dict[int, Damage]) -> Any:
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


def _lines_after_open_quote(file: BinaryIO, piece: Piece) -> int:
    """How many lines the last record has if its quote is never closed, else 0: then it has swallowed them."""
    stream = io.BufferedReader(_Source(ByteStream(file, piece.file, piece.compression)))
    lines = io.TextIOWrapper(stream, "utf-8-sig", "replace", newline="")
    reader = csv.reader(itertools.chain(lines, [_END]), delimiter=DELIMITERS[piece.format])
    record: list[str] = []
    before = count = 0
    for record in reader:  # noqa: B007  the last one is wanted
        before, count = count, reader.line_num
    return 0 if record == [_END] else count - 1 - before


def inspect(head: bytes, name: str, file_format: str, guess: bool = False) -> dict[str, pa.DataType]:
    """Column names and types from the first records of a file; raises NotWhatItClaimsError.

    Every column is a string, or with `guess` int64 or float64 if every value is one and prints as it is written: codes
    such as 007, 1e5 and 1.10 stay text.
    """
    try:
        text = head.decode("utf-8-sig", "surrogateescape")
        if "\0" in text:
            raise csv.Error("NUL")
        records = [r for r in csv.reader(io.StringIO(text, newline=""), delimiter=DELIMITERS[file_format]) if r]
    except csv.Error as error:
        raise NotWhatItClaimsError(f"{name}: is read as {file_format.upper()} but is not text") from error
    if not records:
        return {}
    header, rows = records[0], [row for row in records[1:] if len(row) == len(records[0])]
    if any("\udc80" <= c <= "\udcff" for c in "".join(header)):
        raise NotWhatItClaimsError(f"{name}: the header is not UTF-8")
    if len(set(header)) != len(header):
        twice = sorted({column for column in header if header.count(column) > 1})
        raise NotWhatItClaimsError(f"{name}: the header names {twice} twice; every column needs its own name")
    if not guess:
        return dict.fromkeys(header, pa.string())
    return {column: prints_as_written([row[i] for row in rows]) for i, column in enumerate(header)}
