"""The id pass: finds every row whose id an earlier row has, from the id column alone.

About 30 bytes a row are shuffled: two keyed hashes of the id, the number of the piece, the row. Where there is a
published date to compare with, the pass reads the texts too and shuffles their digests, and its rows meet those of that
date.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.pvalue import TaggedOutput

from transforms.batches import coder as coder
from transforms.batches.fingerprints import Keys, id_hash, secret_keys
from transforms.batches.schemas import MAX_ROWS, Columns
from transforms.batches.text_digests import text_digests
from transforms.batches.texts import as_binary
from transforms.outputs.digest_files import as_rows, read_digests
from transforms.read.earlier import Earlier, EarlierPart
from transforms.read.formats.blocks import Block, Blocks
from transforms.read.formats.piece import read_piece
from transforms.read.unchanged import MATCH, Matches
from transforms.read.values.conform import conform
from transforms.read.values.ids import id_strings
from transforms.runs.heartbeats import start_heartbeat
from transforms.runs.plan import Split
from transforms.runs.progress import IDS, advance
from transforms.runs.verdicts import is_judged
from transforms.stores.choose import store_for

BUCKETS = 256
_ENTRY = np.dtype([("a", "<i8"), ("b", "<i8"), ("piece", "<i8"), ("row", "<i8")])
_HASHED = np.dtype([*_ENTRY.descr, ("text_a", "<i8"), ("text_b", "<i8"), ("split", "<i8")])
_REPEAT = np.dtype([("row", "<i8"), ("first_piece", "<i8"), ("first_row", "<i8")])

Entries = npt.NDArray[np.void]


class Found(NamedTuple):
    """`repeats`: PCollection[tuple[int, bytes]], piece number and its packed repeats, for `unpack_repeats`.

    `matches`: PCollection[tuple[int, bytes]], part of the earlier date and packed MATCH.
    """

    repeats: beam.PCollection[tuple[int, bytes]]
    matches: beam.PCollection[tuple[int, bytes]]


class FindDuplicates(beam.PTransform):
    """PCollection[Split] -> Found; without an earlier date nothing matches.

    `plan` is the path of the plan file: once its run has a verdict, the earlier date is not read either.
    """

    def __init__(
        self,
        plan: str,
        columns: Columns,
        earlier: Earlier | None = None,
        heartbeats: str | None = None,
        progress: str | None = None,
    ) -> None:
        super().__init__()
        self._plan, self._columns, self._earlier = plan, columns, earlier
        self._heartbeats, self._progress = heartbeats, progress

    def expand(self, splits: beam.PCollection[Split]):  # type: ignore[no-untyped-def]
        keys = secret_keys()
        hash_ids = _HashIds(self._columns, self._earlier is not None, keys, self._heartbeats, self._progress)
        hashed = splits | "HashIds" >> beam.ParDo(hash_ids)
        if self._earlier is not None:
            before = (
                splits.pipeline
                | "EarlierPlan" >> beam.Create([self._plan])
                | "Parts" >> beam.FlatMap(_list_parts, self._earlier.parts)
                | "SpreadParts" >> beam.Reshuffle()
                | "HashPart" >> beam.FlatMap(_hash_part, keys)
            )
            hashed = (hashed, before) | beam.Flatten()
        find = beam.ParDo(_FindRepeats(_ENTRY if self._earlier is None else _HASHED))
        outputs = hashed | "ByHash" >> beam.GroupByKey() | "FindRepeats" >> find.with_outputs("matches", main="repeats")
        return Found(outputs.repeats, outputs.matches)


class _HashIds(beam.DoFn):
    def __init__(
        self, columns: Columns, with_texts: bool, keys: Keys, heartbeats: str | None, progress: str | None = None
    ) -> None:
        self._with_texts, self._keys, self._heartbeats, self._progress = with_texts, keys, heartbeats, progress
        self._wanted = Columns(
            text=columns.text if with_texts else str(columns.id),
            text_pair=columns.text_pair if with_texts else None,
            id=columns.id,
            id_type=columns.id_type,
            dialect=columns.dialect,
            types=columns.types,
            max_text_bytes=columns.max_text_bytes,
            paths=columns.paths,
        )

    def setup(self) -> None:
        start_heartbeat(self._heartbeats)

    def process(self, split: Split) -> Iterator[tuple[int, bytes]]:
        # Of a table, the streams that will be scored are read as a whole: a session over the id column alone would be
        # cut in other places, and no position would match.
        found = [
            hashed_entries(block, self._wanted, piece.number, split.number, piece.file, self._keys)
            if self._with_texts
            else entries(block, self._wanted, piece.number, self._keys)
            for piece in split.pieces
            for block in self._told(read_piece(piece, self._wanted))
        ]
        yield from _by_bucket(np.concatenate([np.empty(0, _HASHED if self._with_texts else _ENTRY), *found]))

    def _told(self, blocks: Blocks) -> Blocks:
        for block in blocks:
            yield block
            advance(self._progress, len(block.covered), IDS)


def _list_parts(plan: str, parts: Sequence[EarlierPart]) -> Iterator[tuple[int, EarlierPart]]:
    # As list_splits does. Publishing may have deleted them: they are those of the date that the run replaces.
    if not is_judged(plan):
        yield from enumerate(parts)


def _hash_part(part: tuple[int, EarlierPart], keys: Keys) -> Iterator[tuple[int, bytes]]:
    number, (path, beside) = part
    digests = read_digests(beside)
    with store_for(path).open(path) as file:
        row = 0
        for batch in pq.ParquetFile(file).iter_batches(16 * MAX_ROWS, columns=["id"]):
            packed = np.zeros(batch.num_rows, _HASHED)
            packed["a"], packed["b"] = id_hash(as_binary(batch.column("id")), keys)
            packed["text_a"], packed["text_b"] = _halves(digests.slice(row, batch.num_rows))
            # Below all pieces of today.
            packed["piece"], packed["row"] = -1 - number, np.arange(row, row + batch.num_rows)
            row += batch.num_rows
            yield from _by_bucket(packed)


def _halves(digests: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    halves = as_rows(digests).view("<i8")
    return halves[:, 0], halves[:, 1]


def _by_bucket(packed: Entries) -> Iterator[tuple[int, bytes]]:
    bucket = (packed["a"].astype(np.uint64) % BUCKETS).astype(np.uint8)
    packed = packed[np.argsort(bucket, kind="stable")]
    ends = np.cumsum(np.bincount(bucket, minlength=BUCKETS))
    for number, entries_ in enumerate(np.split(packed, ends[:-1])):
        if len(entries_):
            yield number, entries_.tobytes()


class _FindRepeats(beam.DoFn):
    def __init__(self, kind: "np.dtype[np.void]") -> None:
        self._kind = kind

    def process(
        self, bucket: tuple[int, Iterable[bytes]]
    ) -> Iterator[tuple[int, bytes] | TaggedOutput[Literal["matches"], tuple[int, bytes]]]:
        packed = np.frombuffer(b"".join(bucket[1]), self._kind)
        for piece, rows in find_repeats(packed[packed["piece"] >= 0]).items():
            yield piece, rows.tobytes()
        if self._kind == _HASHED:
            for part, matches in find_matches(packed).items():
                yield TaggedOutput("matches", (part, matches.tobytes()))


def entries(block: Block, columns: Columns, piece: int, keys: Keys) -> Entries:
    """One entry for each row of `block` that has an id, the very string that will be scored."""
    if columns.id is None or columns.id not in block.rows.schema.names:
        return np.empty(0, _ENTRY)
    ids, _ = id_strings(block.rows.column(columns.id), columns.types.get(columns.id))
    present = ids.is_valid().to_numpy(zero_copy_only=False)
    known = ids.drop_null()
    packed = np.empty(len(known), _ENTRY)
    packed["a"], packed["b"] = id_hash(as_binary(known), keys)
    packed["piece"], packed["row"] = piece, block.positions[present]
    return packed


def hashed_entries(block: Block, columns: Columns, piece: int, split: int, source: str, keys: Keys) -> Entries:
    """One entry for each row of `block` that has an id, with the digest of its text."""
    rows, _ = conform(block, columns, source=source, split=split)
    rows = rows.filter(rows.column("id").is_valid())
    packed = np.empty(rows.num_rows, _HASHED)
    packed["a"], packed["b"] = id_hash(as_binary(rows.column("id")), keys)
    # A text that is missing counts as an empty one: neither is ever among those scored.
    packed["text_a"], packed["text_b"] = _halves(
        text_digests(
            *(pc.fill_null(rows.column(name), b"") for name in ("text", "text_pair") if name in rows.schema.names)
        )
    )
    packed["piece"], packed["row"], packed["split"] = piece, rows.column("row").to_numpy(), split
    return packed


def find_matches(packed: Entries) -> dict[int, Matches]:
    """For each part of the earlier date, its rows whose id and text stand in a row of today."""
    names = ("a", "b", "text_a", "text_b")
    packed = packed[np.lexsort([packed[name] for name in ("row", "piece", *reversed(names))])]
    other = np.ones(len(packed), bool)
    keys = [packed[name] for name in names]
    other[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    # Rows of the earlier date stand first in their group.
    first = packed[np.maximum.accumulate(np.where(other, np.arange(len(packed)), 0))]
    hit = (packed["piece"] >= 0) & (first["piece"] < 0)
    matches = np.empty(int(hit.sum()), MATCH)
    for name in ("split", "piece", "row"):
        matches[name] = packed[name][hit]
    matches["at"] = first["row"][hit]
    parts = -1 - first["piece"][hit]
    return {int(part): matches[parts == part] for part in np.unique(parts)}


def find_repeats(packed: Entries) -> dict[int, Entries]:
    """For each piece, its rows whose id stands earlier (smaller piece, then row), with the position of the first."""
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
