"""Looking at one input file before the run: is it what it claims, which columns it has, where it can be cut."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import pyarrow as pa

from transforms import csv_files, json_lines, line_files, parquet_files
from transforms.blocks import ByteStream, NotWhatItClaimsError, Piece, planned
from transforms.columns import PlanError
from transforms.schemas import MAX_ROWS
from transforms.stores import FileInfo, store_for

SPLIT_BYTES = 64 * 1024 * 1024
PIECE_BYTES = 4 * 1024 * 1024
HEAD_ROWS = 1_000
HEAD_BYTES = 1024 * 1024
_MAGIC = {
    "Parquet": re.compile(rb"PAR1\x15"),
    "gzip": re.compile(rb"\x1f\x8b"),
    "zip": re.compile(rb"PK\x03\x04"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "bz2": re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    "UTF-16": re.compile(rb"\xff\xfe|\xfe\xff"),
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What looking at one file gave: `schema` None if it is without rows and says nothing of its columns.

    `weights` has for each piece its rows (estimated if the piece has none) and bytes.
    """

    schema: pa.Schema | None
    pieces: list[Piece]
    weights: list[tuple[int, int]] = field(default_factory=list)


def look(info: FileInfo, kind: str, compression: str | None) -> Facts:
    """Opens a file and reads its footer or first lines; raises PlanError, naming it, if it is not what it claims."""
    store = store_for(info.path)
    whole = Piece(number=0, file=info.path, size=info.size, version=info.version, format=kind, compression=compression)
    try:
        with store.open(info.path, info.version) as opened:
            # It may have grown since it was listed.
            file = planned(opened, info.size)
            return _look_parquet(file, whole) if kind == "parquet" else _look_text(file, whole)
    except NotWhatItClaimsError as error:
        raise PlanError(f"{error}; mend or remove the file") from error


def _look_parquet(file: BinaryIO, whole: Piece) -> Facts:
    schema, groups = parquet_files.inspect(file, whole.file)
    pieces, weights, start, first, rows, size = [], [], 0, 0, 0, 0
    for number, group in enumerate(groups):
        rows, size = rows + group.rows, size + group.bytes
        if rows >= MAX_ROWS or size >= PIECE_BYTES or number == len(groups) - 1:
            pieces.append(replace(whole, start=start, end=number + 1, first_row=first, rows=rows))
            weights.append((rows, size))
            start, first, rows, size = number + 1, first + rows, 0, 0
    return Facts(schema=schema.remove_metadata(), pieces=pieces, weights=weights)


def _look_text(file: BinaryIO, whole: Piece) -> Facts:
    head, length, complete = _head(file, whole)
    if not length:
        return Facts(schema=None, pieces=[])
    count = max(1, head.count(b"\n"))
    density = count / length
    if whole.format in ("jsonl", "text") and not whole.compression and whole.size > SPLIT_BYTES:
        pieces = list(cut_lines(file, whole))
        sizes = [piece.end - piece.start for piece in pieces]
        weights = [(int(size * density), size) for size in sizes]
    else:
        pieces = [whole]
        weights = [(count if complete else int(whole.size * density), whole.size)]
    return Facts(schema=_text_schema(head, whole), pieces=pieces, weights=weights)


def _text_schema(head: bytes, whole: Piece) -> pa.Schema | None:
    kinds: dict[str, pa.DataType]
    if whole.format == "text":
        kinds = {"text": pa.binary()}
    elif whole.format == "jsonl":
        lines = [line for line in head.split(b"\n") if line.strip(b" \t\r\xef\xbb\xbf")][:HEAD_ROWS]
        kinds, objects = json_lines.infer(lines)
        if not lines:
            return None
        if not objects:
            raise NotWhatItClaimsError(f"{whole.file}: is read as JSONL but none of its first lines is a JSON object")
    else:
        kinds = csv_files.inspect(b"\n".join(head.split(b"\n")[: HEAD_ROWS + 1]), whole.file, whole.format)
        if not kinds:
            return None
    return pa.schema(list(kinds.items()))


def _head(file: BinaryIO, whole: Piece) -> tuple[bytes, int, bool]:
    """The first whole lines of a text file, how many bytes they have, and whether that is all of it.

    Of plain text, whose columns are known, the first bytes of a long line are enough.
    """
    start = file.read(16)
    found = next((name for name, magic in _MAGIC.items() if magic.match(start)), None)
    if found != whole.compression:
        declared = whole.compression or whole.format.upper()
        raise NotWhatItClaimsError(f"{whole.file}: is read as {declared} but is {found or 'something else'}")
    stream = ByteStream(file, whole.file, whole.compression)
    chunks: list[bytes] = []
    length, ended = 0, False
    while not ended or length < HEAD_BYTES:
        chunk = stream.read(HEAD_BYTES)
        if not chunk:
            return b"".join(chunks), length, True
        length += len(chunk)
        ended = ended or b"\n" in chunk
        if ended or not chunks or whole.format != "text":
            chunks.append(chunk)
        if not ended:
            line_files.check_line(length, whole.file)
    head = b"".join(chunks)
    end = head.rindex(b"\n") + 1
    return head[:end], length - (len(head) - end), False


def cut_lines(file: BinaryIO, whole: Piece) -> Iterator[Piece]:
    """Cuts at the first line end after every SPLIT_BYTES, counting lines: rows keep their place in the file.

    Raises NotWhatItClaimsError for a line that is too long to be one.
    """
    file.seek(0)
    start = position = first = lines = line_start = 0
    while chunk := file.read(line_files.CHUNK_BYTES):
        at = chunk.find(b"\n", max(0, SPLIT_BYTES - (position - start)))
        if position + len(chunk) - start > SPLIT_BYTES and at >= 0:
            lines += chunk.count(b"\n", 0, at + 1)
            end = position + at + 1
            yield replace(whole, start=start, end=end, first_row=first)
            start, first, lines = end, first + lines, chunk.count(b"\n", at + 1)
        else:
            lines += chunk.count(b"\n")
        position += len(chunk)
        if (last := chunk.rfind(b"\n")) >= 0:
            line_start = position - len(chunk) + last + 1
        line_files.check_line(position - line_start, whole.file)
    if position > start:
        yield replace(whole, start=start, end=position, first_row=first)
