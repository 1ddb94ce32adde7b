"""The plan of a run: the input listed once, cut into splits, with the schema of the whole job.

What workers shuffle is these descriptions, never texts.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from transforms.batches.dialect import DELIMITERS, Dialect
from transforms.batches.formats import COMPRESSIONS, FORMATS
from transforms.batches.schemas import MAX_ROWS
from transforms.errors import DialectError, NoInputError, PlanError
from transforms.read.columns import ColumnsRequest, SchemaUnion, require_columns, resolve
from transforms.read.inspect_file import PIECE_BYTES, SPLIT_BYTES, look
from transforms.runs.plan import Piece, Plan, Split
from transforms.stores.choose import store_for
from transforms.stores.store import FileInfo

SPLIT_ROWS = 65_536
SPLITS = 16
"""A small job has about so many splits: fewer would leave workers idle, and a run that dies would lose more."""


def plan_inputs(
    patterns: Sequence[str],
    request: ColumnsRequest,
    *,
    file_format: str | None = None,
    allow_missing: bool = False,
    check: Callable[[FileInfo], None] = lambda _: None,
    dialect: Dialect | None = None,
) -> Plan:
    """Lists and looks at every input file; `check` may raise for one before any is looked at.

    Raises NoInputError when nothing matches (unless `allow_missing`), and PlanError, naming the file, when one is
    not what it claims to be, lacks a column, or does not fit the others.
    """
    formats = list_inputs(patterns, file_format, allow_missing=allow_missing, check=check)
    inputs = list(formats)
    kinds = sorted({kind for kind, _ in formats.values()})
    dialect = dialect or Dialect()
    _check_dialect(dialect, kinds)
    if kinds == ["text"]:
        request = replace(request, id=None, text="text")
    with ThreadPoolExecutor(16) as pool:
        facts = list(pool.map(lambda info: look(info, *formats[info], dialect, guess=request.guess), inputs))
    with_header = kinds in (["csv"], ["tsv"])
    union = SchemaUnion(request, loose=with_header, json=kinds == ["jsonl"])
    for info, fact in zip(inputs, facts, strict=True):
        if fact.schema is not None:
            require_columns(fact.schema, request, info.path, with_header=with_header)
            union.add(fact.schema, info.path)
    pieces = [piece for fact in facts for piece in fact.pieces]
    weights = [weight for fact in facts for weight in fact.weights]
    ordered = [replace(piece, number=i) for i, piece in enumerate(pieces)]
    return Plan(
        columns=replace(resolve(union.schema, request), dialect=dialect),
        inputs=tuple(inputs),
        splits=tuple(_pack(ordered, weights)),
        rows=sum(rows for rows, _ in weights),
        exact=all(piece.rows is not None for piece in pieces),
        texts=tuple(union.schema.names if with_header else sorted(union.met_as_text)),
    )


def list_inputs(
    patterns: Sequence[str],
    file_format: str | None = None,
    *,
    allow_missing: bool = False,
    check: Callable[[FileInfo], None] = lambda _: None,
) -> dict[FileInfo, tuple[str, str | None]]:
    """The input files in order, each with its format and compression; their contents are not looked at.

    `check` may raise for a file.
    Raises NoInputError when nothing matches (unless `allow_missing`), PlanError where the names do not go together.
    """
    inputs = sorted({info.path: info for pattern in patterns for info in _match(pattern)}.values(), key=_path)
    for info in inputs:
        check(info)
    if not inputs and not allow_missing:
        raise NoInputError(f"no input file matches {', '.join(patterns)}; is it written yet? (or --allow-missing)")
    for info in inputs:
        if not info.path.isprintable() and any("\udc80" <= c <= "\udcff" for c in info.path):
            raise PlanError(f"{info.path!a}: the name of the file is not UTF-8; rename it")
    formats = {info: _format(info.path, file_format) for info in inputs}
    kinds = sorted({kind for kind, _ in formats.values()})
    if len(kinds) > 1:
        raise PlanError(f"the input mixes {' and '.join(kinds)} files; a job reads one format: narrow --input")
    return formats


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


def _match(pattern: str) -> list[FileInfo]:
    return store_for(pattern).match(pattern)


def _format(path: str, declared: str | None) -> tuple[str, str | None]:
    stem, compression = path, None
    for suffix, name in COMPRESSIONS.items():
        if path.endswith(suffix):
            stem, compression = path[: -len(suffix)], name
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
