"""Which columns a job reads: the user's wishes against the schema the files turn out to have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from transforms.blocks import is_text
from transforms.schemas import OWN_COLUMNS, Columns


class PlanError(ValueError):
    """The input is not as the job declares it; nothing has been scored."""


@dataclass(frozen=True, kw_only=True)
class ColumnsRequest:
    """What the user said about columns. `id` None asks for ids from positions; `keep` None keeps all but the text.

    `types` overrides the types found in the files.
    """

    text: str = "text"
    id: str | None = "id"
    text_pair: str | None = None
    keep: tuple[str, ...] | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, pa.DataType] = field(default_factory=dict)


class SchemaUnion:
    """The columns of all files so far, integers and floats widened; `loose` makes a string of what differs more."""

    def __init__(self, *, loose: bool) -> None:
        self._loose = loose
        self._seen: set[str] = set()
        self.schema = pa.schema([])

    def add(self, schema: pa.Schema, file: str) -> None:
        """Takes in the schema of `file`; raises PlanError naming it when it does not fit the others."""
        text = schema.to_string(show_schema_metadata=False)
        if text in self._seen:
            return
        self._seen.add(text)
        for found in schema:
            self._add_field(pa.field(found.name, _plain(found.type)), file)

    def _add_field(self, found: pa.Field, file: str) -> None:
        at = self.schema.get_field_index(found.name)
        if at < 0:
            self.schema = self.schema.append(found)
            return
        so_far = self.schema.field(at)
        try:
            both = pa.unify_schemas([pa.schema([so_far]), pa.schema([found])], promote_options="permissive")
            merged = both.field(0)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            if not self._loose:
                raise PlanError(
                    f"{file}: column {found.name!r} is {found.type}, but {so_far.type} in the files before it; "
                    f"leave the file out, or give the type with --schema {found.name}:string"
                ) from error
            merged = pa.field(found.name, pa.string())
        self.schema = self.schema.set(at, merged)


def _plain(kind: pa.DataType) -> pa.DataType:
    """One Arrow type for each meaning: an encoding of one file is not a property of the column."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    return kind


def require_columns(schema: pa.Schema, request: ColumnsRequest, file: str) -> None:
    """Raises PlanError if `file` lacks the id or a text column, names a column twice, or holds no texts there."""
    names = schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PlanError(f"{file}: names the columns {twice} twice; every column needs its own name")
    for flag, name in (("--text-column", request.text), ("--text-pair-column", request.text_pair)):
        if name is None:
            continue
        if name not in names:
            raise PlanError(f"{file}: has no column {name!r}; it has {_listed(names)}: choose with {flag}")
        kind = schema.field(name).type
        if not is_text(kind):
            raise PlanError(f"{file}: column {name!r} is {kind}, not text; choose another with {flag}")
    if request.id is None:
        return
    if request.id not in names:
        raise PlanError(
            f"{file}: has no column {request.id!r}; it has {_listed(names)}: "
            "choose with --id-column, or make ids from file and row with --id-from position"
        )
    kind = schema.field(request.id).type
    if not (is_text(kind) or pa.types.is_integer(kind)):
        raise PlanError(f"{file}: id column {request.id!r} is {kind}; an id is a string or an integer")


def resolve(schema: pa.Schema, request: ColumnsRequest) -> Columns:
    """The columns of the job, given the union of all files' schemas; raises PlanError on names that clash."""
    special = {request.text, request.text_pair, request.id}
    unknown = [n for n in (*(request.keep or ()), *request.rename, *request.types) if n not in schema.names]
    if unknown and schema.names:
        raise PlanError(f"no column {unknown[0]!r} in the input; it has {_listed(schema.names)}")
    names = [n for n in schema.names if n not in special and (request.keep is None or n in request.keep)]
    fields = [pa.field(request.rename.get(n, n), request.types.get(n, schema.field(n).type)) for n in names]
    taken = [name for name, kept in zip(names, fields, strict=True) if kept.name in OWN_COLUMNS]
    if taken:
        raise PlanError(
            f"column {taken[0]!r} has the name of an output column; "
            f"rename it with --rename {taken[0]}=input_{taken[0]}, or leave it out with --keep"
        )
    out = [kept.name for kept in fields]
    if len(set(out)) != len(out):
        raise PlanError(f"--rename gives two columns the same name: {sorted(n for n in out if out.count(n) > 1)[0]!r}")
    return Columns(
        text=request.text,
        id=request.id,
        id_type=schema.field(request.id).type if request.id in schema.names else pa.string(),
        text_pair=request.text_pair,
        kept=pa.schema(fields),
        kept_from=tuple(names),
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "no columns"
