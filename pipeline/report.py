"""What the commands print: for people on a terminal, or one JSON object a line for machines."""

import datetime as dt
import json
import logging
import os
import sys
import tempfile
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from model.bundle import DESCRIPTION, Bundle, BundleError
from pipeline.config import ConfigError, JobConfig
from pipeline.dates import DateError
from pipeline.scoring import Prepared
from transforms.columns import PlanError
from transforms.plan import NoInputError
from transforms.progress import rows_done
from transforms.runs import MANIFEST, date_folder, read_manifest
from transforms.stores import join, store_for
from transforms.verdicts import Verdict

out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
USAGE_ERRORS = (ConfigError, DateError, BundleError, PlanError)


class Reporter(Protocol):
    """How a command tells what happens. `progress` is where local workers shall tell how far they are, if anywhere."""

    progress: str | None

    def quiet_libraries(self) -> None: ...

    def watch(self, prepared: Prepared) -> AbstractContextManager[None]: ...

    def verdict(self, job: JobConfig, verdict: Verdict) -> None: ...


def console_for(log_format: str) -> Reporter:
    """The reporter for `--log-format`; raises ConfigError for an unknown one."""
    if log_format not in ("text", "json"):
        raise ConfigError(f"--log-format {log_format!r} is unknown; use text or json")
    return _Text() if log_format == "text" else _Json()


class _Text:
    def __init__(self) -> None:
        name = f"bert-batch-{uuid.uuid4().hex}.progress"
        self.progress = os.path.join(tempfile.gettempdir(), name) if err.is_terminal else None

    def quiet_libraries(self) -> None:
        logging.getLogger().setLevel(logging.ERROR)
        warnings.simplefilter("ignore")

    @contextmanager
    def watch(self, prepared: Prepared) -> Iterator[None]:
        """A progress bar on a terminal, nothing in a pipe."""
        path = self.progress
        if path is None:
            yield
            return
        rate = TextColumn("rows  {task.fields[rate]}  left")
        columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
        with Progress(*columns, console=err) as progress:
            task = progress.add_task("", total=prepared.plan.rows or None, rate="")
            stop, start = threading.Event(), time.monotonic()

            def poll() -> None:
                while not stop.wait(0.5):
                    done = rows_done(path)
                    speed = f"{done / (time.monotonic() - start):,.0f} texts/s"
                    progress.update(task, completed=done, rate=speed)

            thread = threading.Thread(target=poll, daemon=True)
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()
                Path(path).unlink(missing_ok=True)

    def verdict(self, job: JobConfig, verdict: Verdict) -> None:
        counts = verdict.counts
        rows = f"{counts['read']:,} read = {counts['scored']:,} scored + {counts['dead']:,} dead letters"
        if verdict.status == "published":
            folder = verdict.folder
            manifest, _ = read_manifest(join(folder, MANIFEST))
            out.print(f"[green]published[/] {folder}")
            out.print(f"  rows       {rows}")
            if manifest is not None:
                out.print(f"  manifest   {join(folder, MANIFEST)} (sequence {manifest['sequence']})")
                out.print(f"  bundle     {manifest['bundle'][:60]}")
            work = f"{verdict.work['scored']:,} rows computed, {verdict.work['copied']:,} copied"
            out.print(f"  work       {work}, padding factor {verdict.padding_factor}")
        else:
            err.print(f"[red]{verdict.status}[/], nothing was published: {'; '.join(verdict.problems[:5])}")
            out.print(f"  rows       {rows}")
        if verdict.dead_codes:
            kept = verdict.dead_letters[0].path if verdict.status == "published" else verdict.dead_letters[0].staged
            out.print(f"  dead       {kept.rsplit('/', 1)[0]}")
            for code, (count, example) in list(verdict.dead_codes.items())[:5]:
                out.print(f"             {count:>9,} {code}, for example {example}")


class _Json:
    progress: str | None = None

    def quiet_libraries(self) -> None:
        handler = logging.StreamHandler()
        handler.setFormatter(_JsonFormatter())
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
        warnings.simplefilter("ignore")

    @contextmanager
    def watch(self, prepared: Prepared) -> Iterator[None]:
        run = prepared.run
        emit("planned", run_id=run.run_id, date=run.date.isoformat(), bundle=run.bundle, rows=prepared.plan.rows)
        yield

    def verdict(self, job: JobConfig, verdict: Verdict) -> None:
        emit(
            verdict.status,
            run_id=verdict.run_id,
            folder=verdict.folder,
            counts=dict(verdict.counts),
            dead_codes=dict(verdict.dead_codes),
            padding_factor=verdict.padding_factor,
            problems=list(verdict.problems),
        )


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _line(record.levelname.lower(), logger=record.name, message=record.getMessage())


def emit(event: str, **fields: Any) -> None:
    """Prints one event as one line of JSON."""
    sys.stdout.write(_line(event, **fields) + "\n")
    sys.stdout.flush()


def _line(event: str, **fields: Any) -> str:
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, "event": event, **fields}, ensure_ascii=False)


def explain(error: Exception, log_format: str) -> int:
    """Says what went wrong, in one line if the user can mend it, and gives the exit code."""
    if isinstance(error, NoInputError):
        code, text = 75, str(error)
    elif isinstance(error, USAGE_ERRORS) or type(error) is ValueError:
        code, text = 2, str(error)
    else:
        code, text = 1, f"{type(error).__name__}: {_without_data(error)}"
        frames = traceback.extract_tb(error.__traceback__)[-8:]
        text += "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    if log_format == "json":
        emit("error", code=code, message=text)
    else:
        err.print("error: " + text, markup=False)
    return code


def _without_data(error: Exception) -> str:
    # These quote the bytes they failed on, which may be somebody's text.
    quotes_data = isinstance(error, pa.ArrowException | UnicodeError) or type(error).__module__.startswith("tensorflow")
    return "(the message is withheld: it may quote a text)" if quotes_data else str(error)


def show_prepared(prepared: Prepared) -> None:
    """Prints what a job would do."""
    plan, run = prepared.plan, prepared.run
    about, size = "" if plan.exact else "about ", sum(info.size for info in plan.inputs)
    out.print(f"bundle   {run.bundle}")
    out.print(f"input    {len(plan.inputs):,} files, {size:,} bytes, {about}{plan.rows:,} rows")
    out.print(f"splits   {len(plan.splits):,}")
    out.print(f"output   {date_folder(run.output, run.date)} (sequence {run.sequence} now)")
    out.print("schema")
    for field in prepared.labelling.file_schema:
        out.print(f"  {field.name:<16} {field.type}{'' if field.nullable else ', required'}", markup=False)


def inspect_path(path: str) -> None:
    """Prints what is in a bundle or a published date; raises ConfigError if it is neither."""
    path = path.rstrip("/")
    if store_for(path).stat(join(path, DESCRIPTION)):
        _inspect_bundle(Bundle.load(path))
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


def show_rows(output: str, count: int, columns: Sequence[str]) -> None:
    """Prints rows from all over the first file of the newest published date below the folder `output`."""
    manifests = store_for(output).match(join(output, "dt=*", MANIFEST))
    manifest, _ = read_manifest(manifests[-1].path)
    table = Table(*columns)
    if manifest is not None and manifest["files"]:
        part = store_for(output).open(join(output, manifest["files"][0]["path"]))
        with part:
            rows = pq.read_table(part, columns=list(columns)).to_pylist()
            for row in rows[:: max(1, len(rows) // count)][:count]:
                table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()))
    out.print(table)


@contextmanager
def training_progress() -> Iterator[Callable[[Any], None] | None]:
    """A progress bar over the epochs on a terminal, nothing in a pipe."""
    if not err.is_terminal:
        yield None
        return
    with Progress(TextColumn("training"), BarColumn(), TextColumn("{task.fields[metrics]}"), console=err) as progress:
        task = progress.add_task("", total=None, metrics="")

        def show(state: Any) -> None:
            metrics = "  ".join(f"{name} {value:.4f}" for name, value in state.metrics.items())
            progress.update(task, total=state.epochs, completed=state.epoch, metrics=metrics)

        yield show
