"""What the commands print about errors, plans, bundles and published dates."""

import errno
import json
import os
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from rich.table import Table

from model.bundle import DESCRIPTION, Bundle, BundleError
from model.errors import CheckpointError
from pipeline.errors import BadInputError, ConfigError, DateError, RunFailedError, TryLaterError, cause
from pipeline.preparing import Comparison, FoundTable
from pipeline.terminal.console import emit, err, out, print_json
from pipeline.terminal.summary import compared, computed_in
from transforms.errors import NoInputError, NotWhatItClaimsError, PlanError, RecordError, own_sentence
from transforms.outputs.deletion import examples, foreign
from transforms.outputs.drift.histograms import baseline_of
from transforms.outputs.names import MANIFEST
from transforms.runs.history import read_manifests
from transforms.runs.labelling import Labelling
from transforms.runs.plan import Plan
from transforms.runs.run import Run, date_folder, read_manifest
from transforms.stores.bundles import open_bundle
from transforms.stores.choose import store_for
from transforms.stores.paths import absolute, join

if TYPE_CHECKING:
    # With it comes TensorFlow.
    from transforms.score.engines.choice import Choice

OF_A_PATH = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
"""Codes of the system for mistakes in a path that the user has given."""
USAGE_ERRORS = (
    *(ConfigError, DateError, BundleError, PlanError, CheckpointError, RecordError),
    *(BadInputError, NotWhatItClaimsError),
)


def told_of(error: Exception) -> tuple[int, list[str]]:
    """The exit code, and what went wrong: one line for each mistake that the user can correct."""
    if isinstance(error, (NoInputError, TryLaterError)):
        code, lines = 75, [str(error)]
    elif isinstance(error, ConfigError):
        code, lines = 2, [str(problem) for problem in error.args]
    elif isinstance(error, USAGE_ERRORS) or type(error) is ValueError:
        code, lines = 2, [str(error)]
    elif isinstance(error, OSError) and error.errno in OF_A_PATH and isinstance(error.filename, str):
        code, lines = 2, [f"{error.filename}: {own_sentence(error) or os.strerror(error.errno).lower()}"]
    else:
        code, lines = 1, [str(error) if isinstance(error, RunFailedError) else cause(error)]
        source = error.__cause__ if isinstance(error, RunFailedError) else error.__cause__ or error
        frames = traceback.extract_tb(source.__traceback__)[-8:] if source else []
        lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return code, lines


def explain(error: Exception, log_format: str) -> int:
    """Prints what went wrong, and gives the exit code."""
    code, lines = told_of(error)
    if log_format == "json":
        emit("error", code=code, message="\n".join(lines))
    else:
        err.print("error: " + lines[0])
        for line in lines[1:]:
            err.print(line)
    return code


def show_found(found: "Bundle | Plan | Run | FoundTable | Labelling | Comparison | Choice") -> None:
    """Prints a part of what a job would do, as `prepare` finds it."""
    match found:
        case Bundle():
            out.print(f"bundle   {found.reference}")
            width = found.embedding_width
            out.print(f"         {f'embeddings of {width:,} numbers' if width else 'gives no embeddings'}")
        case Plan():
            about, size = "" if found.exact else "about ", sum(info.size for info in found.inputs)
            what = f"{len(found.inputs):,} files" if found.table is None else found.table.source
            out.print(f"input    {what}, {size:,} bytes, {about}{found.rows:,} rows")
            out.print(f"splits   {len(found.splits):,}" if found.table is None else "splits   made when the run starts")
        case Run():
            out.print(f"output   {date_folder(found.output, found.date)} (sequence {found.sequence} now)")
        case FoundTable():
            out.print(f"table    {found.name}{' (new)' if found.new else ''}, loaded from {found.loaded_from}")
        case Comparison(about):
            out.print(f"compared {compared(about)}")
        case Labelling():
            out.print("schema")
            for field in found.file_schema:
                out.print(f"  {field.name:<16} {field.type}{'' if field.nullable else ', required'}")
        case _:
            show_choice(found)


def show_choice(choice: "Choice") -> None:
    """Prints what will compute the rows, and why."""
    out.print(f"computed {computed_in(choice)}")
    for note in choice.notes:
        out.print(f"         {note}")


def show_foreign(output: str) -> None:
    """Prints which files in the folders of an output are not its own, if there are any."""
    manifests = read_manifests(output)
    if found := foreign(output, manifests.named):
        out.print(f"not ours {examples(found)}: left alone by every command")


def inspect_path(path: str) -> None:
    """Prints what is in a bundle or a published date; raises ConfigError if it is neither."""
    path = path.rstrip("/") if path.strip("/") else path
    if os.path.isfile(path):
        raise ConfigError(f"{path}: is a file; give the folder of a bundle, or of a published date")
    if store_for(path).stat(join(path, DESCRIPTION)):
        _inspect_bundle(open_bundle(path))
        return
    manifest, _ = read_manifest(join(absolute(path), MANIFEST))
    if manifest is None:
        raise ConfigError(f"{path}: is neither a bundle ({DESCRIPTION}) nor a published date ({MANIFEST})")
    print_json(manifest)


def _inspect_bundle(bundle: Bundle) -> None:
    table = Table(show_header=False, box=None)
    table.add_column()
    # A fingerprint that is cut short is none.
    table.add_column(overflow="fold")
    names = ("name", "fingerprint", "format", "task", "labels", "activation", "max_tokens", "segments", "tokenizer")
    for name in (*names, "graph", "model", "precisions", "embedding_width"):
        table.add_row(name, str(getattr(bundle, name)))
    if bundle.thresholds:
        table.add_row("thresholds", ", ".join(f"{threshold:.4f}" for threshold in bundle.thresholds))
    if bundle.long_texts:
        table.add_row("long_texts", json.dumps(bundle.long_texts))
    summary = baseline_of(bundle.baseline)
    told = {"summary": f"of {summary['rows']:,} validation rows"} if summary else {}
    baseline = {**bundle.baseline, **told}
    for name, value in (*bundle.quality.items(), ("baseline", baseline), ("origin", bundle.origin)):
        table.add_row(name, json.dumps(value))
    table.add_row("created", bundle.created)
    out.print(table)


def show_rows(folder: str, count: int, columns: Sequence[str]) -> None:
    """Prints rows from all over the first file of the published date in `folder`."""
    manifest, _ = read_manifest(join(folder, MANIFEST))
    table = Table(*columns)
    if manifest is not None and manifest["files"]:
        name = manifest["files"][0]["path"].rsplit("/", 1)[1]
        with store_for(folder).open(join(folder, name)) as part:
            rows = pq.read_table(part, columns=list(columns)).to_pylist()
        for row in rows[:: max(1, len(rows) // count)][:count]:
            table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()))
    out.print(table)
