"""Which columns a job reads: the user's wishes against the schema the files turn out to have."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from transforms.batches.formats import LONGEST_TEXT
from transforms.batches.schemas import OWN_COLUMNS, Columns
from transforms.batches.texts import is_plain, is_text
from transforms.errors import PlanError, shown
from transforms.read.values.convert import convertible
from transforms.read.values.ids import is_id


@dataclass(frozen=True, kw_only=True)
class ColumnsRequest:
    """What the user said about columns. `id` None asks for ids from positions; `keep` None keeps all but the text.

    `types` overrides the types found in the files; `guess` lets numbers of a CSV be numbers. `strict` makes a dead
    letter of a row with a kept value that does not fit. `label` is the one of `keep` that a training learns.
    """

    text: str = "text"
    id: str | None = "id"
    text_pair: str | None = None
    keep: tuple[str, ...] | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    label: str | None = None
    guess: bool = False
    strict: bool = False
    max_text_bytes: int = LONGEST_TEXT

    def keeps(self, name: str) -> bool:
        """Whether the column `name` goes into the output beside ours. The text does if it is asked for by name."""
        if self.keep is None:
            return name not in (self.text, self.text_pair, self.id)
        return name in self.keep and name != self.id


class SchemaUnion:
    """The columns of all files so far, integers and floats widened.

    Single values that cannot be widened meet as text; others are an error, unless nothing depends on it: a column that
    is not kept or whose type the request gives. `loose` (text formats) makes a string of what differs. `json`: a key
    whose type is not known, at whatever depth, is a string that holds JSON.
    """

    def __init__(self, request: ColumnsRequest, *, loose: bool, json: bool = False) -> None:
        self._request, self._loose, self._json = request, loose or json, json
        self._seen: set[str] = set()
        self._fields: dict[str, pa.Field] = {}
        self.met_as_text: set[str] = set()

    @property
    def schema(self) -> pa.Schema:
        """What there is so far; a column that is null wherever one looked is a string."""
        return pa.schema([pa.field(f.name, self._settled(f.type)) for f in self._fields.values()])

    def add(self, schema: pa.Schema, file: str) -> None:
        """Takes in the schema of `file`; raises PlanError naming it when it does not fit the others."""
        text = schema.to_string(show_schema_metadata=False)
        if text in self._seen:
            return
        self._seen.add(text)
        for found in schema:
            kind = self._request.types.get(found.name)
            if found.name == self._request.label:
                _check_label(found, kind, file)
            if kind is not None and not convertible(_plain(found.type), kind):
                raise PlanError(
                    f"{file}: column {shown(found.name)} is {found.type}, of which --schema cannot make {kind}; "
                    f"leave the flag out, or give --schema {found.name}:string"
                )
            self._add_field(pa.field(found.name, kind or _plain(found.type)), file)

    def _settled(self, kind: pa.DataType) -> pa.DataType:
        return pa.string() if self._json and _has_nulls(kind) else _without_nulls(kind)

    def _add_field(self, found: pa.Field, file: str) -> None:
        so_far = self._fields.setdefault(found.name, found)
        if so_far.type == found.type:
            return
        try:
            both = pa.unify_schemas([pa.schema([so_far]), pa.schema([found])], promote_options="permissive")
            merged = both.field(0)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            if not self._loose and self._request.keeps(found.name) and not _meet_as_text(so_far.type, found.type):
                times = pa.types.is_temporal(so_far.type) and pa.types.is_temporal(found.type)
                raise PlanError(
                    f"{file}: column {found.name!r} is {found.type}, but {so_far.type} in the files before it; leave "
                    f"the file out, or give the type with --schema {found.name}:{'timestamp' if times else 'string'}"
                ) from error
            merged = pa.field(found.name, pa.string())
            self.met_as_text.add(found.name)
        self._fields[found.name] = merged


def _check_label(found: pa.Field, kind: pa.DataType | None, file: str) -> None:
    """Raises PlanError for a column whose values are no labels of a training that takes `kind`."""
    if pa.types.is_nested(_plain(found.type)):
        what = "a label is one string, number or boolean"
    elif kind is not None and not convertible(_plain(found.type), kind):
        what = f"of which no {kind} can be made; for classes leave --task regression out"
    else:
        return
    raise PlanError(f"{file}: label column {shown(found.name)} is {found.type}: {what}, or choose with --label-column")


def _meet_as_text(one: pa.DataType, other: pa.DataType) -> bool:
    # Times of two kinds are times: the user says which.
    times = pa.types.is_temporal(one) and pa.types.is_temporal(other)
    return is_plain(one) and is_plain(other) and not times


def _has_nulls(kind: pa.DataType) -> bool:
    return pa.types.is_null(kind) or any(_has_nulls(kind.field(i).type) for i in range(kind.num_fields))


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


def require_columns(schema: pa.Schema, request: ColumnsRequest, file: str, *, with_header: bool = False) -> None:
    """Raises PlanError if `file` lacks the id or a text column, names a column twice, or holds no texts there.

    `with_header`: the names stand in the first line of a CSV, which may be one of values if it is no header.
    """
    names = schema.names
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise PlanError(f"{file}: names the columns {twice} twice; every column needs its own name")
    for flag, name in (("--text-column", request.text), ("--text-pair-column", request.text_pair)):
        if name is None:
            continue
        if name not in names:
            raise PlanError(f"{file}: has no column {name!r}; {_there(names, request, with_header)}choose with {flag}")
        kind, declared = schema.field(name).type, request.types.get(name)
        if declared is not None and not pa.types.is_string(declared):
            raise PlanError(f"--schema {name}:…: a text is a string; leave the flag out, or choose another with {flag}")
        if declared is None and not is_text(kind):
            raise PlanError(
                f"{file}: column {name!r} is {kind}, not text; choose another with {flag}, "
                f"or take its values as text with --schema {name}:string"
            )
    if request.id is None:
        return
    if request.id not in names:
        raise PlanError(
            f"{file}: has no column {request.id!r}; {_there(names, request, with_header)}"
            "choose with --id-column, or make ids from file and row with --id-from position"
        )
    kind = schema.field(request.id).type
    if request.id not in request.types and not is_id(kind):
        raise PlanError(
            f"{file}: id column {request.id!r} is {kind}; an id is a string, a whole number or a UUID: choose another "
            f"with --id-column, or take its values as text with --schema {request.id}:string"
        )


def resolve(schema: pa.Schema, request: ColumnsRequest) -> Columns:
    """The columns of the job, given the union of all files' schemas; raises PlanError on names that clash."""
    there = dict(zip(schema.names, schema, strict=True))
    unknown = [n for n in (*(request.keep or ()), *request.rename, *request.types) if n not in there]
    if unknown and there:
        choose = ": choose with --label-column" if unknown[0] == request.label else ""
        raise PlanError(f"no column {unknown[0]!r} in the input; it has {_listed(there)}{choose}")
    names = [n for n in there if request.keeps(n)]
    idle = sorted(set(request.rename) - set(names))
    if idle and there:
        raise PlanError(f"--rename {idle[0]}={request.rename[idle[0]]}: column {idle[0]!r} is not among those kept")
    fields = [pa.field(request.rename.get(n, n), there[n].type) for n in names]
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
        label=request.label,
        types=dict(request.types),
        strict=request.strict,
        max_text_bytes=request.max_text_bytes,
    )


def _id_type(schema: pa.Schema, name: str | None) -> pa.DataType:
    found = schema.field(name).type if name in schema.names else pa.string()
    return found if pa.types.is_integer(found) else pa.string()


def _there(names: list[str], request: ColumnsRequest, with_header: bool) -> str:
    """What columns there are, as an error may say it."""
    asked = {request.id, request.text, request.text_pair} - {None}
    # Without one of the names in question, the first line is more likely one of values, which are nobody's to print.
    if with_header and not asked & set(names):
        what = "its first line has 1 field" if len(names) == 1 else f"its first line has {len(names):,} fields"
        return f"{what}, none of them named {' or '.join(map(repr, sorted(map(str, asked))))}: if that is a header, "
    return f"it has {_listed(names)}: "


def _listed(names: Iterable[str]) -> str:
    listed = [shown(name) for name in names]
    more = f" and {len(listed) - 20} more" if len(listed) > 20 else ""
    return (", ".join(listed[:20]) or "no columns") + more
