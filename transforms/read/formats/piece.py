"""One way to read a piece, whatever its format."""

import itertools
import os

from transforms.batches.schemas import Columns
from transforms.errors import file_changed
from transforms.read.formats import delimited, jsonl, lines, parquet, table_stream
from transforms.read.formats.blocks import Blocks, planned
from transforms.read.formats.bounded import bounded, limits_of
from transforms.runs.plan import Piece
from transforms.stores.choose import store_for


def read_piece(piece: Piece, columns: Columns) -> Blocks:
    """The wanted columns of `piece`, in blocks that are bounded in bytes (see bounded.py).

    Raises FileChangedError if the file is not the version that was planned, and TableError as table_stream does.
    """
    # No variable here holds a block meanwhile: it may be much larger than its parts.
    return itertools.chain.from_iterable(map(bounded, _read(piece, columns), itertools.repeat(columns)))


def _read(piece: Piece, columns: Columns) -> Blocks:
    if piece.format == "bigquery":
        yield from table_stream.read_blocks(piece, columns.wanted)
        return
    with store_for(piece.file).open(piece.file, piece.version) as opened:
        # A copy that keeps the time of modification has the same version on a file system.
        if (size := opened.seek(0, os.SEEK_END)) != piece.size:
            raise file_changed(piece.file, f"of {piece.size:,} bytes", f"{size:,} bytes")
        opened.seek(0)
        # It may grow from here on.
        file = planned(opened, piece.size)
        if piece.format == "parquet":
            yield from parquet.read_blocks(file, piece, columns.wanted, limits_of(columns))
        elif piece.format == "jsonl":
            yield from jsonl.read_jsonl(file, piece, columns)
        elif piece.format == "text":
            yield from lines.read_plain(file, piece, columns)
        else:
            yield from delimited.read_blocks(file, piece, columns.wanted, columns.dialect)
