"""Reading JSONL: Arrow parses what it can, a line it refuses is looked at alone.

What becomes of a line depends on that line only, never on the lines around it.
"""

import itertools
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from transforms.batches.schemas import LARGEST_VALUE, Columns
from transforms.read.formats.blocks import Block, Blocks, Damage, Positions, Unfit, from_table, no_rows, positions
from transforms.read.formats.bounded import limits_of, too_large
from transforms.read.formats.lines import Lines, Whole, few_at_once, lines_of, one_line
from transforms.read.values.json.array import elements_of
from transforms.read.values.json.long_object import Line, LongObject, Wanted
from transforms.read.values.json.paths import arrow_schema, take_out
from transforms.read.values.json.values import Keys, Row, read_line
from transforms.read.values.written import EXACT
from transforms.runs.plan import Piece

_OPEN, _CLOSE = b"{}"
_BLANK = b" \t\r"
_FEW = 32
MOST_LOOKED_AT = 1024 * 1024


def keys_of(columns: Columns) -> Keys:
    """The keys of a job: bytes come out for strings and for the id."""
    texts = tuple(name for name in (columns.text, columns.text_pair) if name is not None and name != columns.id)
    kept = dict(zip(columns.kept_from, columns.kept, strict=True))
    told = []
    for name in columns.wanted:
        if name == columns.id:
            kind = columns.id_type
        elif name in texts:
            # Arrow makes a `string` of other values; a text is to be one.
            kind = pa.binary()
        else:
            kind = kept[name].type
            # A date is a string in JSON, and cast later.
            kind = pa.string() if pa.types.is_temporal(kind) else kind
        told.append(pa.field(name, kind))
    given = [
        pa.field(f.name, pa.binary() if pa.types.is_string(f.type) or f.name == columns.id else f.type) for f in told
    ]
    return Keys(
        told=pa.schema(told),
        given=pa.schema(given),
        id=columns.id,
        texts=texts,
        declared=frozenset(columns.types),
        label=columns.label,
        paths=columns.paths,
        without=columns.without,
    )


def read_jsonl(file: BinaryIO, piece: Piece, columns: Columns) -> Blocks:
    """Each line that is not blank is one row; a key that is absent is null. Of an array, each line has one element.

    Texts must be strings, ids strings or whole numbers. A string column takes any value, what is no string as its JSON.
    A kept value that does not fit is null and unfit.
    """
    keys = keys_of(columns)
    wanted = _wanted(columns)
    all_lines: Iterator[Lines]
    if piece.format == "json_array":
        # Behind the brackets and commas of the array, a long line is read like one of JSONL.
        found = elements_of(lines_of(file, piece, columns.dialect.encoding), piece)
        all_lines = map(_shortened, found, itertools.repeat(wanted))
    else:
        all_lines = lines_of(file, piece, columns.dialect.encoding, LongLines(wanted))
    for lines in few_at_once(all_lines):
        yield _lost_told(json_block(lines, keys), lines, keys)


def _lost_told(block: Block, lines: Lines, keys: Keys) -> Block:
    """The block of a line with values that are too large: these are unfit; without its id or a text a row is dead."""
    place = positions(lines.first, 1)
    lost = [name for name in keys.told.names if keys.paths.get(name, (name,))[0] in lines.lost]
    # What stands in the place of a text that is no part of an object says by its length that it is too long.
    dead = [name for name in lost if name == keys.id or (name in keys.texts and name in keys.paths)]
    if lines.fault is not None or dead:
        reason = lines.fault or f"the value of {dead[0]!r} has more than {LARGEST_VALUE:,} bytes"
        return Block(place, block.rows.slice(0, 0), place[:0], [Damage(place, "text_too_long", reason)])
    if not lost or not len(block.positions):
        return block
    return block._replace(unfit=[*block.unfit, *(too_large(name, place) for name in lost if name not in keys.texts)])


def _wanted(columns: Columns) -> Wanted:
    """What is read of a line above LARGEST_VALUE; an object of which only parts are columns is read as a whole."""
    limits = limits_of(columns)
    most = {**({} if columns.id is None else {columns.id: LARGEST_VALUE}), **limits.most}
    objects = {path[0] for path in columns.paths.values()}
    return Wanted(
        most={
            **{key: size for key, size in most.items() if key not in columns.paths},
            **dict.fromkeys(objects, LARGEST_VALUE),
        },
        texts=limits.texts - columns.paths.keys(),
        in_all=LARGEST_VALUE,
    )


def _shortened(lines: Lines, wanted: Wanted) -> Lines:
    if len(lines.starts) != 1 or len(lines.buffer) <= wanted.in_all:
        return lines
    long = LongObject(wanted)
    long.add(lines.buffer)
    return one_line(long.line(), lines.first)


class LongLines:
    """Holds a line up to LARGEST_VALUE, and of a longer one what is wanted; without a wish, values of a megabyte."""

    def __init__(self, wanted: Wanted | None = None) -> None:
        wanted = wanted or Wanted(others=MOST_LOOKED_AT, in_all=LARGEST_VALUE)
        self._wanted, self._line, self._long, self.size = wanted, Whole(), LongObject(wanted), 0

    def add(self, part: bytes) -> None:
        if self.size <= self._wanted.in_all < self.size + len(part):
            self._long = LongObject(self._wanted)
            self._long.add(self._line.take().content)
        self.size += len(part)
        (self._line if self.size <= self._wanted.in_all else self._long).add(part)

    def take(self) -> Line:
        found = self._line.take() if self.size <= self._wanted.in_all else self._long.line()
        self.size = 0
        return found


def json_block(lines: Lines, keys: Keys) -> Block:
    """Parses `lines`; see read_jsonl. Strings come out as bytes that nobody has checked."""
    data = np.frombuffer(lines.buffer or b"\n", np.uint8)
    # Arrow's parser lets a value span lines, takes two values on one line, and crashes the process on a bare `null`:
    # it only gets lines that look like one object, and the number of rows must come out as the number of lines.
    opened = data[np.minimum(lines.starts, len(data) - 1)] == _OPEN
    plain = (lines.ends > lines.starts) & opened & (data[np.maximum(lines.ends - 1, 0)] == _CLOSE)
    odd = np.flatnonzero(~plain)
    blank = odd[np.array([not lines.line(i).strip() for i in odd.tolist()], bool)]
    covered = np.delete(positions(0, len(lines.starts)), blank)
    parts: list[pa.RecordBatch] = []
    taken: list[Positions] = []
    damage: list[Damage] = []
    for batch, which in _parse(lines, np.flatnonzero(plain).astype(np.int64), keys):
        parts.append(batch)
        taken.append(which)
    done = np.concatenate([positions(0, 0), *taken])
    good: list[int] = []
    read: list[Row] = []
    for i in np.setdiff1d(covered, done).tolist():
        row = read_line(lines.line(i), keys, _parse_objects)
        if isinstance(row, Row):
            good.append(i)
            read.append(row)
        else:
            damage.append(Damage(positions(lines.first + i, 1), *row))
    if read:
        columns = zip(*(row.values for row in read), strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, keys.given, strict=True)]
        parts.append(pa.RecordBatch.from_arrays(arrays, schema=keys.given))
        taken.append(np.array(good, np.int64))
    lost: dict[tuple[str, tuple[str, str]], list[int]] = {}
    for i, row in zip(good, read, strict=True):
        for name, why in row.unfit.items():
            lost.setdefault((name, why), []).append(lines.first + i)
    unfit = [Unfit(name, np.array(where, np.int64), *why) for (name, why), where in lost.items()]
    rows = from_table(pa.Table.from_batches(parts)) if parts else no_rows(keys.given)
    return Block(
        covered + lines.first, rows, np.concatenate([positions(0, 0), *taken]) + lines.first, damage, unfit=unfit
    )


def _parse(lines: Lines, which: Positions, keys: Keys) -> Iterator[tuple[pa.RecordBatch, Positions]]:
    """Arrow's rows for the lines `which`, halving what it refuses; few refused lines are left out."""
    if not len(which):
        return
    # Arrow takes a CR for white space: where it ends a line, Arrow is given another line end.
    whole = len(which) == len(lines.starts) and lines.starts[0] == 0 and not lines.has_cr
    rows = _parse_objects(lines.buffer if whole else lines.join(which), len(which), keys)
    if rows is not None:
        large = np.zeros(len(which), bool)
        for column in rows.columns:
            large |= _has_large_numbers(column)
        # Those lines are looked at alone.
        yield (rows.filter(pa.array(~large)), which[~large]) if large.any() else (rows, which)
    elif len(which) > _FEW:
        half = len(which) // 2
        yield from _parse(lines, which[:half], keys)
        yield from _parse(lines, which[half:], keys)


def _parse_objects(buffer: bytes, count: int, keys: Keys) -> pa.RecordBatch | None:
    """The rows of `count` lines that each look like one object; None if Arrow refuses them."""
    made = arrow_schema(keys.told, keys.paths)
    if made is None:
        return None
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(buffer),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(buffer) + 1),
            pyarrow.json.ParseOptions(explicit_schema=made, unexpected_field_behavior=_unexpected(keys)),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        # A message that quotes bytes which are not UTF-8 surfaces as UnicodeDecodeError.
        return None
    if table.num_rows != count:
        return None
    # A key inside an object that the job does not know: that line is looked at by itself.
    columns = take_out(from_table(table.select(made.names)), made, keys.told, keys.paths, keys.without)
    if columns is None:
        return None
    arrays = [
        (column.cast(pa.string()) if field.name == keys.id else column).cast(field.type)
        for column, field in zip(columns, keys.given, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=keys.given)


def _unexpected(keys: Keys) -> str:
    """What Arrow does with keys it is not told of: where there are objects in columns, those in them must be seen."""
    return "infer" if any(_has_struct(kind) for kind in keys.told.types) else "ignore"


def _has_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) or any(_has_struct(kind.field(i).type) for i in range(kind.num_fields))


def _has_large_numbers(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Rows with a double, at any depth, from which Arrow may have rounded digits off, or that is no number of JSON."""
    kind = column.type
    large = np.zeros(len(column), bool)
    if pa.types.is_floating(kind):
        large |= ~(np.abs(pc.fill_null(column, 0).to_numpy(zero_copy_only=False)) < EXACT)
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            large |= _has_large_numbers(part)
    elif pa.types.is_list(kind):
        inside = _has_large_numbers(column.flatten())
        large[pc.list_parent_indices(column).to_numpy()[inside]] = True
    return large
