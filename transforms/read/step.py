"""ReadTexts: splits of files or of a BigQuery table -> Rows, dead letters and row counts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsMultiMap, TaggedOutput

from transforms.batches import coder as coder
from transforms.batches.dead_letters import reject_positions
from transforms.batches.schemas import MAX_BATCH_BYTES, MAX_ROWS, MAX_TEXT_BYTES, Columns, check, rows_schema
from transforms.batches.sizes import cut, text_bytes, total_bytes
from transforms.read.duplicates import FindDuplicates, mark, unpack_repeats
from transforms.read.earlier import Earlier
from transforms.read.formats.blocks import Damage, Positions
from transforms.read.formats.piece import read_piece
from transforms.read.table_session import open_splits
from transforms.read.unchanged import FetchUnchanged, StoredBatch, Unchanged
from transforms.read.values.conform import conform
from transforms.runs.error_budget import ErrorBudget, Spending, note_dead
from transforms.runs.heartbeats import start_heartbeat
from transforms.runs.plan import Piece, Split, planned_splits
from transforms.runs.resume import read_taken
from transforms.runs.row_counts import MARKED, Count, count_positions, total
from transforms.runs.staged import record_read
from transforms.runs.verdicts import is_judged

STAGE = "Read"


class Read(NamedTuple):
    """`rows`: PCollection[RecordBatch of Rows]; `dead`: PCollection[RecordBatch of REJECTED]; `counts`: of Count."""

    rows: beam.PCollection[pa.RecordBatch]
    dead: beam.PCollection[pa.RecordBatch]
    counts: beam.PCollection[Count]


class ReadTexts(beam.PTransform):
    """PBegin -> Read: every row of the planned input, once.

    `plan` is the path of the plan file. Duplicate ids are marked unless `trust_ids`. Splits that were read to their end
    are recorded in the folder `staged`; those in the file `taken` (transforms/runs/resume.py) are left out. Rows that
    `earlier` has unchanged get its scores in the column `earlier`. Worker processes have heartbeats in the folder
    `heartbeats`, if any; `progress` is the file in which local ones report how far they are. Reading ends early once
    the error `budget` cannot be kept any more (transforms/runs/error_budget.py).
    """

    def __init__(
        self,
        plan: str,
        columns: Columns,
        *,
        trust_ids: bool = False,
        staged: str | None = None,
        taken: str | None = None,
        earlier: Earlier | None = None,
        heartbeats: str | None = None,
        progress: str | None = None,
        budget: ErrorBudget | None = None,
    ) -> None:
        super().__init__()
        self._progress = progress
        self._plan, self._columns, self._staged, self._taken = plan, columns, staged, taken
        self._heartbeats, self._budget = heartbeats, budget
        self._find_repeats, self._earlier = not trust_ids and columns.id is not None, earlier

    def expand(self, pipeline):  # type: ignore[no-untyped-def]
        splits = (
            pipeline
            | "Plan" >> beam.Create([self._plan])
            | "ListSplits" >> beam.FlatMap(list_splits)
            | "Spread" >> beam.Reshuffle()
        )
        spending = Spending(self._plan, self._staged, self._budget)
        reader = _ReadSplit(self._plan, self._columns, self._staged, self._taken, self._heartbeats, spending)
        repeats = unchanged = None
        if self._find_repeats or self._earlier is not None:
            # The side inputs go into the reading step itself: into a later one they would make the runner keep all
            # texts in memory until the ids are through (measured: 862 MB instead of 230).
            found = splits | "FindDuplicates" >> FindDuplicates(
                self._plan, self._columns, self._earlier, self._heartbeats, self._progress
            )
            repeats = AsMultiMap(found.repeats) if self._find_repeats else None
            if self._earlier is not None and self._staged is not None:
                unchanged = AsMultiMap(found.matches | "FetchUnchanged" >> FetchUnchanged(self._earlier, self._staged))
        read = splits | "ReadSplit" >> beam.ParDo(reader, repeats, unchanged).with_outputs(
            "dead", "counts", main="rows"
        )
        return Read(read.rows, read.dead, read.counts)


def list_splits(plan: str) -> Iterator[Split]:
    """The splits of the plan file, or the streams of the read session that the first call makes.

    None if the run has its verdict, and only publishing is left: a runner may begin the whole job anew.
    """
    if not is_judged(plan):
        yield from open_splits(plan)


class _ReadSplit(beam.DoFn):
    def __init__(
        self,
        plan: str,
        columns: Columns,
        staged: str | None,
        taken: str | None,
        heartbeats: str | None,
        spending: Spending,
    ) -> None:
        self._plan, self._columns, self._staged, self._taken_file = plan, columns, staged, taken
        self._heartbeats, self._spending = heartbeats, spending

    def setup(self) -> None:
        start_heartbeat(self._heartbeats)
        self._files: dict[int, str] = {}
        self._taken = read_taken(self._taken_file).splits

    def process(
        self,
        split: Split,
        repeats: Mapping[int, Iterable[bytes]] | None,
        unchanged: Mapping[int, Iterable[StoredBatch]] | None,
    ) -> Iterator[
        pa.RecordBatch | TaggedOutput[Literal["dead"], pa.RecordBatch] | TaggedOutput[Literal["counts"], Count]
    ]:
        if split.number in self._taken or not self._spending.begin():
            return
        # A split without rows is counted too: one that never came through must not agree by being absent.
        counts = [Count(split.number, 0, 0)]
        small = Joiner()
        # Never `in`: Beam's multimap has no such test and would count upwards for ever.
        before = None if unchanged is None else Unchanged(unchanged[split.number], self._columns.earlier)
        over = False
        for piece in split.pieces:
            known = None if repeats is None else unpack_repeats(repeats[piece.number])
            for rows, dead, count in read_rows(piece, split.number, self._columns):
                counts.append(count)
                for batch in dead:
                    note_dead(batch.num_rows)
                    yield TaggedOutput("dead", batch)
                for batch in rows:
                    batch = batch if known is None else mark(batch, known, self._file_names())
                    # With embeddings of the earlier date a batch may be too large.
                    for part in [batch] if before is None else cut(before.attach(batch, piece.number)):
                        yield from small.add(part)
                if over := self._spending.is_over(split.number):
                    break
            if over:
                break
        yield from small.rest()
        (count,) = total(counts).values()
        yield TaggedOutput("counts", count)
        if self._staged is not None and not over:
            record_read(self._staged, count)

    def _file_names(self) -> dict[int, str]:
        # Only a split that has duplicates needs the names of other files.
        if not self._files:
            self._files = {piece.number: piece.file for split in planned_splits(self._plan) for piece in split.pieces}
        return self._files


class WriteMarked(beam.PTransform):
    """PCollection[Count] -> the file `path` with the number of quotation marks of unknown meaning; see Block."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, counts: beam.PCollection[Count]):  # type: ignore[no-untyped-def]
        marked = counts | "Marked" >> beam.Map(_marked) | "Sum" >> beam.CombineGlobally(sum)
        return marked | "WriteMarked" >> beam.io.WriteToText(self._path, shard_name_template="")


def _marked(count: Count) -> int:
    return count.marked


def read_marked(files: Iterable[Path]) -> dict[str, int]:
    """What WriteMarked wrote, all together, as a note; empty if there is nothing to note."""
    marked = sum(int(file.read_text()) for file in files)
    return {MARKED: marked} if marked else {}


class Joiner:
    """Puts small batches together until one is full: small row groups and files would each be a macro-batch."""

    def __init__(self) -> None:
        self._held: list[pa.RecordBatch] = []
        self._rows = self._text = self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Takes a batch; gives what was held if the batch does not fit to it."""
        text, size = text_bytes(batch), total_bytes(batch)
        too_many = self._rows + batch.num_rows > MAX_ROWS or self._text + text > MAX_TEXT_BYTES
        if too_many or self._bytes + size > MAX_BATCH_BYTES:
            yield from self.rest()
        self._held.append(batch)
        self._rows, self._text, self._bytes = self._rows + batch.num_rows, self._text + text, self._bytes + size

    def rest(self) -> Iterator[pa.RecordBatch]:
        """Gives what is held."""
        if self._held:
            yield self._held[0] if len(self._held) == 1 else pa.concat_batches(self._held)
        self._held, self._rows, self._text, self._bytes = [], 0, 0, 0


def read_rows(
    piece: Piece, split: int, columns: Columns
) -> Iterator[tuple[list[pa.RecordBatch], list[pa.RecordBatch], Count]]:
    """For each block of `piece`: its Rows in batches of the agreed size, its dead letters, and its Count."""
    schema = rows_schema(columns)
    for block in read_piece(piece, columns):
        rows, misfits = conform(block, columns, source=piece.file, split=split)
        dead = [batch for d in _together([*block.damage, *misfits]) for batch in _dead(d, piece.file, split)]
        batches = [check(batch, schema, STAGE) for batch in cut(rows)]
        yield batches, dead, count_positions(split, piece.file, block.covered)._replace(marked=block.marked)


def _together(damages: Sequence[Damage]) -> list[Damage]:
    """One Damage for all rows with the same code and reason: a file may have millions of them."""
    found: dict[tuple[str, str], list[Positions]] = {}
    for damage in damages:
        found.setdefault((damage.code, damage.reason), []).append(damage.positions)
    return [Damage(np.concatenate(rows), code, reason) for (code, reason), rows in found.items()]


def _dead(damage: Damage, source: str, split: int) -> list[pa.RecordBatch]:
    rows = np.ascontiguousarray(damage.positions)
    return reject_positions(STAGE, damage.code, damage.reason, source=source, split=split, rows=rows)
