"""Which columns a job reads: the user's wishes against the schema the files turn out to have."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from transforms.batches.formats import LONGEST_TEXT
from transforms.batches.schemas import DATE_KEY, Columns
from transforms.batches.score_columns import written_names
from transforms.batches.texts import is_text
from transforms.errors import PlanError, shown
from transforms.read.missing_columns import Asked, absent, missing
from transforms.read.values.convert import convertible
from transforms.read.values.ids import is_id
from transforms.read.values.kinds import has_nulls, meet_as_text, plain, without_nulls
from transforms.read.values.label_types import check_label
from transforms.read.values.paths import Path, pruned_type


@dataclass(frozen=True, kw_only=True)
class ColumnsRequest:
    """What the user said about columns. `id` None asks for ids from positions; `keep` None keeps all but the text.

    `types` overrides the types found in the files; `guess` lets numbers of a CSV be numbers. `strict` makes a dead
    letter of a row with a kept value that does not fit. `label` is the one of `keep` that a training learns; with
    `listed` its values are lists of labels.
    """

    text: str = "text"
    id: str | None = "id"
    text_pair: str | None = None
    keep: tuple[str, ...] | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    label: str | None = None
    listed: bool = False
    guess: bool = False
    strict: bool = False
    max_text_bytes: int = LONGEST_TEXT

    @property
    def needed(self) -> Asked:
        """The columns without which there is no row, each behind its flag."""
        named = (("--text-column", self.text), ("--text-pair-column", self.text_pair), ("--id-column", self.id))
        return tuple((flag, name) for flag, name in named if name is not None)

    @property
    def needed_names(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.needed)

    @property
    def wished(self) -> Asked:
        """The other columns that are asked for by name, each behind its flag."""
        kept = tuple(("--label-column" if name == self.label else "--keep", name) for name in self.keep or ())
        return (*kept, *(("--rename", name) for name in self.rename), *(("--schema", name) for name in self.types))

    @property
    def asked(self) -> tuple[str, ...]:
        """All names, each once."""
        return tuple(dict.fromkeys(name for _, name in (*self.needed, *self.wished)))

    def keeps(self, name: str, *, in_struct: bool = False) -> bool:
        """Whether the column `name` goes into the output beside ours. The text does if it is asked for by name.

        So does a column that lies in a struct (`in_struct`).
        """
        if self.keep is None:
            return not in_struct and name not in (self.text, self.text_pair, self.id)
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
                check_label(found, kind, file, listed=self._request.listed)
            if kind is not None and not convertible(plain(found.type), kind):
                raise PlanError(
                    f"{file}: column {shown(found.name)} is {found.type}, of which --schema cannot make {kind}; "
                    f"leave the flag out, or give --schema {found.name}:string"
                )
            self._add_field(pa.field(found.name, kind or plain(found.type)), file)

    def _settled(self, kind: pa.DataType) -> pa.DataType:
        return pa.string() if self._json and has_nulls(kind) else without_nulls(kind)

    def _add_field(self, found: pa.Field, file: str) -> None:
        so_far = self._fields.setdefault(found.name, found)
        if so_far.type == found.type:
            return
        try:
            both = pa.unify_schemas([pa.schema([so_far]), pa.schema([found])], promote_options="permissive")
            merged = both.field(0)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            if not self._loose and self._request.keeps(found.name) and not meet_as_text(so_far.type, found.type):
                times = pa.types.is_temporal(so_far.type) and pa.types.is_temporal(found.type)
                raise PlanError(
                    f"{file}: column {found.name!r} is {found.type}, but {so_far.type} in the files before it; leave "
                    f"the file out, or give the type with --schema {found.name}:{'timestamp' if times else 'string'}"
                ) from error
            merged = pa.field(found.name, pa.string())
            self.met_as_text.add(found.name)
        self._fields[found.name] = merged


def require_columns(
    schema: pa.Schema,
    request: ColumnsRequest,
    file: str,
    *,
    with_header: bool = False,
    anywhere: Collection[str] = (),
) -> None:
    """Raises PlanError if `file` lacks the id or a text column, names a column twice, or holds no texts there.

    `with_header`: the names stand in the first line of a CSV, which may be one of values if it is no header.
    `anywhere`: the columns of all files, if there are others; those that none has are named too.
    """
    names = schema.names
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise PlanError(f"{file}: names the columns {twice} twice; every column needs its own name")
    fault = missing(
        schema,
        request.needed,
        request.wished,
        anywhere=anywhere,
        with_header=with_header,
        training=request.label is not None,
    )
    if fault is not None:
        raise PlanError(f"{file}: {fault}")
    for flag, name in (("--text-column", request.text), ("--text-pair-column", request.text_pair)):
        if name is None:
            continue
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
    kind = schema.field(request.id).type
    if request.id not in request.types and not is_id(kind):
        raise PlanError(
            f"{file}: id column {request.id!r} is {kind}; an id is a string, a whole number or a UUID: choose another "
            f"with --id-column, or take its values as text with --schema {request.id}:string"
        )


def resolve(
    schema: pa.Schema,
    request: ColumnsRequest,
    *,
    paths: Mapping[str, Path] | None = None,
    folders: Collection[str] = (),
) -> Columns:
    """The columns of the job, given the union of all files' schemas; raises PlanError on names that clash.

    `paths` are those of columns inside structs. `folders` are the folder columns that no file has as a column.
    """
    there, paths = dict(zip(schema.names, schema, strict=True)), paths or {}
    if there and (fault := absent(schema, request.wished)) is not None:
        raise PlanError(fault)
    names = [n for n in there if request.keeps(n, in_struct=n in paths) or _is_kept_id(there[n], request, paths)]
    if request.keep is None and DATE_KEY in folders and request.rename.get(DATE_KEY, DATE_KEY) == DATE_KEY:
        # The folders of the output have that key.
        names = [name for name in names if name != DATE_KEY]
    idle = {name: f"--rename {name}={new}" for name, new in request.rename.items() if name not in names}
    typed = {name: f"--schema {name}:…" for name in request.types if name in paths}
    idle |= {name: flag for name, flag in typed.items() if name not in (*names, *request.needed_names)}
    if idle and there:
        name, flag = min(idle.items())
        raise PlanError(f"{flag}: column {name!r} is not among those kept")
    without = _texts_in_structs(names, request, paths)
    kinds = {name: _type_without(there[name].type, name, without) for name in names}
    kept = [(name, pa.field(_out(name, request, paths), kind)) for name, kind in kinds.items() if kind is not None]
    out = [field.name for _, field in kept]
    if len(set(out)) != len(out):
        twice = next(name for name in out if out.count(name) > 1)
        raise PlanError(f"--keep and --rename give two columns the same name: {twice!r}; choose with --rename")
    return Columns(
        text=request.text,
        id=request.id,
        id_type=_id_type(schema, request.id),
        text_pair=request.text_pair,
        kept=pa.schema([field for _, field in kept]),
        kept_from=tuple(name for name, _ in kept),
        label=request.label,
        types=dict(request.types),
        strict=request.strict,
        max_text_bytes=request.max_text_bytes,
        paths=dict(paths),
        without=without,
    )


def check_names(
    columns: Columns,
    task: str,
    *,
    folder: bool = True,
    decision: bool = False,
    embedding: bool = False,
    windows: bool = False,
) -> None:
    """Raises PlanError if a kept column has the name of a column that the job writes (see written_names)."""
    taken = written_names(task, folder=folder, decision=decision, embedding=embedding, windows=windows)
    for name, kept in zip(columns.kept_from, columns.kept, strict=True):
        if kept.name in taken:
            raise PlanError(
                f"column {name!r} has the name of an output column; "
                f"rename it with --rename {name}=input_{kept.name}, or leave it out with --keep"
            )


def _out(name: str, request: ColumnsRequest, paths: Mapping[str, Path]) -> str:
    """The name of a kept column in the output. BigQuery has no dots in names."""
    return request.rename.get(name, name.replace(".", "_") if name in paths else name)


def _is_kept_id(column: pa.Field, request: ColumnsRequest, paths: Mapping[str, Path]) -> bool:
    """Whether the id is also kept under its own name and in its own type, so that joins need no cast."""
    name = column.name
    named = name in (request.rename if request.keep is None else request.keep)
    if name != request.id or not named or pa.types.is_string(column.type):
        return False
    return _out(name, request, paths) != "id"


def _texts_in_structs(names: Sequence[str], request: ColumnsRequest, paths: Mapping[str, Path]) -> tuple[Path, ...]:
    """The paths of texts in structs that are kept because everything but the text is."""
    if request.keep is not None:
        return ()
    texts = [paths[name] for name in (request.text, request.text_pair) if name is not None and name in paths]
    return tuple(path for path in texts if path[0] in names)


def _type_without(kind: pa.DataType, name: str, without: Sequence[Path]) -> pa.DataType | None:
    for path in without:
        if path[0] == name and kind is not None:
            kind = pruned_type(kind, path[1:])
    return kind


def _id_type(schema: pa.Schema, name: str | None) -> pa.DataType:
    found = schema.field(name).type if name in schema.names else pa.string()
    return found if pa.types.is_integer(found) else pa.string()
