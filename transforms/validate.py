"""ValidateTexts: Rows -> Texts, and a dead letter for every row that has no usable id or text."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from transforms.batches import coder as coder
from transforms.batches.dead_letters import reject
from transforms.batches.fingerprints import text_hash
from transforms.batches.misfits import named, without
from transforms.batches.schemas import EARLIER, KEPT, MISFITS, Columns, check, rows_schema, texts_schema
from transforms.batches.sizes import row_bytes
from transforms.batches.text_digests import DIGEST, text_digests
from transforms.batches.texts import utf8
from transforms.runs.error_budget import note_dead

STAGE = "Validate"
Mask = npt.NDArray[np.bool_]


class Validated(NamedTuple):
    """`texts`: PCollection[RecordBatch of Texts]; `dead`: of REJECTED.

    `unchanged`: of Texts with the column `earlier` filled, if there is a date to compare with.
    """

    texts: beam.PCollection[pa.RecordBatch]
    dead: beam.PCollection[pa.RecordBatch]
    unchanged: beam.PCollection[pa.RecordBatch]


class ValidateTexts(beam.PTransform):
    """PCollection[RecordBatch of Rows] -> Validated."""

    def __init__(self, columns: Columns) -> None:
        super().__init__()
        self._columns = columns

    def expand(self, rows: beam.PCollection[pa.RecordBatch]):  # type: ignore[no-untyped-def]
        validated = beam.ParDo(_Validate(self._columns)).with_outputs("dead", "unchanged", main="texts")
        outputs = rows | "ValidateRows" >> validated
        return Validated(outputs.texts, outputs.dead, outputs.unchanged)


class _Validate(beam.DoFn):
    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def process(
        self, rows: pa.RecordBatch
    ) -> Iterator[
        pa.RecordBatch
        | TaggedOutput[Literal["dead"], pa.RecordBatch]
        | TaggedOutput[Literal["unchanged"], pa.RecordBatch]
    ]:
        texts, dead = validate(rows, self._columns)
        if self._columns.earlier is not None:
            texts, unchanged = part_unchanged(texts)
            if unchanged.num_rows:
                yield TaggedOutput("unchanged", unchanged)
        if texts.num_rows:
            yield texts
        if dead is not None:
            note_dead(dead.num_rows)
            yield TaggedOutput("dead", dead)


def validate(rows: pa.RecordBatch, columns: Columns) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """Splits Rows into Texts and REJECTED (None if there is nothing to reject). The first fault of a row counts.

    A kept value that is not valid UTF-8 is null and named, or a fault if the columns are strict.
    """
    check(rows, rows_schema(columns), STAGE)
    ids, bad_ids = utf8(rows.column("id"))
    faults: list[tuple[Mask, str, str]] = [
        (bad_ids, "not_utf8", "the id is not valid UTF-8"),
        (_blank(ids, bad_ids), "missing_id", "the id is null, absent, empty or only white space"),
        (rows.column("duplicate").to_numpy(zero_copy_only=False), "duplicate_id", "the id stands first at "),
    ]
    names = ["text", "text_pair"] if columns.text_pair else ["text"]
    texts = []
    for name in names:
        column = rows.column(name)
        checked, bad = utf8(column)
        missing = column.is_null().to_numpy(zero_copy_only=False)
        most = columns.max_text_bytes
        faults += [
            (missing, "missing_text", f"the {name} is null or absent"),
            # Checked before the encoding: of such a text Read keeps the first bytes only.
            (row_bytes(column) > most, "text_too_long", f"the {name} has more than {most:,} bytes (--max-text-bytes)"),
            (bad, "not_utf8", f"the {name} is not valid UTF-8"),
            (_blank(checked, bad | missing), "blank_text", f"the {name} is empty or only white space"),
        ]
        texts.append(checked)
    unfit = dict(_bad_kept(rows, columns))
    if columns.strict:
        faults += [(mask, "not_utf8", f"a value of {name!r} is not valid UTF-8") for name, mask in unfit.items()]
    else:
        rows = _without(rows, unfit)
    good, dead = _reject(rows, ids, faults)
    if not good.all():
        keep = pa.array(good)
        rows, ids, texts = rows.filter(keep), ids.filter(keep), [text.filter(keep) for text in texts]
    position = [rows.column(name) for name in ("source", "split", "row", MISFITS)]
    kept = [rows.column(KEPT + name) for name in columns.kept.names]
    earlier = [rows.column(EARLIER)] if columns.earlier is not None else []
    hashes = [text_hash(*texts), *([text_digests(*texts)] if columns.digests else [])]
    schema = texts_schema(columns)
    return pa.RecordBatch.from_arrays([ids, *texts, *kept, *position, *hashes, *earlier], schema=schema), dead


def part_unchanged(texts: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Texts with the column `earlier` -> those to score (without that column), and those whose text has not changed."""
    earlier = texts.column(EARLIER)
    same = pc.fill_null(pc.equal(pc.struct_field(earlier, DIGEST), texts.column(DIGEST)), False)
    return texts.filter(pc.invert(same)).drop_columns([EARLIER]), texts.filter(same)


def _reject(
    rows: pa.RecordBatch, ids: pa.Array, faults: list[tuple[Mask, str, str]]
) -> tuple[Mask, pa.RecordBatch | None]:
    """Which rows have no fault, and the dead letters of the others."""
    first = np.full(rows.num_rows, -1)
    for number, (mask, _, _) in reversed(list(enumerate(faults))):
        first[mask] = number
    which = np.flatnonzero(first >= 0)
    if not len(which):
        return first < 0, None
    positions = rows.column("duplicate_of").take(pa.array(which)).to_pylist()
    codes = [faults[first[i]][1] for i in which]
    reasons = [
        faults[first[i]][2] + (position if code == "duplicate_id" else "")
        for i, code, position in zip(which, codes, positions, strict=True)
    ]
    return first < 0, reject(rows, which, STAGE, codes, reasons, ids=ids)


def _blank(texts: pa.Array, besides: Mask) -> Mask:
    empty = pc.equal(pc.binary_length(texts), 0)
    blank = pc.fill_null(pc.or_(empty, pc.utf8_is_space(texts)), True)
    return blank.to_numpy(zero_copy_only=False) & ~besides  # type: ignore[no-any-return]


def _bad_kept(rows: pa.RecordBatch, columns: Columns) -> list[tuple[str, Mask]]:
    """Kept columns with strings that are not UTF-8, at any depth: Parquet would store what no reader can read."""
    found = []
    for name in columns.kept.names:
        column = rows.column(KEPT + name)
        if _is_valid(column):
            continue
        found.append((name, ~_valid_rows(column)))
    return found


def _without(rows: pa.RecordBatch, unfit: dict[str, Mask]) -> pa.RecordBatch:
    """`rows` with nulls for the kept values in `unfit`, and with their names."""
    if not unfit:
        return rows
    changed = {KEPT + name: without(rows.column(KEPT + name), mask) for name, mask in unfit.items()}
    changed[MISFITS] = named(rows.num_rows, unfit, rows.column(MISFITS))
    arrays = [changed.get(name, rows.column(name)) for name in rows.schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=rows.schema)


def _valid_rows(column: pa.Array) -> Mask:
    if _is_valid(column):
        return np.ones(len(column), bool)
    if len(column) == 1:
        return np.zeros(1, bool)
    half = len(column) // 2
    # take, not slice: validating a slice of a nested column looks at all values of that column.
    parts = [column.take(pa.array(part)) for part in np.array_split(np.arange(len(column)), [half])]
    return np.concatenate([_valid_rows(part) for part in parts])


def _is_valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return False
    return True
