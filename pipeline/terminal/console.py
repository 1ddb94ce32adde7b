"""What a run prints while it works and when it ends: for people, or as one JSON object a line for machines."""

import datetime as dt
import logging
import os
import sys
import tempfile
import threading
import uuid
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from model.bundle import TENSORFLOW
from pipeline.errors import ConfigError
from pipeline.runners.silence import quiet_stderr
from pipeline.terminal.bar import STEPS, Bar, steps_of
from pipeline.terminal.escaping import escaped, json_text
from pipeline.terminal.summary import (
    compared,
    drifted,
    left_out,
    misfits,
    not_compared,
    notes,
    table_of,
    why,
    work_of,
)
from transforms.outputs.names import MANIFEST
from transforms.runs.run import read_manifest
from transforms.runs.verdict_record import (
    ALREADY_PUBLISHED,
    HELD,
    PUBLISHED,
    SUPERSEDED,
    Verdict,
)
from transforms.stores.paths import join

if TYPE_CHECKING:
    # With it comes TensorFlow, which commands that only look at files do without.
    from pipeline.preparing import Prepared

# Paths and names are printed as they are: brackets in them are no markup, colons no emoji.
PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True, "markup": False, "emoji": False}
PROGRESS_SECONDS = 120.0
"""How often a long local run prints a `progress` event."""


class Terminal(Console):
    """Everything is printed through this class: what comes from outside is escaped, cells of tables too."""

    def render_str(self, text: str, **options: Any) -> Text:
        """One string that is printed is one line."""
        return super().render_str(escaped(text), **options)


out, err = Terminal(**PLAIN), Terminal(stderr=True, **PLAIN)


class Reporter(Protocol):
    """How a command reports what happens. `progress` is the file for the reports of local workers, if there is one."""

    progress: str | None

    def opened(self) -> AbstractContextManager[None]: ...

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
    # What worker processes log comes to the root logger: quiet.steps_are_heard prints what is ours of it.
    logging.getLogger().setLevel(logging.WARNING)
    # What our own steps log is for the user: it may name a file, and quotes no text.
    logging.getLogger("transforms").setLevel(logging.WARNING)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")


def _progress_file() -> str:
    return os.path.join(tempfile.gettempdir(), f"bert-batch-{uuid.uuid4().hex}.progress")


class _Text:
    def __init__(self) -> None:
        self.progress = _progress_file() if err.is_terminal else None
        self._bar: Bar | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """On a terminal the bar is there from the beginning, before the input is looked at."""
        if self.progress is None:
            yield
            return
        # What libraries write to stderr meanwhile is hidden.
        with os.fdopen(os.dup(2), "w") as terminal:
            self._bar = Bar(Terminal(file=terminal, force_terminal=True, **PLAIN))
            with self._bar.drawn():
                yield

    @contextmanager
    def watch(self, prepared: "Prepared") -> Iterator[None]:
        """Shows a progress bar for a local run on a terminal; else only notes: on --only-new, and on what computes."""
        if prepared.passed_over is not None:
            err.print(not_compared(asdict(prepared.passed_over)))
        for note in prepared.choice.notes:
            err.print(note)
        path = prepared.compute.progress
        if path is None:
            with quiet_stderr():
                yield
            return
        opening = nullcontext() if self._bar else self.opened()
        try:
            with opening:
                assert self._bar
                with quiet_stderr(), self._bar.following(steps_of(prepared, path)):
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
                if manifest.get("engine", TENSORFLOW) != TENSORFLOW:
                    out.print(f"  engine     {manifest['engine']}")
                if manifest["settings"].get("only_new"):
                    out.print(f"  compared   {compared(manifest)}")
                if table := table_of(manifest):
                    out.print(f"  table      {table}")
                for sentence in left_out(manifest):
                    out.print(f"  drift      {sentence}")
            out.print(f"  work       {work_of(verdict)}")
            if verdict.kept_misfits:
                err.print(f"warning: {misfits(verdict)}")
            if drift := drifted(verdict):
                err.print(f"warning: {drift}")
        else:
            err.print(f"{verdict.status}, {why(verdict)}")
            if verdict.status == HELD and (drift := drifted(verdict)):
                err.print(drift)
            out.print(f"  rows       {rows}")
        for note in notes(verdict):
            out.print(f"  warning    {note}")
        if verdict.dead_codes and verdict.dead_letters and verdict.status != SUPERSEDED:
            first = verdict.dead_letters[0]
            out.print(f"  dead       {(first.path if verdict.status == PUBLISHED else first.staged).rsplit('/', 1)[0]}")
            for code, (count, example) in list(verdict.dead_codes.items())[:5]:
                out.print(f"             {count:>9,} {code}, for example {example}")


class _Json:
    def __init__(self) -> None:
        self.progress: str | None = _progress_file()

    def opened(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def watch(self, prepared: "Prepared") -> Iterator[None]:
        run, plan = prepared.run, prepared.plan
        about: dict[str, Any] = {"rows" if plan.exact else "estimated_rows": plan.rows}
        if prepared.passed_over is not None:
            about["not_compared_with"] = asdict(prepared.passed_over)
        about |= {"precision": prepared.choice.precision or "auto", "engine": prepared.choice.engine}
        about["notes"] = list(prepared.choice.notes)
        emit("planned", run_id=run.run_id, date=run.date.isoformat(), bundle=run.bundle, **about)
        path = prepared.compute.progress
        with quiet_stderr(), nullcontext() if path is None else _told_now_and_then(prepared, path):
            yield

    def verdict(self, verdict: Verdict) -> None:
        published, held = verdict.status == PUBLISHED, verdict.status == HELD
        manifest = read_manifest(join(verdict.folder, MANIFEST))[0] if published else None
        if published and verdict.kept_misfits:
            emit("warning", message=misfits(verdict), kept_misfits=dict(verdict.kept_misfits))
        for sentence in left_out(manifest) if manifest is not None else ():
            emit("warning", message=f"drift: {sentence}")
        if (published or held) and (drift := drifted(verdict)):
            emit("warning", message=drift, drift=verdict.drift)
        emit(
            verdict.status,
            run_id=verdict.run_id,
            folder=verdict.folder,
            table=table_of(manifest),
            counts=dict(verdict.counts),
            **({"at_least": True} if verdict.at_least else {}),
            dead_codes=dict(verdict.dead_codes),
            notes=dict(verdict.notes),
            padding_factor=verdict.padding_factor,
            problems=list(verdict.problems),
        )


@contextmanager
def _told_now_and_then(prepared: "Prepared", path: str) -> Iterator[None]:
    steps, stop = steps_of(prepared, path), threading.Event()

    def poll() -> None:
        while not stop.wait(PROGRESS_SECONDS):
            step, done, _ = steps.look()
            emit("progress", run_id=prepared.run.run_id, step=STEPS[step], rows_done=done)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        Path(path).unlink(missing_ok=True)


def print_json(document: Any) -> None:
    """Prints a JSON document for people, in colours on a terminal."""
    out.print(JSONHighlighter()(Text(json_text(document, indent=2))))


def emit(event: str, **fields: Any) -> None:
    """Prints one event as one line of JSON."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    sys.stdout.write(json_text({"time": now, "event": event, **fields}) + "\n")
    sys.stdout.flush()
