"""The id pass: finds every row whose id an earlier row has, from the id column alone.

About 30 bytes a row are shuffled: two hashes of the id, the number of the piece, the row.
"""

from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.blocks import Block, as_binary
from transforms.conform import id_strings
from transforms.fingerprints import id_hash
from transforms.formats import read_piece
from transforms.plan import Split
from transforms.schemas import Columns

BUCKETS = 256
_ENTRY = np.dtype([("a", "<i8"), ("b", "<i8"), ("piece", "<i8"), ("row", "<i8")])
_REPEAT = np.dtype([("row", "<i8"), ("first_piece", "<i8"), ("first_row", "<i8")])

Entries = npt.NDArray[np.void]


class FindDuplicates(beam.PTransform):
    """PCollection[Split] -> PCollection[tuple[int, bytes]]: piece number and its packed repeats, for `repeats`."""

    def __init__(self, columns: Columns) -> None:
        super().__init__()
        self._columns = columns

    def expand(self, splits: beam.PCollection[Split]):  # type: ignore[no-untyped-def]
        return (
            splits
            | "HashIds" >> beam.ParDo(_HashIds(self._columns))
            | "ByHash" >> beam.GroupByKey()
            | "FindRepeats" >> beam.ParDo(_FindRepeats())
        )


class _HashIds(beam.DoFn):
    def __init__(self, columns: Columns) -> None:
        self._only_id = Columns(text=str(columns.id), id=columns.id, id_type=columns.id_type)

    def process(self, split: Split) -> Iterator[tuple[int, bytes]]:
        # Of a table, the streams that will be scored are read as a whole: a session over the id column alone would be
        # cut in other places, and no position would match.
        found = [
            entries(block, self._only_id.id, piece.number)
            for piece in split.pieces
            for block in read_piece(piece, self._only_id)
        ]
        packed = np.concatenate([np.empty(0, _ENTRY), *found])
        bucket = (packed["a"].astype(np.uint64) % BUCKETS).astype(np.uint8)
        packed = packed[np.argsort(bucket, kind="stable")]
        ends = np.cumsum(np.bincount(bucket, minlength=BUCKETS))
        for number, entries_ in enumerate(np.split(packed, ends[:-1])):
            if len(entries_):
                yield number, entries_.tobytes()


class _FindRepeats(beam.DoFn):
    def process(self, bucket: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        _, packed = bucket
        found = find_repeats(np.frombuffer(b"".join(packed), _ENTRY))
        for piece, rows in found.items():
            yield piece, rows.tobytes()


def entries(block: Block, id_column: str | None, piece: int) -> Entries:
    """One entry for each row of `block` that has an id."""
    if id_column not in block.rows.schema.names:
        return np.empty(0, _ENTRY)
    ids = id_strings(block.rows.column(id_column))
    present = ids.is_valid().to_numpy(zero_copy_only=False)
    known = ids.drop_null()
    packed = np.empty(len(known), _ENTRY)
    packed["a"], packed["b"] = id_hash(as_binary(known))
    packed["piece"], packed["row"] = piece, block.positions[present]
    return packed


def find_repeats(packed: Entries) -> dict[int, Entries]:
    """For each piece, its rows whose id stands earlier (smaller piece, then row), with the place of the first."""
    order = np.lexsort((packed["row"], packed["piece"], packed["b"], packed["a"]))
    packed = packed[order]
    again = np.zeros(len(packed), bool)
    again[1:] = (packed["a"][1:] == packed["a"][:-1]) & (packed["b"][1:] == packed["b"][:-1])
    first = packed[np.maximum.accumulate(np.where(again, 0, np.arange(len(packed))))] if len(packed) else packed
    repeat = np.empty(int(again.sum()), _REPEAT)
    repeat["row"] = packed["row"][again]
    repeat["first_piece"], repeat["first_row"] = first["piece"][again], first["row"][again]
    pieces = packed["piece"][again]
    return {int(piece): repeat[pieces == piece] for piece in np.unique(pieces)}


def unpack_repeats(packed: Iterable[bytes]) -> Entries:
    """The repeats of one piece, sorted by row."""
    found = np.frombuffer(b"".join(packed), _REPEAT)
    return found[np.argsort(found["row"])]


def mark(batch: pa.RecordBatch, repeats: Entries, files: dict[int, str]) -> pa.RecordBatch:
    """Sets `duplicate` and `duplicate_of` (`<file>#<row>` of the first) of Rows from the repeats of their piece."""
    if not len(repeats):
        return batch
    rows = batch.column("row").to_numpy()
    at = np.searchsorted(repeats["row"], rows)
    hit = (at < len(repeats)) & (repeats["row"][np.minimum(at, len(repeats) - 1)] == rows)
    if not hit.any():
        return batch
    first = repeats[at[hit]]
    names = [f"{files[int(r['first_piece'])]}#{r['first_row']}" for r in first]
    of = np.full(len(rows), None, object)
    of[hit] = names
    index = batch.schema.get_field_index
    batch = batch.set_column(index("duplicate"), batch.schema.field("duplicate"), pa.array(hit))
    return batch.set_column(index("duplicate_of"), batch.schema.field("duplicate_of"), pa.array(of, pa.string()))
