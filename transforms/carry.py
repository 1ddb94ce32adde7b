"""CarryScores: valid rows whose text has not changed -> Scores, with the numbers of an earlier date."""

from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches import coder as coder
from transforms.batches.measures import MEASURES, unmeasured
from transforms.batches.schemas import EARLIER, check
from transforms.runs.labelling import Labelling, decided, same_for_all
from transforms.runs.progress import advance

STAGE = "Carry"


class CarryScores(beam.PTransform):
    """PCollection[RecordBatch of Texts with `earlier`] -> PCollection[RecordBatch of Scores with positions].

    `progress` is the file in which local workers tell how far they are, if anywhere.
    """

    def __init__(self, labelling: Labelling, precision: str, progress: str | None = None) -> None:
        super().__init__()
        self._labelling, self._precision, self._progress = labelling, precision, progress

    def expand(self, unchanged: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        return unchanged | "CarryOver" >> beam.ParDo(_Carry(self._labelling, self._precision, self._progress))


class _Carry(beam.DoFn):
    def __init__(self, labelling: Labelling, precision: str, progress: str | None) -> None:
        self._labelling, self._precision, self._progress = labelling, precision, progress

    def process(self, unchanged: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield carry(unchanged, self._labelling, self._precision)
        advance(self._progress, unchanged.num_rows)


def carry(unchanged: pa.RecordBatch, labelling: Labelling, precision: str) -> pa.RecordBatch:
    """Score columns and `scored_at` from the column `earlier`, kept columns from today, the rest from the run."""
    earlier = unchanged.column(EARLIER)
    own = same_for_all(labelling, unchanged.num_rows, precision)
    own[MEASURES] = unmeasured(unchanged.num_rows)
    names = [field.name for field in earlier.type]
    schema = labelling.schema
    columns = zip(names, earlier.flatten(), strict=True)
    own |= {name: encode(column, schema.field(name).type) for name, column in columns}
    if labelling.min_probability is not None:
        # Of today's flag: what was decided that day may be something else.
        own |= decided(own["label"], own["probability"], labelling)
    arrays = [own[name] if name in own else unchanged.column(name) for name in schema.names]
    return check(pa.RecordBatch.from_arrays(arrays, schema=schema), schema, STAGE)


def encode(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """`column`, as read from a file, with the dictionaries that `kind` has."""
    if pa.types.is_dictionary(kind):
        return column.dictionary_encode().cast(kind)
    if pa.types.is_struct(kind):
        parts = [encode(part, field.type) for part, field in zip(column.flatten(), kind, strict=True)]
        return pa.StructArray.from_arrays(parts, fields=list(kind))
    if pa.types.is_list(kind):
        # Of a slice, offsets begin anywhere, and flatten gives only what it covers.
        offsets = pc.subtract(column.offsets, column.offsets[0])
        return pa.ListArray.from_arrays(offsets, encode(column.flatten(), kind.value_type), type=kind)
    return column
