"""Reading CSV and TSV: every value as bytes first, so that no row takes others with it."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from transforms.batches.dialect import Dialect, Marks
from transforms.errors import NotWhatItClaimsError
from transforms.read.formats.blocks import MAX_LINE_BYTES, Block, Blocks, Damage, from_table, no_rows, positions
from transforms.read.formats.delimited_records import (
    MAX_RECORD_BYTES,
    Fault,
    Framed,
    count_fields,
    frame,
    quotes_at_field_starts,
    sound_length,
    too_long,
)
from transforms.read.formats.transcoded import TextStream, text_stream
from transforms.read.values.written import prints_as_written
from transforms.runs.plan import Piece

CHUNK_BYTES = 8 * 1024 * 1024
_HEADER_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"
_SAID = Dialect()
# A text may be longer than the 128 KiB the csv module stops at.
csv.field_size_limit(sys.maxsize)


def read_blocks(file: BinaryIO, piece: Piece, wanted: Sequence[str], dialect: Dialect = _SAID) -> Blocks:
    """The rows of a CSV or TSV file with a header; a record that cannot be read or is ragged becomes damage.

    `row` counts records after the header, from 0; quoted line breaks do not count, empty lines are no records. Raises
    NotWhatItClaimsError for a header that cannot be read and a line longer than MAX_LINE_BYTES.
    """
    marks = dialect.of(piece.format)
    stream = text_stream(file, piece, dialect.encoding)
    records: _Records | None = None
    rest, first, final = b"", 0, False
    while not final:
        # What did not hold one whole record is read again twice as long, up to what a record may have.
        chunk = stream.read(max(CHUNK_BYTES, min(len(rest), MAX_RECORD_BYTES - len(rest))))
        rest, final = rest + chunk, not chunk
        if records is None:
            header, length = read_header(rest, marks, final, piece.file)
            if header is None:
                continue
            rest, records = rest[length:], _Records(header, wanted, marks)
        block, length = records.read(rest, first, final)
        if length == 0 and len(rest) > MAX_RECORD_BYTES + len(b"\r\n"):
            rest = _skip_line(stream, rest, piece.file, first)
            block = _block(1, first, no_rows(pa.schema([])), {0: too_long()})
        else:
            rest = rest[length:]
        if block is not None:
            first += len(block.covered)
            yield block


def _skip_line(stream: TextStream, rest: bytes, file: str, row: int) -> bytes:
    """What was read behind the first line end there is; `rest` begins with the record `row`."""
    size = len(rest)
    while not (ends := [at for at in (rest.find(b"\n"), rest.find(b"\r")) if at >= 0]):
        if size > MAX_LINE_BYTES:
            raise NotWhatItClaimsError(f"{file}: has a line of more than {MAX_LINE_BYTES:,} bytes, in row {row:,}")
        if not (rest := stream.read(CHUNK_BYTES)):
            return rest
        size += len(rest)
    return rest[min(ends) + 1 :]


class _Records:
    """Reads the records behind a header of the names `header`: the columns `wanted`, null where there is none."""

    def __init__(self, header: Sequence[str], wanted: Sequence[str], marks: Marks) -> None:
        self._marks, self._width = marks, len(header)
        # Each call of Arrow gets whole records as one block: nothing of it can straddle two.
        self._read = pa.csv.ReadOptions(use_threads=False, block_size=2**31 - 1, column_names=list(header))
        self._parse = pa.csv.ParseOptions(
            delimiter=marks.delimiter.decode(),
            quote_char=False if marks.quote is None else marks.quote.decode(),
            escape_char=False if marks.escape is None else marks.escape.decode(),
        )
        self._convert = pa.csv.ConvertOptions(
            column_types={name: pa.binary() for name in wanted},
            include_columns=list(wanted),
            include_missing_columns=True,
            strings_can_be_null=False,
        )

    def read(self, data: bytes, first: int, final: bool) -> tuple[Block | None, int]:
        """The whole records at the beginning of `data`, of which the first is record `first`, and their bytes."""
        length = sound_length(data, self._marks, final)
        if length is not None:
            rows = self._rows(pa.py_buffer(data).slice(0, length), data.startswith(_BOM)) if length else None
            if rows is not None or not length:
                marked = self._marked(data, length)
                return (None if rows is None else _block(rows.num_rows, first, rows, {}, marked)), length
        framed = frame(data, self._marks, final)
        count, faults = len(framed.starts), framed.faults
        rows = self._sound(data, framed, faults)
        if rows is None:
            faults = {**_ragged(count_fields(data, framed, self._marks), self._width), **faults}
            rows = self._sound(data, framed, faults)
        if (0 if rows is None else rows.num_rows) != count - len(faults):
            raise RuntimeError(f"{count - len(faults)} records were found from record {first} on, and not read")
        if not count:
            return None, framed.length
        rows = no_rows(pa.schema([])) if rows is None else rows
        return _block(count, first, rows, faults, self._marked(data, framed.length)), framed.length

    def _sound(self, data: bytes, framed: Framed, faults: Mapping[int, Fault]) -> pa.RecordBatch | None:
        """The rows of `data` without the records `faults`; None if there are none, or Arrow refuses them."""
        if len(faults) == len(framed.starts):
            return None
        starts, parts, begin = framed.starts.tolist() if faults else [], [], 0
        for at in sorted(faults):
            parts.append(data[begin : starts[at]])
            begin = starts[at + 1] if at + 1 < len(starts) else framed.length
        records = b"".join([*parts, data[begin : framed.length]])
        return self._rows(pa.py_buffer(records), records.startswith(_BOM))

    def _rows(self, records: pa.Buffer, looks_like_bom: bool) -> pa.RecordBatch | None:
        """The rows of `records`; None if Arrow refuses them, as it does where one is ragged."""
        if looks_like_bom:
            # Arrow takes it for the byte order mark of a file. An empty line is no record.
            records = pa.py_buffer(b"\n" + records.to_pybytes())
        try:
            return from_table(pa.csv.read_csv(pa.BufferReader(records), self._read, self._parse, self._convert))
        except (pa.ArrowInvalid, UnicodeDecodeError):
            # A message that quotes bytes which are not UTF-8 surfaces as UnicodeDecodeError.
            return None

    def _marked(self, data: bytes, length: int) -> int:
        """How many fields begin with a mark that may have been meant to quote them."""
        if not self._marks.doubtful or b'"' not in data:
            return 0
        return len(quotes_at_field_starts(data[:length], self._marks))


def _ragged(fields: np.ndarray[Any, Any], width: int) -> dict[int, Fault]:
    return {
        at: (
            "too_few_fields" if fields[at] < width else "too_many_fields",
            f"the record has {fields[at]} fields, the header {width}",
        )
        for at in np.flatnonzero(fields != width).tolist()
    }


def _block(count: int, first: int, rows: pa.RecordBatch, faults: Mapping[int, Fault], marked: int = 0) -> Block:
    """A block of `count` records from record `first` on, of which `rows` are those without fault."""
    covered = positions(first, count)
    by_fault: dict[Fault, list[int]] = {}
    for at in sorted(faults):
        by_fault.setdefault(faults[at], []).append(first + at)
    damage = [Damage(np.array(places, np.int64), *fault) for fault, places in by_fault.items()]
    return Block(covered, rows, np.delete(covered, sorted(faults)), damage, marked)


def read_header(data: bytes, marks: Marks, final: bool, name: str) -> tuple[list[str] | None, int]:
    """The names in the first record of a file that begins with `data`, None if it is not there (yet), and its bytes.

    Raises NotWhatItClaimsError, naming the file `name` and no name of a column: the line may be one of values.
    """
    if not final and _BOM.startswith(data):
        return None, 0
    skip = len(_BOM) if data.startswith(_BOM) else 0
    for end in (skip + _HEADER_BYTES, len(data)):
        part, whole = data[skip:end], final and end >= len(data)
        framed = frame(part, marks, whole)
        if len(framed.starts):
            break
    else:
        if len(data) > MAX_RECORD_BYTES:
            raise NotWhatItClaimsError(f"{name}: the header has more than {MAX_RECORD_BYTES:,} bytes")
        return None, 0
    if 0 in framed.faults:
        raise NotWhatItClaimsError(f"{name}: the header cannot be read: {framed.faults[0][1]}")
    raw = part[framed.starts[0] : framed.ends[0]]
    header = split_record(raw, marks)
    if b"\0" in raw:
        raise NotWhatItClaimsError(f"{name}: the header has NUL bytes; if this is UTF-16, say --encoding utf-16-le")
    if any("\udc80" <= c <= "\udcff" for c in "".join(header)):
        raise NotWhatItClaimsError(f"{name}: the header is not UTF-8; if it is in another encoding, say --encoding")
    twice = {column for column, times in Counter(header).items() if times > 1}
    if twice:
        places = ", ".join(str(i) for i, column in enumerate(header, 1) if column in twice)
        raise NotWhatItClaimsError(
            f"{name}: columns {places} have names that stand twice in the header; every column needs its own name"
        )
    return header, skip + int(framed.starts[1] if len(framed.starts) > 1 else framed.length)


def split_record(record: bytes, marks: Marks) -> list[str]:
    """The fields of one whole record; bytes that are not UTF-8 become surrogates."""
    lines = io.StringIO(record.decode("utf-8", "surrogateescape"), newline="")
    escape = None if marks.escape is None else marks.escape.decode()
    if marks.quote is None:
        reader = csv.reader(lines, delimiter=marks.delimiter.decode(), quoting=csv.QUOTE_NONE, escapechar=escape)
    else:
        quote = marks.quote.decode()
        reader = csv.reader(lines, delimiter=marks.delimiter.decode(), quotechar=quote, escapechar=escape)
    return next(reader)


def inspect(head: bytes, name: str, marks: Marks, guess: bool = False) -> dict[str, pa.DataType]:
    """Column names and types from the first records of a file; raises NotWhatItClaimsError.

    Every column is a string, or with `guess` int64 or float64 if every value is one and prints as it is written: codes
    such as 007, 1e5 and 1.10 stay text.
    """
    header, length = read_header(head, marks, True, name)
    if header is None:
        return {}
    if not guess:
        return dict.fromkeys(header, pa.string())
    body = head[length:]
    framed = frame(body, marks, True)
    records = [split_record(body[a:b], marks) for a, b in zip(framed.starts, framed.ends, strict=True)]
    rows = [row for i, row in enumerate(records) if len(row) == len(header) and i not in framed.faults]
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return {column: prints_as_written(list(values)) for column, values in zip(header, columns, strict=True)}
