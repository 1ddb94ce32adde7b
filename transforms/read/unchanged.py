"""Rows whose id and text a published date has already: their scores are fetched from its files, by position.

Only positions, hashes and digests are shuffled, never scores. Scores are read from each part of the earlier date and
written to a file with one batch for each split of today; Read attaches these batches to its rows.
"""

import itertools
import operator
import uuid
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.batches import coder as coder
from transforms.batches.schemas import EARLIER
from transforms.outputs.digest_files import read_digests
from transforms.read.earlier import Earlier
from transforms.runs.fail_points import step
from transforms.stores.choose import store_for
from transforms.stores.paths import join

MATCH = np.dtype([("split", "<i8"), ("piece", "<i8"), ("row", "<i8"), ("at", "<i8")])
"""Row `row` of piece `piece` today stands in row `at` of one part of the earlier date."""
Matches = npt.NDArray[np.void]
StoredBatch = tuple[str, int]
"""A file that `write_batches` wrote, and the number of a batch in it."""


class FetchUnchanged(beam.PTransform):
    """PCollection[tuple[int, bytes]] (part number, packed MATCH) -> PCollection[tuple[int, StoredBatch]], by split."""

    def __init__(self, earlier: Earlier, staged: str) -> None:
        super().__init__()
        self._earlier, self._staged = earlier, staged

    def expand(self, matches: beam.PCollection[tuple[int, bytes]]):  # type: ignore[no-untyped-def]
        return (
            matches | "ByPart" >> beam.GroupByKey() | "FetchScores" >> beam.ParDo(_Fetch(self._earlier, self._staged))
        )


class _Fetch(beam.DoFn):
    def __init__(self, earlier: Earlier, staged: str) -> None:
        self._earlier, self._staged = earlier, staged

    def process(self, part: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, StoredBatch]]:
        number, packed = part
        matches = np.frombuffer(b"".join(packed), MATCH)
        # One file a part, however many splits meet it: streams of a table are cut anew every night.
        path = join(self._staged, f"unchanged-{number:06d}-{uuid.uuid4().hex}.arrow")
        with step("fetch_unchanged"):
            splits = write_batches(path, self._earlier, fetch(self._earlier, number, matches))
        for index, split in enumerate(splits):
            yield split, (path, index)


def write_batches(path: str, earlier: Earlier, batches: Iterable[tuple[int, pa.RecordBatch]]) -> list[int]:
    """Writes the batches of `fetch` into one file; gives their splits, in the order of the file."""
    schema, options = _schema(earlier.type), pa.ipc.IpcWriteOptions(compression="zstd")
    splits = []
    with store_for(path).create(path) as file, pa.ipc.new_file(file, schema, options=options) as writer:
        for split, batch in batches:
            writer.write_batch(batch)
            splits.append(split)
    return splits


def _schema(kind: pa.StructType) -> pa.Schema:
    return pa.schema([("piece", pa.int64()), ("row", pa.int64()), (EARLIER, kind)])


def fetch(earlier: Earlier, part: int, matches: Matches) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The scores that `matches` name in one part, by split of today: columns piece, row and those of Earlier.

    One row group is in memory at a time. Raises FileNotFoundError if the date has been published again meanwhile.
    """
    path, beside = earlier.parts[part]
    matches = matches[np.argsort(matches["at"])]
    with store_for(path).open(path) as file:
        parquet, digests = pq.ParquetFile(file), read_digests(beside)
        first = 0
        for group in range(parquet.num_row_groups):
            end = first + parquet.metadata.row_group(group).num_rows
            here = matches[np.searchsorted(matches["at"], first) : np.searchsorted(matches["at"], end)]
            if len(here):
                table = parquet.read_row_group(group, columns=earlier.columns).select(earlier.columns)
                for split in np.unique(here["split"]):
                    some = here[here["split"] == split]
                    rows = table.take(pa.array(some["at"] - first)).combine_chunks().to_batches()[0]
                    yield int(split), _placed(rows, digests.take(pa.array(some["at"])), some, earlier)
            first = end


def _placed(rows: pa.RecordBatch, digests: pa.Array, matches: Matches, earlier: Earlier) -> pa.RecordBatch:
    fields = list(earlier.type)
    columns = [column.cast(field.type) for column, field in zip([*rows.columns, digests], fields, strict=True)]
    scores = pa.StructArray.from_arrays(columns, fields=fields)
    places = [pa.array(np.ascontiguousarray(matches[name])) for name in ("piece", "row")]
    return pa.RecordBatch.from_arrays([*places, scores], schema=_schema(earlier.type))


class Unchanged:
    """What one split of today has in common with the earlier date."""

    def __init__(self, places: Iterable[StoredBatch], kind: pa.StructType) -> None:
        table = pa.Table.from_batches(list(_read(places)), _schema(kind)).combine_chunks()
        # The scores stay where they are: with embeddings a split has hundreds of megabytes of them.
        pieces, rows = (table.column(name).to_numpy() for name in ("piece", "row"))
        self._order = np.lexsort((rows, pieces))
        self._pieces, self._rows = pieces[self._order], rows[self._order]
        self._scores = table.column(EARLIER)

    def attach(self, batch: pa.RecordBatch, piece: int) -> pa.RecordBatch:
        """Fills the column `earlier` of Rows of one piece."""
        start, end = np.searchsorted(self._pieces, [piece, piece + 1])
        rows = batch.column("row").to_numpy()
        at = np.searchsorted(self._rows[start:end], rows) + start
        hit = (at < end) & (self._rows[np.minimum(at, len(self._rows) - 1)] == rows) if end > start else at < 0
        if not hit.any():
            return batch
        which = self._order[np.minimum(at, len(self._order) - 1)]
        scores = self._scores.take(pa.array(which, mask=~hit)).combine_chunks()
        index = batch.schema.get_field_index(EARLIER)
        return batch.set_column(index, batch.schema.field(index), scores)


def _read(places: Iterable[StoredBatch]) -> Iterator[pa.RecordBatch]:
    for path, of_file in itertools.groupby(sorted(places), operator.itemgetter(0)):
        with store_for(path).open(path) as file:
            reader = pa.ipc.open_file(file)
            yield from (reader.get_batch(index) for _, index in of_file)
