"""Reading Parquet: footers when planning, row groups on the workers."""

from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.blocks import Block, Blocks, Damage, NotWhatItClaimsError, Piece, Unfit, no_rows, positions
from transforms.int96 import UNIT, Twin
from transforms.schemas import MAX_ROWS, MAX_TEXT_BYTES


class RowGroup(NamedTuple):
    """Size of one row group, from the footer."""

    rows: int
    bytes: int


def inspect(file: BinaryIO, name: str) -> tuple[pa.Schema, list[RowGroup]]:
    """Schema and row groups of a Parquet file; raises NotWhatItClaimsError if it has no readable footer."""
    try:
        footer = pq.ParquetFile(file, coerce_int96_timestamp_unit=UNIT)
        groups = [footer.metadata.row_group(g) for g in range(footer.num_row_groups)]
        return footer.schema_arrow, [RowGroup(group.num_rows, group.total_byte_size) for group in groups]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if not _is_damage(error):
            raise
        raise NotWhatItClaimsError(f"{name}: is read as Parquet but has no readable Parquet footer") from error


def read_blocks(file: BinaryIO, piece: Piece, wanted: Sequence[str]) -> Blocks:
    """The rows of the row groups [start, end) of `piece`; a damaged row group becomes damage, row for row."""
    parquet = pq.ParquetFile(file, page_checksum_verification=True, coerce_int96_timestamp_unit=UNIT)
    twin = Twin(file, parquet, wanted)
    present = [name for name in dict.fromkeys(wanted) if name in parquet.schema_arrow.names]
    first = piece.first_row
    for group in range(piece.start, piece.end):
        size = parquet.metadata.row_group(group)
        known = RowGroup(size.num_rows, size.total_byte_size)
        yield from _read_group(parquet, group, known, present, first, twin)
        first += size.num_rows


def _read_group(
    parquet: pq.ParquetFile, group: int, size: RowGroup, columns: list[str], first: int, twin: Twin
) -> Blocks:
    # iter_batches decodes page by page, so memory follows the batch and not the row group.
    at_once = max(1, min(MAX_ROWS, MAX_TEXT_BYTES * max(size.rows, 1) // max(size.bytes, 1)))
    done, reason = 0, "the row group ends before its last row"
    try:
        batches = parquet.iter_batches(at_once, row_groups=[group], columns=columns)
        for batch, wrapped in twin.beside(batches, at_once, group):
            batch = batch.slice(0, size.rows - done)
            place = positions(first + done, batch.num_rows)
            done += batch.num_rows
            unfit = [Unfit(name, place[mask[: len(place)]], "wrong_type", why) for name, mask, why in wrapped]
            yield Block(place, batch, place, [], unfit=unfit)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if not _is_damage(error):
            raise
        reason = "the row group cannot be decoded"
    if done < size.rows:
        lost = positions(first + done, size.rows - done)
        damage = [Damage(lost, "unreadable_row_group", f"row group {group}: {reason}")]
        yield Block(lost, no_rows(pa.schema([])), np.empty(0, np.int64), damage)


def _is_damage(error: Exception) -> bool:
    """Whether Arrow itself could not decode the bytes; a disk or network that fails is not the file's fault."""
    if isinstance(error, OSError):
        return type(error) is OSError and error.errno is None
    return not isinstance(error, MemoryError)
