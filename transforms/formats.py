"""One way to read a piece, whatever its format."""

import pyarrow as pa

from transforms import csv_files, line_files, parquet_files
from transforms.blocks import Blocks, Piece
from transforms.schemas import Columns
from transforms.stores import store_for


def read_piece(piece: Piece, columns: Columns) -> Blocks:
    """The wanted columns of `piece`, block by block.

    Raises FileChangedError if the file is not the version that was planned.
    """
    with store_for(piece.file).open(piece.file, piece.version) as file:
        if piece.format == "parquet":
            yield from parquet_files.read_blocks(file, piece, columns.wanted)
        elif piece.format == "jsonl":
            yield from line_files.read_jsonl(file, piece, _json_schema(columns))
        elif piece.format == "text":
            yield from line_files.read_plain(file, piece, [columns.text])
        else:
            yield from csv_files.read_blocks(file, piece, columns.wanted)


def _json_schema(columns: Columns) -> pa.Schema:
    kept = dict(zip(columns.kept_from, columns.kept.types, strict=True))
    kinds = {name: kept.get(name, pa.string()) for name in columns.wanted}
    if columns.id is not None:
        kinds[columns.id] = columns.id_type
    return pa.schema(list(kinds.items()))
