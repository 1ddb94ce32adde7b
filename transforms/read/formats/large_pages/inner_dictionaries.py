"""How many rows of a Parquet file are read at once where a value inside of lists or structs stands for many.

A page of a few bytes can repeat one large value thousands of times. A column of its own comes as a dictionary then;
what lies inside of another one is written out, so fewer rows are read at once.
"""

from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.batches.schemas import MAX_BATCH_BYTES
from transforms.batches.sizes import row_bytes


def rows_at_once(
    file: BinaryIO, parquet: pq.ParquetFile, group: int, chunks: Sequence[pq.ColumnChunkMetaData], most: int
) -> int:
    """At most `most` rows of a row group, of which `chunks` have dictionaries inside of lists or structs."""
    rows = max(1, parquet.metadata.row_group(group).num_rows)
    for chunk in chunks:
        of_row = max(1, -(-chunk.num_values // rows))
        # No value is larger than all of its column.
        if most * of_row * chunk.total_uncompressed_size <= MAX_BATCH_BYTES:
            continue
        if largest := _largest_value(file, parquet, group, chunk.path_in_schema):
            most = max(1, min(most, MAX_BATCH_BYTES // (of_row * largest)))
    return most


def _largest_value(file: BinaryIO, parquet: pq.ParquetFile, group: int, path: str) -> int:
    """Bytes of the largest value in the dictionary of a column, 0 if Arrow gives no dictionary there."""
    try:
        reader = pq.ParquetFile(file, metadata=parquet.metadata, read_dictionary=[path], pre_buffer=False)
        first = next(reader.iter_batches(1, row_groups=[group], columns=[path]), None)
    except (pa.ArrowException, UnicodeDecodeError):
        return 0  # Keys of maps; and damage, which whoever reads the row group finds.
    except OSError as error:
        if error.errno is not None:
            raise
        return 0
    found = [] if first is None else [d for column in first.columns for d in _dictionaries(column)]
    return max((int(row_bytes(dictionary).max(initial=0)) for dictionary in found), default=0)


def _dictionaries(column: pa.Array) -> list[pa.Array]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return [column.dictionary]
    if pa.types.is_struct(kind):
        return [found for i in range(kind.num_fields) for found in _dictionaries(column.field(i))]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _dictionaries(column.values)
    return []
