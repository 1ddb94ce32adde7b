"""What a run tells while it goes and when it ends: to people on a terminal, or one JSON object a line to machines."""

import datetime as dt
import json
import logging
import os
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.config import ConfigError
from pipeline.preparing import Prepared
from pipeline.quiet import quiet_stderr
from transforms.history import is_expired
from transforms.progress import rows_done
from transforms.runs import MANIFEST, read_manifest
from transforms.stores import join
from transforms.verdicts import (
    ABANDONED,
    ALREADY_PUBLISHED,
    OVER_BUDGET,
    PUBLISHED,
    SUPERSEDED,
    UNBALANCED,
    Verdict,
)

if TYPE_CHECKING:
    # With it comes TensorFlow, which commands that only look at files do without.
    from pipeline.preparing import Prepared

# Paths and names are printed as they are: brackets in them are no markup, colons no emoji.
PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True, "markup": False, "emoji": False}
out, err = Console(**PLAIN), Console(stderr=True, **PLAIN)
EXIT_CODES = {PUBLISHED: 0, UNBALANCED: 1, ABANDONED: 1, OVER_BUDGET: 3, SUPERSEDED: 4, ALREADY_PUBLISHED: 99}


class Reporter(Protocol):
    """How a command tells what happens. `progress` is where local workers shall tell how far they are, if anywhere."""

    progress: str | None

    def watch(self, prepared: "Prepared") -> AbstractContextManager[None]: ...

    def verdict(self, verdict: Verdict) -> None: ...


def console_for(log_format: str) -> Reporter:
    """The reporter for `--log-format`; raises ConfigError for an unknown one."""
    if log_format not in ("text", "json"):
        raise ConfigError(f"--log-format {log_format!r} is unknown; use text or json")
    quiet_libraries()
    return _Text() if log_format == "text" else _Json()


def quiet_libraries() -> None:
    """Beam logs an error with its whole message, which may quote a text, before it hands the error to us."""
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")


class _Text:
    def __init__(self) -> None:
        name = f"bert-batch-{uuid.uuid4().hex}.progress"
        self.progress = os.path.join(tempfile.gettempdir(), name) if err.is_terminal else None

    @contextmanager
    def watch(self, prepared: "Prepared") -> Iterator[None]:
        """A progress bar on a terminal for a local run, nothing otherwise."""
        path = prepared.compute.progress
        if path is None:
            with quiet_stderr():
                yield
            return
        terminal = os.fdopen(os.dup(2), "w")
        console = Console(file=terminal, force_terminal=True, **PLAIN)
        try:
            with terminal, quiet_stderr(), _bar(prepared, path, console):
                yield
        finally:
            Path(path).unlink(missing_ok=True)

    def verdict(self, verdict: Verdict) -> None:
        counts = verdict.counts or {"read": 0, "scored": 0, "dead": 0}
        if verdict.status == ALREADY_PUBLISHED:
            out.print(f"already published {verdict.folder}, by run {verdict.run_id}: --if-published is skip")
            return
        skipped = f"{counts['skipped']:,} unchanged + " if counts.get("skipped") else ""
        at_least = "at least " if verdict.at_least else ""
        read, scored = f"{at_least}{counts['read']:,} read", f"{counts['scored']:,} scored"
        rows = f"{read} = {scored} + {skipped}{counts['dead']:,} dead letters"
        if verdict.status == PUBLISHED:
            manifest, _ = read_manifest(join(verdict.folder, MANIFEST))
            out.print(f"published {verdict.folder}")
            out.print(f"  rows       {rows}")
            if manifest is not None:
                out.print(f"  manifest   {join(verdict.folder, MANIFEST)} (sequence {manifest['sequence']})")
                out.print(f"  bundle     {manifest['bundle']}")
                if manifest["settings"].get("only_new"):
                    out.print(f"  compared   {_compared(manifest)}")
                if table := _table(manifest):
                    out.print(f"  table      {table}")
            out.print(f"  work       {_work(verdict)}")
        else:
            err.print(f"{verdict.status}, {_why(verdict)}")
            out.print(f"  rows       {rows}")
        if verdict.dead_codes and verdict.status != SUPERSEDED:
            first = verdict.dead_letters[0]
            out.print(f"  dead       {(first.path if verdict.status == PUBLISHED else first.staged).rsplit('/', 1)[0]}")
            for code, (count, example) in list(verdict.dead_codes.items())[:5]:
                out.print(f"             {count:>9,} {code}, for example {example}")


def _table(manifest: dict[str, Any] | None) -> str | None:
    """The BigQuery table that a date was published into, if any."""
    table = (manifest or {}).get("table")
    return table and str(table["table"])


def _compared(manifest: dict[str, Any]) -> str:
    found = manifest.get("compared_with")
    if found is None:
        return "with no date: none up to this one has this bundle, precision and top_k; every row was scored"
    return f"with dt={found['date']}"


def _work(verdict: Verdict) -> str:
    work = verdict.work
    copied = work["copied"] + work["remembered"]
    computed = f"{work['scored']:,} rows computed in {work['precision'] or 'no precision'}, {copied:,} copied"
    return f"{computed}, padding factor {verdict.padding_factor}"


def _why(verdict: Verdict) -> str:
    if verdict.status == SUPERSEDED:
        manifest, _ = read_manifest(join(verdict.folder, MANIFEST))
        if manifest is not None and is_expired(manifest):
            return "the rows of the date were deleted for their age; score the date again to have them back"
        return "another run of the date was published; its rows stay"
    return f"nothing was published: {'; '.join(verdict.problems[:5])}"


@contextmanager
def _bar(prepared: "Prepared", path: str, console: Console) -> Iterator[None]:
    rate = TextColumn("rows  {task.fields[rate]}  left")
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
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


class _Json:
    progress: str | None = None

    @contextmanager
    def watch(self, prepared: "Prepared") -> Iterator[None]:
        run, plan = prepared.run, prepared.plan
        about = {"rows" if plan.exact else "estimated_rows": plan.rows}
        emit("planned", run_id=run.run_id, date=run.date.isoformat(), bundle=run.bundle, **about)
        with quiet_stderr():
            yield

    def verdict(self, verdict: Verdict) -> None:
        published = verdict.status == PUBLISHED
        emit(
            verdict.status,
            run_id=verdict.run_id,
            folder=verdict.folder,
            table=_table(read_manifest(join(verdict.folder, MANIFEST))[0]) if published else None,
            counts=dict(verdict.counts),
            **({"at_least": True} if verdict.at_least else {}),
            dead_codes=dict(verdict.dead_codes),
            padding_factor=verdict.padding_factor,
            problems=list(verdict.problems),
        )


def emit(event: str, **fields: Any) -> None:
    """Prints one event as one line of JSON."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    sys.stdout.write(json.dumps({"time": now, "event": event, **fields}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


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
