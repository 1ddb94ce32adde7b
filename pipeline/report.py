"""What the commands print about errors, plans, bundles and published dates."""

import json
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from rich.table import Table

from model.bundle import DESCRIPTION, Bundle, BundleError
from pipeline.config import ConfigError
from pipeline.console import emit, err, out
from pipeline.dates import DateError
from pipeline.failures import RunFailedError, TryLaterError, cause
from transforms.bundles import open_bundle
from transforms.columns import PlanError
from transforms.deletion import examples, foreign
from transforms.history import read_manifests
from transforms.plan import NoInputError
from transforms.records import RecordError
from transforms.runs import MANIFEST, date_folder, read_manifest
from transforms.stores import join, store_for

if TYPE_CHECKING:
    # With it comes TensorFlow, which commands that only look at files do without.
    from pipeline.preparing import Prepared

USAGE_ERRORS = (ConfigError, DateError, BundleError, PlanError, RecordError)


def explain(error: Exception, log_format: str) -> int:
    """Says what went wrong, in one line if the user can mend it, and gives the exit code."""
    if isinstance(error, (NoInputError, TryLaterError)):
        code, text = 75, str(error)
    elif isinstance(error, USAGE_ERRORS) or type(error) is ValueError or _is_checkpoint_error(error):
        code, text = 2, str(error)
    else:
        code, text = 1, str(error) if isinstance(error, RunFailedError) else cause(error)
        source = error.__cause__ if isinstance(error, RunFailedError) else error.__cause__ or error
        frames = traceback.extract_tb(source.__traceback__)[-8:] if source else []
        text += "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    if log_format == "json":
        emit("error", code=code, message=text)
    else:
        err.print("error: " + text)
    return code


def _is_checkpoint_error(error: Exception) -> bool:
    from model.checkpoints import CheckpointError  # Imports TensorFlow.

    return isinstance(error, CheckpointError)


def show_prepared(prepared: "Prepared") -> None:
    """Prints what a job would do."""
    plan, run = prepared.plan, prepared.run
    about, size = "" if plan.exact else "about ", sum(info.size for info in plan.inputs)
    out.print(f"bundle   {run.bundle}")
    what = f"{len(plan.inputs):,} files" if plan.table is None else plan.table.source
    out.print(f"input    {what}, {size:,} bytes, {about}{plan.rows:,} rows")
    out.print(f"splits   {len(plan.splits):,}" if plan.table is None else "splits   made when the run starts")
    out.print(f"output   {date_folder(run.output, run.date)} (sequence {run.sequence} now)")
    if prepared.sink is not None:
        new = " (new)" if prepared.sink.table in prepared.new_tables else ""
        out.print(f"table    {prepared.sink.table}{new}, loaded from {prepared.sink.staging or run.output}")
    out.print("schema")
    for field in prepared.labelling.file_schema:
        out.print(f"  {field.name:<16} {field.type}{'' if field.nullable else ', required'}")


def show_foreign(output: str) -> None:
    """Says which files among those of an output are not its own, if there are any."""
    manifests = read_manifests(output)
    if found := foreign(output, manifests.named):
        out.print(f"not ours {examples(found)}: left alone by every command")


def inspect_path(path: str) -> None:
    """Prints what is in a bundle or a published date; raises ConfigError if it is neither."""
    path = path.rstrip("/")
    if store_for(path).stat(join(path, DESCRIPTION)):
        _inspect_bundle(open_bundle(path))
        return
    manifest, _ = read_manifest(join(path, MANIFEST))
    if manifest is None:
        raise ConfigError(f"{path}: is neither a bundle ({DESCRIPTION}) nor a published date ({MANIFEST})")
    out.print_json(json.dumps(manifest))


def _inspect_bundle(bundle: Bundle) -> None:
    table = Table(show_header=False, box=None)
    for name in ("name", "fingerprint", "task", "labels", "max_tokens", "segments", "tokenizer", "model", "precisions"):
        table.add_row(name, str(getattr(bundle, name)))
    for name, value in (*bundle.quality.items(), ("baseline", bundle.baseline), ("origin", bundle.origin)):
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
