"""The Arrow schema of every arrow in the graph.

A column of ours is declared not null unless the contract marks it `?`, down to list elements, so that it reaches
Parquet as REQUIRED. Kept columns (the user's own) are always nullable.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from transforms.batches.dialect import Dialect
from transforms.batches.formats import LONGEST_TEXT
from transforms.batches.measures import MEASURES, MEASURES_TYPE
from transforms.batches.repeated import PRECISION_FIELD, WORK_FIELD
from transforms.batches.text_digests import DIGEST, DIGEST_TYPE

MAX_ROWS = 8_192
"""Rows of one RecordBatch at most."""
MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Bytes of text in one RecordBatch at most; one longer row travels alone."""
MAX_BATCH_BYTES = 24 * 1024 * 1024
"""Bytes of all columns in one RecordBatch at most; one larger row travels alone. 32 MiB peaked above 1.5 GB."""
LARGEST_VALUE = 64 * 1024 * 1024
"""Bytes of one value of a kept column at most; a larger one is not carried."""

LABEL = pa.dictionary(pa.int32(), pa.string())
SOURCE = pa.dictionary(pa.int32(), pa.string())
UTC_MICROS = pa.timestamp("us", tz="UTC")

MISFITS = "kept_misfits"
"""Beside the position of each row: the names of the kept columns that are null because their value did not fit."""

EARLIER = "earlier"
"""Of Rows and Texts: what an earlier date has for a row with the same id, if there is such a date."""

KEPT = "kept:"
"""Prefix of the names of kept columns between Read and Write. No column of ours has it, so a kept column may have any
name. In files it has its own name."""

DATE_KEY = "dt"
"""The column that readers of an output make of its folders `dt=…`."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a job reads of each row, resolved by the plan.

    `id` None makes ids from positions (`<file>#<row>`); `id_type` is its type in the files. `kept` has the output names
    and types of the user's own columns, `kept_from` their input names in the same order. `earlier` is the type of what
    a row can take over from a published date, if there is one to compare with. `label` is the input name of the kept
    column that a training learns: there a NaN is no value. `digests`: those of the texts go with the rows. `dialect`
    says how text files are written. `types` are those the user gave, by input name. `strict` makes a dead letter of a
    row with a kept value that does not fit; `bounded` keeps dates to the years 1 to 9999. A text with more than
    `max_text_bytes` becomes a dead letter. `windows`: the bundle may make several windows of a text.

    `paths` has the input names that mean a field of a struct (`doc.text`), each with its path. `without` are the paths
    of texts in kept structs: these structs are kept without them.
    """

    text: str
    id: str | None = None
    id_type: pa.DataType = field(default_factory=pa.string)
    text_pair: str | None = None
    kept: pa.Schema = field(default_factory=lambda: pa.schema([]))
    kept_from: tuple[str, ...] = ()
    earlier: pa.StructType | None = None
    label: str | None = None
    digests: bool = False
    dialect: Dialect = field(default_factory=Dialect)
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    strict: bool = False
    bounded: bool = False
    max_text_bytes: int = LONGEST_TEXT
    windows: bool = False
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: tuple[tuple[str, ...], ...] = ()

    @property
    def segments(self) -> int:
        """1, or 2 for pairs."""
        return 2 if self.text_pair else 1

    @property
    def wanted(self) -> list[str]:
        """Input columns to read."""
        named = [name for name in (self.id, self.text, self.text_pair) if name is not None]
        return list(dict.fromkeys([*named, *self.kept_from]))

    @property
    def selected(self) -> list[str]:
        """What to read of files with structs: levels joined by dots, and no part of a struct that is read whole."""
        paths = [self.paths.get(name, (name,)) for name in self.wanted]
        parts = [path for path in paths if not any(path[:levels] in paths for levels in range(1, len(path)))]
        return list(dict.fromkeys(".".join(path) for path in parts))


def required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def on_the_way(kept: Iterable[pa.Field]) -> list[pa.Field]:
    """Kept columns under their names between Read and Write."""
    return [column.with_name(KEPT + column.name) for column in kept]


def _position() -> list[pa.Field]:
    return [required("source", SOURCE), required("split", pa.int32()), required("row", pa.int64())]


def _carried() -> list[pa.Field]:
    """What goes with a row to the row counts and into no file."""
    return [*_position(), pa.field(MISFITS, pa.list_(pa.string()))]


def _earlier(columns: Columns) -> list[pa.Field]:
    return [] if columns.earlier is None else [pa.field(EARLIER, columns.earlier)]


def _digest(kept: bool) -> list[pa.Field]:
    return [required(DIGEST, DIGEST_TYPE)] if kept else []


def rows_schema(columns: Columns) -> pa.Schema:
    """Read -> Validate: as read, nothing checked."""
    pair = [pa.field("text_pair", pa.binary())] if columns.text_pair else []
    return pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("text", pa.binary()),
            *pair,
            *on_the_way(columns.kept),
            *_carried(),
            required("duplicate", pa.bool_()),
            pa.field("duplicate_of", pa.string()),
            *_earlier(columns),
        ]
    )


def texts_schema(columns: Columns) -> pa.Schema:
    """Validate -> Featurize: valid UTF-8, not blank, ids unique."""
    pair = [required("text_pair", pa.string())] if columns.text_pair else []
    return pa.schema(
        [
            required("id", pa.string()),
            required("text", pa.string()),
            *pair,
            *on_the_way(columns.kept),
            *_carried(),
            required("text_hash", pa.int64()),
            *_digest(columns.digests),
            *_earlier(columns),
        ]
    )


def _without_text(columns: Columns) -> list[pa.Field]:
    own = [required("text_hash", pa.int64()), *_digest(columns.digests)]
    return [required("id", pa.string()), *on_the_way(columns.kept), *_carried(), *own]


def tokens_schema(columns: Columns) -> pa.Schema:
    """Featurize -> Score: token ids with special tokens and without padding, of windows one after the other."""
    windows = [required("windows", pa.list_(required("item", pa.int32())))]
    return pa.schema(
        [
            *_without_text(columns),
            required("tokens", pa.large_list(required("item", pa.int32()))),
            required("first_segment", pa.int32()),
            required("truncated", pa.bool_()),
            *(windows if columns.windows else []),
            required(MEASURES, MEASURES_TYPE),
        ]
    )


def outputs_schema(columns: Columns) -> pa.Schema:
    """RunInference -> Label: in place of the tokens what the model gave, NaN where it gave nothing, and the Work."""
    return pa.schema(
        [
            *_without_text(columns),
            required("truncated", pa.bool_()),
            required(MEASURES, MEASURES_TYPE),
            required("token_count", pa.int32()),
            *(OF_WINDOWS if columns.windows else []),
            required("outputs", pa.list_(required("item", pa.float32()))),
            required("failed", pa.bool_()),
            WORK_FIELD,
        ]
    )


OF_WINDOWS = tuple(pa.field(name, pa.int32()) for name in ("windows", "deciding_window", "window_first_token"))
"""Columns of rows whose bundle makes windows: how many there are, which one decided, and with which token of the text
it begins, both counted from 0, or null where no single one decided. They were added later, so they are nullable."""


def plain(kind: pa.DataType) -> pa.DataType:
    """A type with every dictionary in it replaced by what it stands for."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(plain(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(plain(kind.value_type)))
    return kind


def with_positions(schema: pa.Schema, *, digests: bool = False, measures: bool = False) -> pa.Schema:
    """`schema` with position and precision of each row in front, which the row counts need and the files leave out.

    `digests`: with the digest of its text too; `measures`: with what was measured of it, null where nothing was.
    """
    measured = [pa.field(MEASURES, MEASURES_TYPE)] if measures else []
    return pa.schema([*_carried(), PRECISION_FIELD, *_digest(digests), *measured, *schema])


DEAD_LETTERS = pa.schema(
    [
        pa.field("id", pa.string()),
        required("stage", pa.string()),
        required("code", pa.string()),
        required("reason", pa.string()),
        required("source", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("text_hash", pa.int64()),
        required("logical_date", pa.date32()),
        required("run_id", pa.string()),
        required("failed_at", UTC_MICROS),
    ]
)
"""The dead letter files."""

REJECTED = pa.schema(
    [
        *_position(),
        pa.field("id", pa.string()),
        required("stage", pa.string()),
        required("code", pa.string()),
        required("reason", pa.string()),
        pa.field("text_hash", pa.int64()),
    ]
)
"""Dead letters on their way to WriteDeadLetters, which adds what is the same for the whole run."""


def check(batch: pa.RecordBatch, schema: pa.Schema, where: str) -> pa.RecordBatch:
    """Returns `batch` if it has exactly `schema`; raises TypeError naming the first field that differs."""
    if batch.schema.equals(schema):
        return batch
    for found, declared in zip(batch.schema, schema, strict=False):
        if not found.equals(declared):
            raise TypeError(f"{where}: column {found.name!r} is {found}, but the arrow declares {declared}")
    raise TypeError(f"{where}: columns are {batch.schema.names}, but the arrow declares {schema.names}")
