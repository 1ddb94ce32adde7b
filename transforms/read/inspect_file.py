"""Looking at one input file before the run: is it what it claims, which columns it has, where it can be cut."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import pyarrow as pa

from transforms.batches.dialect import Dialect
from transforms.batches.schemas import MAX_ROWS
from transforms.errors import NotWhatItClaimsError, PlanError
from transforms.read.formats import delimited, doubts, jsonl
from transforms.read.formats import lines as line_files
from transforms.read.formats import parquet as parquet_files
from transforms.read.formats.blocks import planned
from transforms.read.formats.transcoded import text_stream
from transforms.read.values.json import array as json_array
from transforms.read.values.json import kinds as json_kinds
from transforms.read.values.paths import Path, with_paths
from transforms.runs.plan import Folders, Piece
from transforms.stores.choose import store_for
from transforms.stores.store import FileInfo

SPLIT_BYTES = 64 * 1024 * 1024
PIECE_BYTES = 4 * 1024 * 1024
HEAD_ROWS = 1_000
HEAD_BYTES = 1024 * 1024
MAX_HEAD_BYTES = 16 * HEAD_BYTES
"""So many bytes are read at most, if there is a line end among them, to have the first HEAD_ROWS lines."""
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

    `weights` has for each piece its rows (estimated if the piece has none) and bytes. `paths` are those of the columns
    of `schema` inside structs. `columns` are the columns that the file itself has, beside those of its `folders`.
    """

    schema: pa.Schema | None
    pieces: list[Piece]
    weights: list[tuple[int, int]] = field(default_factory=list)
    paths: Mapping[str, Path] = field(default_factory=dict)
    columns: frozenset[str] = frozenset()
    folders: Folders = ()


def look(
    info: FileInfo,
    kind: str,
    compression: str | None,
    dialect: Dialect,
    *,
    guess: bool = False,
    asked: Sequence[str] = (),
) -> Facts:
    """Opens a file and reads its footer or first lines; raises PlanError, naming it, if it is not what it claims.

    `guess`: see delimited.inspect. `asked` are names of columns that may be inside structs.
    """
    store = store_for(info.path)
    whole = Piece(number=0, file=info.path, size=info.size, version=info.version, format=kind, compression=compression)
    try:
        with store.open(info.path, info.version) as opened:
            # It may have grown since it was listed.
            file = planned(opened, info.size)
            if kind == "parquet":
                return _look_parquet(file, whole, asked)
            return _look_text(file, whole, dialect, guess, asked)
    except NotWhatItClaimsError as error:
        raise PlanError(f"{error}; correct or remove the file") from error


def _look_parquet(file: BinaryIO, whole: Piece, asked: Sequence[str]) -> Facts:
    schema, groups = parquet_files.inspect(file, whole.file)
    pieces, weights, start, first, rows, size = [], [], 0, 0, 0, 0
    for number, group in enumerate(groups):
        rows, size = rows + group.rows, size + group.bytes
        if rows >= MAX_ROWS or size >= PIECE_BYTES or number == len(groups) - 1:
            pieces.append(replace(whole, start=start, end=number + 1, first_row=first, rows=rows))
            weights.append((rows, size))
            start, first, rows, size = number + 1, first + rows, 0, 0
    schema, paths = with_paths(schema.remove_metadata(), asked)
    return Facts(schema=schema, pieces=pieces, weights=weights, paths=paths)


def _look_text(file: BinaryIO, whole: Piece, dialect: Dialect, guess: bool, asked: Sequence[str]) -> Facts:
    head, length, complete = _head(file, whole, dialect.encoding)
    if not length:
        return Facts(schema=None, pieces=[])
    lines = _lines(head) if whole.format == "jsonl" else []
    if json_array.is_array(lines):
        whole = replace(whole, format="json_array")
        lines = json_array.first_elements(head, lines, whole.file, complete=complete)
    count = max(1, line_files.count_lines(head))
    # Rows for each byte of the file, which may be in another encoding than what was read of it.
    if not dialect.can_be_cut:
        length = len(head.decode("utf-8", "replace").encode(dialect.encoding, "replace")) or length
    density = count / length
    by_lines = whole.format in ("jsonl", "json_array", "text")
    can_be_cut = by_lines and not whole.compression and dialect.can_be_cut
    if can_be_cut and whole.format == "json_array":
        json_array.check_end(file, whole)
    if can_be_cut and whole.size > SPLIT_BYTES:
        pieces = list(cut_lines(file, whole))
        sizes = [piece.end - piece.start for piece in pieces]
        weights = [(int(size * density), size) for size in sizes]
    else:
        pieces = [whole]
        weights = [(count if complete else int(whole.size * density), whole.size)]
    paths: Mapping[str, Path] = {}
    if whole.format == "text":
        schema = pa.schema([("text", pa.binary())])
    elif by_lines:
        schema, paths = _json_schema(lines, whole, asked)
    else:
        schema = _delimited_schema(head, whole, dialect, guess)
    return Facts(schema=schema, pieces=pieces, weights=weights, paths=paths)


def _lines(head: bytes) -> list[bytes]:
    """The lines that are not blank."""
    split = line_files.split_lines(head, 0)
    return [line for line in map(split.line, range(len(split.starts))) if line.strip()]


def _delimited_schema(head: bytes, whole: Piece, dialect: Dialect, guess: bool) -> pa.Schema | None:
    marks, split = dialect.of(whole.format), line_files.split_lines(head, 0)
    first = head[: split.starts[HEAD_ROWS + 1]] if len(split.starts) > HEAD_ROWS + 1 else head
    if (doubt := doubts.doubt(first, whole.file, marks)) is not None:
        raise PlanError(doubt)
    kinds = delimited.inspect(first, whole.file, marks, guess)
    return pa.schema(list(kinds.items())) if kinds else None


def _json_schema(
    lines: Sequence[bytes], whole: Piece, asked: Sequence[str]
) -> tuple[pa.Schema | None, Mapping[str, Path]]:
    if not lines:
        return None, {}
    lines = lines[:HEAD_ROWS]
    rows = json_kinds.objects(lines)
    if whole.format == "json_array":
        json_array.check_lines(lines, len(rows), whole.file)
    elif not rows:
        raise NotWhatItClaimsError(
            f"{whole.file}: is read as JSONL but none of its first lines is a JSON object; jq -c . writes one on each"
        )
    else:
        json_array.check_parts(lines, whole.file)
    found = json_kinds.inside(rows, asked)
    kinds = json_kinds.infer(rows) | {name: kind for name, (_, kind) in found.items()}
    return pa.schema(list(kinds.items())), {name: path for name, (path, _) in found.items()}


def _head(file: BinaryIO, whole: Piece, encoding: str) -> tuple[bytes, int, bool]:
    """The first whole lines of a text file as UTF-8, how many bytes they have, and whether that is all of it.

    Of plain text, whose columns are known, the first bytes of a long line are enough, and of JSON the keys.
    """
    start = file.read(16)
    found = next((name for name, magic in _MAGIC.items() if magic.match(start)), None)
    if found != whole.compression and not (found == "UTF-16" and encoding.startswith("utf-16")):
        raise NotWhatItClaimsError(_other(whole, found))
    stream = text_stream(file, whole, encoding)
    kinds: dict[str, line_files.Held] = {"text": line_files.Whole(HEAD_BYTES), "jsonl": jsonl.LongLines()}
    first = kinds.get(whole.format) or line_files.Whole()
    chunks: list[bytes] = []
    length = lines = 0
    waiting, ended = b"", False
    while not ended or length < HEAD_BYTES or (lines <= HEAD_ROWS and length < MAX_HEAD_BYTES):
        read = stream.read(HEAD_BYTES)
        if not length and encoding == "utf-8" and read[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise NotWhatItClaimsError(_other(whole, "UTF-16"))
        if not length and whole.format == "jsonl":
            json_array.check_first_line(read, whole.file)
        if not read:
            return b"".join([*chunks, first.take().content, waiting]), length + len(waiting), True
        chunk, waiting = waiting + read, b""
        if chunk.endswith(b"\r"):
            # Half of a line end waits for the other half.
            chunk, waiting = chunk[:-1], b"\r"
        length += len(chunk)
        lines += line_files.count_lines(chunk)
        if not ended and (ended := lines > 0):
            end = line_files.first_line_end(chunk)
            first.add(chunk[:end])
            chunks, chunk = [first.take().content], chunk[end:]
        if ended:
            chunks.append(chunk)
        else:
            first.add(chunk)
            line_files.check_line(length, whole.file, 0)
    head = b"".join(chunks)
    end = line_files.last_line_end(head)
    return head[:end], length - (len(head) - end), False


def _other(whole: Piece, found: str | None) -> str:
    declared = whole.compression if whole.compression and found != "UTF-16" else whole.format.upper()
    hint = " (read it with --encoding utf-16)" if found == "UTF-16" else ""
    return f"{whole.file}: is read as {declared} but is {found or 'something else'}{hint}"


def cut_lines(file: BinaryIO, whole: Piece) -> Iterator[Piece]:
    """Cuts at the first line end after every SPLIT_BYTES, counting lines: rows keep their position in the file.

    Raises NotWhatItClaimsError for a line that is too long to be one.
    """
    file.seek(0)
    start = position = first = lines = line_start = 0
    held = b""
    while chunk := held + file.read(line_files.CHUNK_BYTES):
        # Half of a line end waits for the other half.
        held = b"\r" if chunk.endswith(b"\r") and len(chunk) > len(held) else b""
        chunk = chunk[: len(chunk) - len(held)]
        at = _first_line_end(chunk, max(0, SPLIT_BYTES - (position - start)))
        if position + len(chunk) - start > SPLIT_BYTES and at >= 0:
            lines += line_files.count_lines(chunk[: at + 1])
            end = position + at + 1
            yield replace(whole, start=start, end=end, first_row=first)
            start, first, lines = end, first + lines, line_files.count_lines(chunk[at + 1 :])
        else:
            lines += line_files.count_lines(chunk)
        position += len(chunk)
        if behind := line_files.last_line_end(chunk):
            line_start = position - len(chunk) + behind
        line_files.check_line(position - line_start, whole.file, first + lines)
    if position > start:
        yield replace(whole, start=start, end=position, first_row=first)


def _first_line_end(chunk: bytes, start: int) -> int:
    """The last byte of the first line end at `start` or behind it; -1 if there is none."""
    lf, cr = chunk.find(b"\n", start), chunk.find(b"\r", start)
    if cr < 0 or 0 <= lf < cr:
        return lf
    return cr + (chunk[cr + 1 : cr + 2] == b"\n")
