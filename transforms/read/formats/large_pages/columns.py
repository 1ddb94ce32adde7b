"""Which columns of a row group have such pages, and their values beside the rows that Arrow reads."""

from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.batches.schemas import MAX_TEXT_BYTES
from transforms.batches.texts import is_text
from transforms.read.formats.bounded import Limits, why_too_large
from transforms.read.formats.large_pages.headers import Page, pages_of
from transforms.read.formats.large_pages.values import Column, values

LARGE_PAGE_BYTES = 64 * 1024 * 1024
"""Arrow holds a page four times: as bytes of Python, compressed, decompressed, and as values."""
_MOST_ROWS = 1 << 24
Mask = npt.NDArray[np.bool_]
Lost = list[tuple[str, Mask, str]]
"""Columns, the rows where a value of theirs is lost, and why."""


def with_large_pages(
    file: BinaryIO, parquet: pq.ParquetFile, group: int, leaves: Mapping[int, str]
) -> dict[str, Column]:
    """Those of the columns `leaves` that have a page above LARGE_PAGE_BYTES in a row group and can be read here.

    Only flat columns of strings can: of nested ones, a page cannot be cut without decoding them.
    """
    schema, rows = parquet.metadata.schema, parquet.metadata.row_group(group)
    found = {}
    for leaf, name in leaves.items():
        chunk = rows.column(leaf)
        if chunk.total_uncompressed_size <= LARGE_PAGE_BYTES or rows.num_rows > _MOST_ROWS:
            continue
        said = schema.column(leaf)
        flat = said.max_repetition_level == 0 and said.max_definition_level <= 1 and said.path == name
        if flat and "." not in name and is_text(parquet.schema_arrow.field(name).type):
            column = Column(_pages(file, chunk), chunk.compression, said.max_definition_level == 1)
            if column.pages and column.is_known(rows.num_rows, LARGE_PAGE_BYTES):
                found[name] = column
    return found


def _pages(file: BinaryIO, chunk: pq.ColumnChunkMetaData) -> list[Page]:
    """All pages of a column of a row group, if one is large; none if not, or if their headers cannot be read."""
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else None
    start = min(start or chunk.data_page_offset, chunk.data_page_offset)
    left, large, found = chunk.total_uncompressed_size, False, []
    end = start
    try:
        for page in pages_of(file, start, start + chunk.total_compressed_size):
            left -= page.at - end + page.uncompressed
            end = page.at + page.compressed
            large = large or page.uncompressed > LARGE_PAGE_BYTES
            if not large and left <= LARGE_PAGE_BYTES:
                return []
            found.append(page)
    except ValueError:
        return []  # Whoever reads the row group says that it is damaged.
    return found if large else []


def beside(
    found: Iterable[tuple[pa.RecordBatch, Lost]],
    file: BinaryIO,
    columns: Mapping[str, Column],
    schema: pa.Schema,
    limits: Limits,
) -> Iterator[tuple[pa.RecordBatch, Lost]]:
    """The rows of a row group with `columns`, which have the types of `schema`, beside those that Arrow reads.

    Of a text above its limit a byte more than that is left; another value above its limit is null, and lost. What is
    given at once has few bytes, as far as rows allow it.
    """
    streams = {name: values(file, column, limits.most.get(name)) for name, column in columns.items()}
    for batch, lost in found:
        done = 0
        while done < batch.num_rows:
            taken = _take(streams, batch.num_rows - done)
            end = done + len(next(iter(taken.values())))
            rows, here = batch.slice(done, end - done), [(name, mask[done:end], why) for name, mask, why in lost]
            done = end
            for name in columns:
                array, mask = _array(taken.pop(name), schema.field(name).type, limits, name)
                rows = rows.append_column(name, array)
                del array
                here += [(name, mask, why_too_large(name))] if mask.any() else []
            pair = [(rows, here)]
            # While these rows are worked on, nothing here holds them.
            del rows, here
            yield pair.pop()


def _take(streams: Mapping[str, Iterator[bytes | None]], most: int) -> dict[str, list[bytes | None]]:
    """The values of the next rows, at most `most` rows."""
    taken: dict[str, list[bytes | None]] = {name: [] for name in streams}
    size = rows = 0
    while rows < most and size < MAX_TEXT_BYTES:
        for name, stream in streams.items():
            value = next(stream)
            taken[name].append(value)
            size += len(value or b"")
        rows += 1
    return taken


def _array(found: list[bytes | None], kind: pa.DataType, limits: Limits, name: str) -> tuple[pa.Array, Mask]:
    most = limits.most.get(name)
    over = np.array([most is not None and len(value or b"") > most for value in found], bool)
    if name in limits.texts:
        return pa.array(found, pa.binary()), np.zeros(len(found), bool)
    values_ = [None if lost else value for value, lost in zip(found, over, strict=True)] if over.any() else found
    # Nobody has looked at the bytes, as nobody has where Arrow reads them.
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    array = pa.array(values_, pa.binary())
    return array if is_bytes else array.view(pa.string()), over
