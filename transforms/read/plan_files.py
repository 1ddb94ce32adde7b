"""The plan of a run: the input listed once, cut into splits, with the schema of the whole job.

What workers shuffle is these descriptions, never texts.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from transforms.batches.dialect import DELIMITERS, Dialect
from transforms.batches.formats import COMPRESSIONS, FORMATS
from transforms.batches.schemas import MAX_ROWS, Columns
from transforms.errors import DialectError, NotWhatItClaimsError, PlanError
from transforms.read.columns import ColumnsRequest, SchemaUnion, require_columns, resolve
from transforms.read.formats.piece import read_piece
from transforms.read.inspect_file import PIECE_BYTES, SPLIT_BYTES, Facts, look
from transforms.read.values.folders import folders_of, unnamed_part
from transforms.read.values.paths import Path
from transforms.runs.plan import Folders, Piece, Plan, Split
from transforms.stores.matching import match_input
from transforms.stores.store import FileInfo

SPLIT_ROWS = 65_536
SPLITS = 16
"""A small job has about so many splits: fewer would leave workers idle, and a run that dies would lose more."""


class Input(NamedTuple):
    """What the path of a file says about it."""

    format: str
    compression: str | None
    folders: Folders


def plan_inputs(
    patterns: Sequence[str],
    request: ColumnsRequest,
    *,
    file_format: str | None = None,
    allow_missing: bool = False,
    check: Callable[[FileInfo], None] = lambda _: None,
    dialect: Dialect | None = None,
    loose_dialect: bool = False,
) -> Plan:
    """Lists and looks at every input file; `check` may raise for one before any is looked at.

    With `loose_dialect` what the dialect says of files of another format is passed over, and else an error.

    Raises NoInputError for patterns that nothing matches (unless `allow_missing`), and PlanError, naming the file, when
    one is not what it claims to be, lacks a column, or does not fit the others.
    """
    formats = list_inputs(patterns, file_format, allow_missing=allow_missing, check=check)
    inputs = list(formats)
    kinds = sorted({found.format for found in formats.values()})
    dialect = dialect or Dialect()
    if loose_dialect and not {*kinds} & {*DELIMITERS}:
        dialect = Dialect() if kinds == ["parquet"] else Dialect(encoding=dialect.encoding)
    _check_dialect(dialect, kinds)
    if kinds == ["text"]:
        request = replace(request, id=None, text="text")
    with ThreadPoolExecutor(16) as pool:
        facts = list(pool.map(lambda info: _look(info, formats[info], dialect, request), inputs))
    with_header = kinds in (["csv"], ["tsv"])
    union = SchemaUnion(request, loose=with_header, json=kinds == ["jsonl"])
    anywhere = {name for fact in facts if fact.schema is not None for name in fact.schema.names}
    lacking: list[PlanError] = []
    for info, fact in zip(inputs, facts, strict=True):
        if fact.schema is not None:
            try:
                require_columns(fact.schema, request, info.path, with_header=with_header, anywhere=anywhere)
            except PlanError as error:
                lacking.append(error)
    if lacking:
        more = f"; and {len(lacking) - 2:,} more files lack some" if len(lacking) > 2 else ""
        raise PlanError("; ".join(map(str, lacking[:2])) + more)
    for info, fact in zip(inputs, facts, strict=True):
        if fact.schema is not None:
            union.add(fact.schema, info.path)
    only_folders = [name for name in union.schema.names if not any(name in fact.columns for fact in facts)]
    columns = resolve(union.schema, request, paths=_paths(inputs, facts), folders=only_folders)
    columns = replace(columns, dialect=dialect)
    _check_folders(inputs, facts, columns)
    pieces = [piece for fact in facts for piece in fact.pieces]
    weights = [weight for fact in facts for weight in fact.weights]
    ordered = [replace(piece, number=i) for i, piece in enumerate(pieces)]
    return Plan(
        columns=columns,
        inputs=tuple(inputs),
        splits=tuple(_pack(ordered, weights)),
        rows=sum(rows for rows, _ in weights),
        exact=all(piece.rows is not None for piece in pieces),
        texts=tuple(union.schema.names if with_header else sorted({*union.met_as_text, *only_folders})),
    )


def _look(info: FileInfo, found: Input, dialect: Dialect, request: ColumnsRequest) -> Facts:
    """The facts about a file, with its folder columns."""
    fact = look(info, found.format, found.compression, dialect, guess=request.guess, asked=request.asked)
    pieces = [replace(piece, folders=found.folders) for piece in fact.pieces]
    fact = replace(fact, pieces=pieces, folders=found.folders)
    if fact.schema is None:
        return fact
    of_folders = [pa.field(key, pa.string()) for key in dict(found.folders) if key not in fact.schema.names]
    return replace(fact, schema=pa.schema([*fact.schema, *of_folders]), columns=frozenset(fact.schema.names))


def _paths(inputs: Sequence[FileInfo], facts: Sequence[Facts]) -> dict[str, Path]:
    """The paths of columns inside structs; raises PlanError if a name means another place in another file."""
    found: dict[str, tuple[Path, FileInfo]] = {}
    names = {name for fact in facts for name in fact.paths}
    for info, fact in zip(inputs, facts, strict=True):
        for name in sorted(names & fact.columns):
            path, first = found.setdefault(name, (fact.paths.get(name, (name,)), info))
            if fact.paths.get(name, (name,)) != path:
                raise PlanError(
                    f"{info.path}: {name!r} is at another place than in {first.path}: a column in one of them, and "
                    "part of a struct in the other; narrow --input to files that are alike"
                )
    return {name: path for name, (path, _) in found.items()}


def _check_folders(inputs: Sequence[FileInfo], facts: Sequence[Facts], columns: Columns) -> None:
    """Raises PlanError if a file lacks a folder that others have, or has other values in a column of that name.

    Only for columns that the job reads. Only the first rows are looked at; later ones become dead letters.
    """
    wanted = {*columns.wanted}
    first: dict[str, FileInfo] = {}
    for info, fact in zip(inputs, facts, strict=True):
        for key, _ in fact.folders:
            if key in wanted:
                first.setdefault(key, info)
    for info, fact in zip(inputs, facts, strict=True):
        there = dict(fact.folders).keys()
        for key in there:
            if key in wanted and [name for name, _ in fact.folders].count(key) > 1:
                raise PlanError(
                    f"{info.path}: two folders of its path have the key {key!r}; rename one of them, or leave the "
                    "column out with --keep"
                )
        for key, other in first.items():
            if fact.schema is not None and key not in there | fact.columns:
                raise PlanError(
                    f"{info.path}: has neither a folder {key}=… in its path, as {other.path} has, nor a column "
                    f"{key!r}; narrow --input, or leave the column out with --keep"
                )
            if key in there & fact.columns and fact.pieces:
                _check_same(info, fact.pieces[0], key, columns)


def _check_same(info: FileInfo, piece: Piece, key: str, columns: Columns) -> None:
    kept = dict(zip(columns.kept_from, columns.kept, strict=True)).get(key, pa.field(key, pa.string()))
    alone = replace(columns, id=None, text_pair=None, without=(), kept=pa.schema([kept]), kept_from=(key,))
    try:
        damage = next((block.damage for block in read_piece(piece, alone) if len(block.covered)), [])
    except NotWhatItClaimsError as error:
        raise PlanError(f"{error}; mend or remove the file") from error
    if any(lost.code == "wrong_folder" for lost in damage):
        raise PlanError(
            f"{info.path}: its column {key!r} has other values than the folder {key}=… in its path, and nobody can "
            "tell which of them is meant; leave it out with --keep, or rename the folder"
        )


def list_inputs(
    patterns: Sequence[str],
    file_format: str | None = None,
    *,
    allow_missing: bool = False,
    check: Callable[[FileInfo], None] = lambda _: None,
) -> dict[FileInfo, Input]:
    """The input files in order, each with what its name says; their contents are not looked at.

    `check` may raise for a file.
    Raises NoInputError for patterns that nothing matches (unless `allow_missing`), PlanError where the names do not go
    together.
    """
    suffixes = [kind + packed for kind in FORMATS for packed in ("", *COMPRESSIONS)]
    matched = {
        info: unnamed_part(pattern)
        for pattern in patterns
        for info in match_input(pattern, suffixes, allow_missing=allow_missing)
    }
    inputs = sorted({info.path: info for info in matched}.values(), key=_path)
    for info in inputs:
        check(info)
    for info in inputs:
        if not info.path.isprintable() and any("\udc80" <= c <= "\udcff" for c in info.path):
            raise PlanError(f"{info.path!a}: the name of the file is not UTF-8; rename it")
    formats = {info: _format(info.path, file_format) for info in inputs}
    kinds = sorted({kind for kind, _ in formats.values()})
    if len(kinds) > 1:
        raise PlanError(f"the input mixes {' and '.join(kinds)} files; a job reads one format: narrow --input")
    return {info: Input(*formats[info], folders_of(info.path, matched[info])) for info in inputs}


def _check_dialect(dialect: Dialect, kinds: Sequence[str]) -> None:
    """Raises PlanError for flags of text files that have no meaning for this format."""
    kind = kinds[0] if kinds else "csv"
    if kind in DELIMITERS:
        try:
            dialect.of(kind)
        except DialectError as error:
            raise PlanError(str(error)) from error
    elif dialect.said:
        raise PlanError(f"{dialect.said[0]} is for CSV and TSV; the input is {kind}")
    elif kind == "parquet" and dialect.encoding != "utf-8":
        raise PlanError(f"--encoding {dialect.encoding} is for text files; the input is parquet, which is UTF-8")


def _path(info: FileInfo) -> str:
    return info.path


def _format(path: str, declared: str | None) -> tuple[str, str | None]:
    # Names in capitals come from Windows and from databases.
    stem, compression = path.lower(), None
    for suffix, name in COMPRESSIONS.items():
        if stem.endswith(suffix):
            stem, compression = stem.removesuffix(suffix), name
            break
    found = declared or next((kind for suffix, kind in FORMATS.items() if stem.endswith(suffix)), None)
    if found is None:
        raise PlanError(
            f"{path}: the name tells no format (known: {', '.join(FORMATS)}, also with "
            f"{', '.join(COMPRESSIONS)}); say it with --format, or narrow --input"
        )
    return found, None if found == "parquet" else compression


def _pack(pieces: Sequence[Piece], weights: Sequence[tuple[int, int]]) -> Iterator[Split]:
    """Puts small pieces together until a split is full."""
    group: list[Piece] = []
    number = rows = size = 0
    most_rows, most_bytes = split_limits(*(sum(some) for some in zip((0, 0), *weights, strict=True)))
    for piece, (more_rows, more_bytes) in zip(pieces, weights, strict=True):
        if group and (rows + more_rows > most_rows or size + more_bytes > most_bytes):
            yield Split(number=number, pieces=tuple(group))
            group, number, rows, size = [], number + 1, 0, 0
        if group and _continues(piece, group[-1]):
            group[-1] = replace(group[-1], end=piece.end, rows=(group[-1].rows or 0) + (piece.rows or 0))
        else:
            group.append(piece)
        rows, size = rows + more_rows, size + more_bytes
    if group:
        yield Split(number=number, pieces=tuple(group))


def split_limits(rows: int, size: int) -> tuple[int, int]:
    """Rows and bytes of one split at most, for an input of so many."""
    return min(SPLIT_ROWS, max(MAX_ROWS, rows // SPLITS)), min(SPLIT_BYTES, max(PIECE_BYTES, size // SPLITS))


def _continues(piece: Piece, last: Piece) -> bool:
    """Whether a piece begins where another one ends, so that one reading does for both."""
    return piece.format == "parquet" and (piece.file, piece.start) == (last.file, last.end)
