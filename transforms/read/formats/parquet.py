"""Reading Parquet: footers when planning, row groups on the workers."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.batches.schemas import MAX_BATCH_BYTES, MAX_ROWS, MAX_TEXT_BYTES
from transforms.batches.sizes import row_bytes
from transforms.errors import NotWhatItClaimsError
from transforms.read.formats.blocks import Block, Blocks, Damage, Unfit, no_rows, positions
from transforms.read.formats.bounded import Limits
from transforms.read.formats.int96 import UNIT, Twin
from transforms.read.formats.large_pages.columns import Lost, beside, with_large_pages
from transforms.read.formats.large_pages.inner_dictionaries import rows_at_once
from transforms.read.values.paths import find, inside
from transforms.runs.plan import Piece

_POOL = pa.default_memory_pool()
MOST_ROWS = 1 << 31
READ_BYTES = 8 * 1024 * 1024
"""Bytes of a column that are read at once where a row group is large."""
LARGE_GROUP_BYTES = 64 * 1024 * 1024
"""Above so many bytes in the file a row group is not read ahead as a whole: it can be as large as the file."""
FEW_ROWS = 512
"""Where not even so many rows are read at once, rows are large."""


class RowGroup(NamedTuple):
    """Size of one row group, from the footer."""

    rows: int
    bytes: int


def inspect(file: BinaryIO, name: str) -> tuple[pa.Schema, list[RowGroup]]:
    """Schema and row groups of a Parquet file; raises NotWhatItClaimsError if it has no readable footer."""
    try:
        footer = pq.ParquetFile(file, coerce_int96_timestamp_unit=UNIT)
        groups = [footer.metadata.row_group(g) for g in range(footer.num_row_groups)]
        found = [RowGroup(group.num_rows, group.total_byte_size) for group in groups]
        if any(group.rows > MOST_ROWS for group in found):
            raise NotWhatItClaimsError(f"{name}: its footer claims a row group of more than {MOST_ROWS:,} rows")
        return footer.schema_arrow, found
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if not _is_damage(error):
            raise
        raise NotWhatItClaimsError(f"{name}: is read as Parquet but has no readable Parquet footer") from error


def read_blocks(file: BinaryIO, piece: Piece, wanted: Sequence[str], limits: Limits = Limits()) -> Blocks:  # noqa: B008
    """The rows of the row groups [start, end) of `piece`; a damaged row group becomes damage, row for row.

    `wanted` are columns, or parts of structs (`doc.text`): of these structs only the wanted parts are read.

    Columns of strings whose dictionary has large values come as dictionaries: a page of a few bytes can stand for
    gigabytes.
    """
    parquet = pq.ParquetFile(file, coerce_int96_timestamp_unit=UNIT)
    known = {name for leaf in range(len(parquet.schema)) for name in _names(parquet.schema, leaf)}
    present = [name for name in dict.fromkeys(wanted) if name in known]
    twin = Twin(file, parquet, present)
    leaves = _leaves(parquet.metadata.schema, present)
    first, opened = piece.first_row, None
    for group in range(piece.start, piece.end):
        large = with_large_pages(file, parquet, group, leaves)
        small = [name for name in present if name not in large]
        chunks = [parquet.metadata.row_group(group).column(leaf) for leaf, name in leaves.items() if name not in large]
        rows = parquet.metadata.row_group(group).num_rows
        at_once = max(1, min(MAX_ROWS, MAX_TEXT_BYTES * max(rows, 1) // max(sum(map(_decoded, chunks)), 1)))
        # One row at a time cannot repeat anything, and a dictionary would be one more copy of a large value. Inside a
        # column, Arrow's maps can have no dictionaries for keys.
        named = [chunk.path_in_schema for chunk in chunks if at_once > 1 and _may_repeat(chunk)]
        repeated = _of_large_values(file, parquet, group, [name for name in named if name in small], at_once)
        inner = [chunk for chunk in chunks if _may_repeat(chunk) and chunk.path_in_schema not in small]
        at_once = rows_at_once(file, parquet, group, inner, at_once)
        # Threads that read ahead would seek in the file while a large page is read.
        ahead = not large and sum(chunk.total_compressed_size for chunk in chunks) <= LARGE_GROUP_BYTES
        if (repeated, at_once < FEW_ROWS, ahead) != opened:
            opened = repeated, at_once < FEW_ROWS, ahead
            with _lean_pool(at_once):
                reader = pq.ParquetFile(
                    file,
                    metadata=parquet.metadata,
                    read_dictionary=repeated,
                    page_checksum_verification=True,
                    coerce_int96_timestamp_unit=UNIT,
                    pre_buffer=ahead,
                    buffer_size=0 if ahead else READ_BYTES,
                )
        batches = reader.iter_batches(at_once, row_groups=[group], columns=small)
        found = twin.beside(batches, at_once, group)
        if large:
            found = beside(found, file, large, parquet.schema_arrow, limits)
        del batches
        yield from _read_group(found, group, rows, first)
        first += rows


@contextmanager
def _lean_pool(at_once: int) -> Iterator[None]:
    """What is opened meanwhile takes its memory from the system, if rows are large.

    Pages of a few hundred megabytes grow in place there; Arrow's own pool holds them twice (measured: 450 MB instead of
    600 for rows of 300 KB), and is faster with small ones.
    """
    if at_once < FEW_ROWS:
        pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(_POOL)


def _leaves(schema: pq.ParquetSchema, columns: Sequence[str]) -> dict[int, str]:
    """The columns of the file that make up `columns`, which may be nested, each with the name of that."""
    wanted = {*columns}
    found = {leaf: wanted & _names(schema, leaf) for leaf in range(len(schema))}
    return {leaf: min(names, key=len) for leaf, names in found.items() if names}


def _names(schema: pq.ParquetSchema, leaf: int) -> set[str]:
    """A leaf and everything that it is a part of, levels joined by dots. A name may have dots too."""
    return {*itertools.accumulate(schema.column(leaf).path.split("."), "{}.{}".format)}


def _of_large_values(file: BinaryIO, parquet: pq.ParquetFile, group: int, names: list[str], at_once: int) -> list[str]:
    """Those of the columns of which `at_once` rows with the largest value of the dictionary would be too many bytes."""
    if not names:
        return []
    reader = pq.ParquetFile(
        file, metadata=parquet.metadata, read_dictionary=names, pre_buffer=False, buffer_size=READ_BYTES
    )
    try:
        first = next(reader.iter_batches(1, row_groups=[group], columns=names), None)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if not _is_damage(error):
            raise
        return []  # Whoever reads the row group says that it is damaged.
    if first is None:
        return []
    paths = {name: found[0] for name in names if (found := find(name, first.schema)) is not None}
    columns = {name: inside(first.column(path[0]), path[1:]) for name, path in paths.items()}
    read = {name: column for name, column in columns.items() if isinstance(column, pa.DictionaryArray)}
    largest = {name: row_bytes(column.dictionary).max(initial=0) for name, column in read.items()}
    return [name for name, size in largest.items() if size * at_once > MAX_BATCH_BYTES]


def _may_repeat(chunk: pq.ColumnChunkMetaData) -> bool:
    return bool(chunk.physical_type == "BYTE_ARRAY" and chunk.has_dictionary_page)


def _decoded(chunk: pq.ColumnChunkMetaData) -> int:
    """Bytes of a column of a row group in memory, strings of dictionaries left as they are."""
    width = 1 if chunk.physical_type == "BOOLEAN" else 8
    return int(max(chunk.total_uncompressed_size, chunk.num_values * width))


def _read_group(found: Iterator[tuple[pa.RecordBatch, Lost]], group: int, rows: int, first: int) -> Blocks:
    # iter_batches decodes page by page, so memory follows the batch and not the row group. Rows are seldom equally
    # large: what is read at once is a half of what a batch may have.
    done, reason = 0, "the row group ends before its last row"
    try:
        for pair in found:
            batch, wrapped = pair
            held = [batch.slice(0, rows - done)]
            place = positions(first + done, held[0].num_rows)
            done += len(place)
            unfit = [Unfit(name, place[mask[: len(place)]], "wrong_type", why) for name, mask, why in wrapped]
            # While the block is worked on, nothing here holds it: it may be as large as one value is.
            del pair, batch
            yield Block(place, held.pop(), place, [], unfit=unfit)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if not _is_damage(error):
            raise
        reason = "the row group cannot be decoded"
    if done < rows:
        for start in range(first + done, first + rows, MAX_ROWS):
            lost = positions(start, min(MAX_ROWS, first + rows - start))
            damage = [Damage(lost, "unreadable_row_group", f"row group {group}: {reason}")]
            yield Block(lost, no_rows(pa.schema([])), np.empty(0, np.int64), damage)


def _is_damage(error: Exception) -> bool:
    """Whether Arrow itself could not decode the bytes; a disk or network that fails is not the file's fault."""
    if isinstance(error, OSError):
        return type(error) is OSError and error.errno is None
    return not isinstance(error, MemoryError)
