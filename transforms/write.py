"""WriteScores and WriteDeadLetters: rows -> staged Parquet files, and descriptions of the files that were closed.

A file counts only if its description reaches Publish, so a Beam bundle that is retried leaves an unused file and no row
twice.
"""

import base64
import io
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from transforms.batches import coder as coder
from transforms.batches.misfits import count as count_misfits
from transforms.batches.repeated import PRECISION_FIELD, value_of
from transforms.batches.schemas import DEAD_LETTERS, KEPT, MISFITS, REJECTED, UTC_MICROS, check, plain
from transforms.batches.score_columns import EMBEDDING
from transforms.batches.text_digests import DIGEST
from transforms.outputs.digest_files import DigestWriter, staged_beside
from transforms.outputs.summary.record import compressed
from transforms.outputs.summary.tally import Summarizer
from transforms.runs.fail_points import step
from transforms.runs.labelling import STAGE as SCORING
from transforms.runs.labelling import Labelling
from transforms.runs.progress import advance
from transforms.runs.row_counts import Count, count_batch, total
from transforms.runs.run import Run
from transforms.runs.staged import StagedFile, record
from transforms.stores.checksummed import Checksummed
from transforms.stores.choose import store_for
from transforms.stores.paths import join

FILE_ROWS = 1_000_000
ROW_GROUP_ROWS = 131_072
ROW_GROUP_BYTES = 64 * 1024 * 1024
DISTINCT = frozenset(
    {"id", "probability", "probabilities.list.element.probability", "value", "text_hash", "row"},
)
_VECTORS = f"{EMBEDDING}.list.element"


class WriteScores(beam.PTransform):
    """PCollection[RecordBatch of Scores with positions] -> PCollection[StagedFile]; `kind` begins their names."""

    def __init__(self, run: Run, labelling: Labelling, kind: str = "scores") -> None:
        super().__init__()
        self._run, self._labelling, self._kind = run, labelling, kind

    def expand(self, scores: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        made = self._labelling
        return scores | "StageScores" >> beam.ParDo(
            _Stage(self._run, made.schema, made.file_schema, self._kind, labels=made.labels)
        )


class WriteDeadLetters(beam.PTransform):
    """Several PCollection[RecordBatch of REJECTED] -> PCollection[StagedFile].

    Each is staged by itself and only the descriptions flow together: a Flatten of the rows would make the runner hold
    them back until all is scored, and a run that dies before that could not be resumed.

    `progress` is the file in which local workers tell how far they are, if anywhere.
    """

    def __init__(self, run: Run, progress: str | None = None) -> None:
        super().__init__()
        self._run, self._progress = run, progress

    def expand(self, dead):  # type: ignore[no-untyped-def]
        staged = [
            rejected | f"StageDeadLetters{number}" >> beam.ParDo(_StageDeadLetters(self._run, self._progress))
            for number, rejected in enumerate(dead)
        ]
        return staged | beam.Flatten()


def repetitive(schema: pa.Schema) -> list[str]:
    """The Parquet columns for which a dictionary is tried: all but ours that have another value in every row.

    Trying costs more than all the rest of writing (measured: 117 ms of 140 for 65,536 rows), and the file is larger.
    """
    # Only Parquet itself knows how it names the leaves of nested columns.
    file = io.BytesIO()
    pq.write_table(schema.empty_table(), file)
    leaves = pq.ParquetFile(file).metadata.schema
    paths = [leaves.column(i).path for i in range(len(leaves))]
    distinct = DISTINCT | {_VECTORS} if _has_vectors(schema) else DISTINCT
    return [path for path in paths if path not in distinct]


def _has_vectors(schema: pa.Schema) -> bool:
    """Whether there is a column of embeddings; one of another type is the user's."""
    return EMBEDDING in schema.names and pa.types.is_fixed_size_list(schema.field(EMBEDDING).type)


class StagingFile:
    """A Parquet file being written: zstd, row groups of about 128k rows or 64 MB. `close` says what was written.

    `schema` is that of the file. The batches also have the columns source, split and row, and the digests of the texts
    where these are kept; the digests go into a file beside this one. With `labels`, those of the bundle, the batches
    have measures too, and a summary is made.
    """

    def __init__(self, path: str, schema: pa.Schema, labels: Sequence[str] | None = None) -> None:
        self._path, self._schema = path, schema
        self._summary = None if labels is None else Summarizer(labels)
        self._sink = Checksummed(store_for(path).create(path))
        self._footers: list[pq.FileMetaData] = []
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression="zstd",
            use_dictionary=repetitive(schema),
            metadata_collector=self._footers,
            store_schema=False,
        )
        # The stored schema names no dictionary: Arrow cannot read a nested one from a file of several row groups.
        told = pa.schema([field.with_type(plain(field.type)) for field in schema])
        self._writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(told.serialize())})
        self._held: list[pa.RecordBatch] = []
        self._held_rows = self._held_bytes = 0
        self._counts: list[Count] = []
        self._codes: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._precisions: set[str] = set()
        self._digests: DigestWriter | None = None
        self._misfits: Counter[str] = Counter()
        self.rows = 0

    def add(self, positioned: pa.RecordBatch) -> None:
        """Takes rows with their positions, and counts them from the same batch whose columns go into the file."""
        self._counts.extend(count_batch(positioned))
        if self._schema.equals(DEAD_LETTERS):
            self._note_codes(positioned)
        else:
            self._precisions.add(value_of(positioned, PRECISION_FIELD))
            self._misfits.update(count_misfits(positioned.column(MISFITS)))
        if self._summary is not None:
            self._summary.add(positioned)
        if DIGEST in positioned.schema.names:
            self._digests = self._digests or DigestWriter(staged_beside(self._path))
            self._digests.add(positioned.column(DIGEST))
        batch = _columns_of(positioned, self._schema)
        self.rows += batch.num_rows
        if self._held and (
            self._held_rows + batch.num_rows > ROW_GROUP_ROWS or self._held_bytes + batch.nbytes > ROW_GROUP_BYTES
        ):
            self._write_row_group()
        self._held.append(batch)
        self._held_rows += batch.num_rows
        self._held_bytes += batch.nbytes

    def _note_codes(self, positioned: pa.RecordBatch) -> None:
        codes = positioned.column("code").to_pylist()
        self._codes.update(codes)
        for row, code in enumerate(codes):
            if code not in self._examples:
                self._examples[code] = f"{positioned.column('source')[row]}#{positioned.column('row')[row]}"

    def _write_row_group(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._held), row_group_size=ROW_GROUP_ROWS)
        self._held, self._held_rows, self._held_bytes = [], 0, 0

    def close(self) -> StagedFile:
        if self._held:
            self._write_row_group()
        self._writer.close()
        self._sink.close()
        return StagedFile(
            path=self._path,
            rows=self._footers[0].num_rows,
            bytes=self._sink.size,
            checksum=self._sink.checksum,
            counts=tuple(total(self._counts).values()),
            codes={code: (count, self._examples[code]) for code, count in self._codes.items()},
            precision="+".join(sorted(self._precisions - {""})),
            digests=None if self._digests is None else self._digests.close(),
            misfits=dict(sorted(self._misfits.items())),
            summary=None if self._summary is None else compressed(self._summary.described()),
        )


def _columns_of(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    given = {*batch.schema.names}
    # A kept column may have the name of a column of ours that goes into no file.
    names = [KEPT + name if KEPT + name in given else name for name in schema.names]
    columns = [batch.column(name) for name in names]
    arrays = [c if c.type == field.type else c.cast(field.type) for c, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class _Stage(beam.DoFn):
    """Keeps one file open; closes it when the split changes, when it is full, and at the end of the bundle.

    Beside a closed file lies its description, for an attempt that resumes the run.
    """

    def __init__(
        self,
        run: Run,
        arrow: pa.Schema,
        file: pa.Schema,
        kind: str = "scores",
        labels: Sequence[str] | None = None,
    ) -> None:
        self._run, self._arrow, self._file, self._kind, self._labels = run, arrow, file, kind, labels

    def start_bundle(self) -> None:
        self._open: StagingFile | None = None
        self._split = -1

    def process(self, batch: pa.RecordBatch) -> Iterator[StagedFile]:
        check(batch, self._arrow, type(self).__name__)
        split = batch.column("split")[0].as_py()
        if self._open is not None and (split != self._split or self._open.rows >= FILE_ROWS):
            yield self._close(self._open)
        if self._open is None:
            self._split = split
            # A new name each time: a retry of the Beam bundle must never write the same file.
            name = f"{self._kind}-{split:06d}-{uuid.uuid4().hex}.parquet"
            self._open = StagingFile(join(self._run.staged, name), self._file, self._labels)
        self._open.add(self.complete(batch))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._open is not None:
            yield WindowedValue(self._close(self._open), 0, [GlobalWindow()])

    def _close(self, file: StagingFile) -> StagedFile:
        self._open = None
        with step("stage_file"):
            closed = file.close()
        with step("record_file"):
            record(closed.path.removesuffix(".parquet") + ".json", closed.told)
        return closed

    def complete(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with every column of the file, and with their positions."""
        return batch


class _StageDeadLetters(_Stage):
    def __init__(self, run: Run, progress: str | None = None) -> None:
        super().__init__(run, REJECTED, DEAD_LETTERS, "dead")
        self._progress = progress

    def process(self, batch: pa.RecordBatch) -> Iterator[StagedFile]:
        yield from super().process(batch)
        # Scoring reports every row that it is given, those it rejects included.
        if batch.column("stage")[0].as_py() != SCORING:
            advance(self._progress, batch.num_rows)

    def complete(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        run = self._run
        same = {
            "logical_date": pa.scalar(run.date, pa.date32()),
            "run_id": pa.scalar(run.run_id),
            "failed_at": pa.scalar(run.started, UTC_MICROS),
        }
        for name, value in same.items():
            batch = batch.append_column(name, pa.repeat(value, batch.num_rows))
        return batch
