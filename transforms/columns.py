"""Which columns a job reads: the user's wishes against the schema the files turn out to have."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from transforms.blocks import is_text
from transforms.schemas import LONGEST_TEXT, OWN_COLUMNS, Columns


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
    max_text_bytes: int = LONGEST_TEXT

    def keeps(self, name: str) -> bool:
        """Whether the column `name` goes into the output beside ours. The text does if it is asked for by name."""
        if self.keep is None:
            return name not in (self.text, self.text_pair, self.id)
        return name in self.keep and name != self.id


class SchemaUnion:
    """The columns of all files so far, integers and floats widened.

    What cannot be widened is an error, unless nothing depends on it: a column that is not kept or whose type the
    request gives. `loose` (CSV) makes a string of what differs.
    """

    def __init__(self, request: ColumnsRequest, *, loose: bool) -> None:
        self._request, self._loose = request, loose
        self._seen: set[str] = set()
        self._schema = pa.schema([])

    @property
    def schema(self) -> pa.Schema:
        """What there is so far; a column that is null wherever one looked is a string."""
        return pa.schema([pa.field(f.name, _without_nulls(f.type)) for f in self._schema])

    def add(self, schema: pa.Schema, file: str) -> None:
        """Takes in the schema of `file`; raises PlanError naming it when it does not fit the others."""
        text = schema.to_string(show_schema_metadata=False)
        if text in self._seen:
            return
        self._seen.add(text)
        for found in schema:
            kind = self._request.types.get(found.name, _plain(found.type))
            self._add_field(pa.field(found.name, kind), file)

    def _add_field(self, found: pa.Field, file: str) -> None:
        at = self._schema.get_field_index(found.name)
        if at < 0:
            self._schema = self._schema.append(found)
            return
        so_far = self._schema.field(at)
        try:
            both = pa.unify_schemas([pa.schema([so_far]), pa.schema([found])], promote_options="permissive")
            merged = both.field(0)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            if not self._loose and self._request.keeps(found.name):
                raise PlanError(
                    f"{file}: column {found.name!r} is {found.type}, but {so_far.type} in the files before it; "
                    f"leave the file out, or give the type with --schema {found.name}:string"
                ) from error
            merged = pa.field(found.name, pa.string())
        self._schema = self._schema.set(at, merged)


def _plain(kind: pa.DataType) -> pa.DataType:
    """One Arrow type for each meaning: an encoding of one file is not a property of the column."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    return _nested(kind, _plain)


def _without_nulls(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_null(kind) else _nested(kind, _without_nulls)


def _nested(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """`kind` with `change` applied to the types inside it."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(change(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(change(kind.value_type)))
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
    unknown = [n for n in (*(request.keep or ()), *request.rename, *request.types) if n not in schema.names]
    if unknown and schema.names:
        raise PlanError(f"no column {unknown[0]!r} in the input; it has {_listed(schema.names)}")
    names = [n for n in schema.names if request.keeps(n)]
    idle = sorted(set(request.rename) - set(names))
    if idle and schema.names:
        raise PlanError(f"--rename {idle[0]}={request.rename[idle[0]]}: column {idle[0]!r} is not among those kept")
    fields = [pa.field(request.rename.get(n, n), schema.field(n).type) for n in names]
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
        id_type=_id_type(schema, request.id),
        text_pair=request.text_pair,
        kept=pa.schema(fields),
        kept_from=tuple(names),
        max_text_bytes=request.max_text_bytes,
    )


def _id_type(schema: pa.Schema, name: str | None) -> pa.DataType:
    found = schema.field(name).type if name in schema.names else pa.string()
    return found if pa.types.is_integer(found) else pa.string()


def shown(name: str) -> str:
    """The name of a column as an error may print it."""
    # A CSV without a header has a row of values for names: they are nobody's to print.
    return repr(name if len(name) <= 24 else name[:12] + "…")


def _listed(names: Iterable[str]) -> str:
    listed = [shown(name) for name in names]
    more = f" and {len(listed) - 20} more" if len(listed) > 20 else ""
    return (", ".join(listed[:20]) or "no columns") + more
