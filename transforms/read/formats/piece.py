"""One way to read a piece, whatever its format."""

import itertools
import os

from transforms.batches.schemas import Columns
from transforms.errors import file_changed
from transforms.read.formats import delimited, jsonl, lines, parquet, table_stream
from transforms.read.formats.blocks import Blocks, planned
from transforms.read.formats.bounded import bounded, limits_of
from transforms.read.values.folders import attach
from transforms.read.values.paths import picked
from transforms.runs.plan import Piece
from transforms.stores.choose import store_for


def read_piece(piece: Piece, columns: Columns) -> Blocks:
    """The wanted columns of `piece`, in blocks that are bounded in bytes (see bounded.py).

    Raises FileChangedError if the file is not the version that was planned, and TableError as table_stream does.
    """
    # No variable here holds a block meanwhile: it may be much larger than its parts.
    blocks: Blocks = _read(piece, columns)
    if piece.folders:
        blocks = map(attach, blocks, itertools.repeat(piece), itertools.repeat(columns))
    return itertools.chain.from_iterable(map(bounded, blocks, itertools.repeat(columns)))


def _read(piece: Piece, columns: Columns) -> Blocks:
    if piece.format == "bigquery":
        columns_read = [columns.paths.get(name, (name,))[0] for name in columns.wanted]
        yield from map(picked, table_stream.read_blocks(piece, columns_read), itertools.repeat(columns))
        return
    with store_for(piece.file).open(piece.file, piece.version) as opened:
        # A copy that keeps the time of modification has the same version on a file system.
        if (size := opened.seek(0, os.SEEK_END)) != piece.size:
            raise file_changed(piece.file, f"of {piece.size:,} bytes", f"{size:,} bytes")
        opened.seek(0)
        # It may grow from here on.
        file = planned(opened, piece.size)
        if piece.format == "parquet":
            # Also the parts of structs that are read whole: their strings may have to come as dictionaries.
            parts = [".".join(columns.paths[name]) for name in columns.wanted if name in columns.paths]
            blocks = parquet.read_blocks(file, piece, [*columns.selected, *parts], limits_of(columns))
            yield from map(picked, blocks, itertools.repeat(columns))
        elif piece.format in ("jsonl", "json_array"):
            yield from jsonl.read_jsonl(file, piece, columns)
        elif piece.format == "text":
            yield from lines.read_plain(file, piece, columns)
        else:
            yield from delimited.read_blocks(file, piece, columns.wanted, columns.dialect)
