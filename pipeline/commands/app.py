"""The commands. Heavy imports happen inside them, so that --help answers at once."""

import functools
import io
import os
import sys
from typing import Annotated, Any

import typer

from pipeline.commands.certify import certify
from pipeline.commands.comparing.command import compare
from pipeline.commands.demo import demo
from pipeline.commands.flags import JobFile, LogFormat, flags_of, job_of
from pipeline.commands.help import SETTINGS, PlainCommand, PlainGroup
from pipeline.commands.import_model import import_checkpoint
from pipeline.commands.quantize import quantize
from pipeline.commands.runs import clean, publish_run, report, show_runs
from pipeline.commands.score import backfill_job, check_job, publish_job, with_report
from pipeline.commands.start import end_of_process, imports_begin, run
from pipeline.commands.submit import send, submit
from pipeline.commands.train import train
from pipeline.jobs.config import JobConfig
from pipeline.jobs.fields import NIGHTS, WHERE
from pipeline.runners.silence import quiet_stderr

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

DONE, FAILED = 0, 1

app = typer.Typer(
    name="bert-batch",
    cls=PlainGroup,
    context_settings=SETTINGS,
    help="Score very many texts with a BERT classifier: every text once, or a dead letter that says why.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

command = functools.partial(app.command, cls=PlainCommand, context_settings=SETTINGS)
BACKFILL: dict[str, Any] = {"if_published": "skip"}
"""Defaults of a back-fill: what is published already is left alone."""


@command()
@flags_of(JobConfig)
def score(job: JobFile = None, log_format: LogFormat = "text", **flags: Any) -> None:
    """Score every text of the input and publish the date."""
    run(lambda: _score(job_of(job, flags), log_format), log_format)


@command()
@flags_of(JobConfig)
def check(job: JobFile = None, log_format: LogFormat = "text", **flags: Any) -> None:
    """Validate a job without running it: configuration, bundle, plan, schema."""
    run(lambda: check_job(job_of(job, flags), log_format), log_format)


@command()
def inspect(path: Annotated[str, typer.Argument(help="A bundle, or the folder of a published date.")]) -> None:
    """Show what is in a bundle or a published date."""

    def show() -> int:
        with quiet_stderr():
            from pipeline.terminal.report import inspect_path

        inspect_path(path)
        return DONE

    run(show, "text")


command()(demo)


@command()
@flags_of(JobConfig, without=("date",), **BACKFILL)
def backfill(
    first: Annotated[
        str, typer.Option("--from", help="First date: YYYY-MM-DD, today or yesterday.", rich_help_panel=NIGHTS)
    ],
    last: Annotated[str, typer.Option("--to", help="Last date, scored too.", rich_help_panel=NIGHTS)],
    max_parallel: Annotated[
        int, typer.Option(help="Dates at once; they share the cores.", min=1, rich_help_panel=WHERE)
    ] = 1,
    job: JobFile = None,
    log_format: LogFormat = "text",
    **flags: Any,
) -> None:
    """Score every date of a range, each as `score` does and in a process of its own."""
    run(lambda: backfill_job(job_of(job, flags, **BACKFILL), log_format, first, last, max_parallel), log_format)


command()(submit)
command()(train)
command("import")(import_checkpoint)
command()(certify)
command()(quantize)
command()(compare)
command("publish")(publish_run)
command("runs")(show_runs)
command()(report)
command()(clean)


def _score(job: JobConfig, log_format: str) -> int:
    if job.runner == "dataflow":
        return send(job, log_format)

    def publish(dated: JobConfig) -> int:
        verdict = publish_job(dated, log_format)
        from pipeline.errors import EXIT_CODES

        return EXIT_CODES.get(verdict.status, FAILED)

    return with_report(job, log_format, publish)


def main() -> None:
    """Entry point of the console script."""
    imports_begin()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 shows what it has no letter for escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    end_of_process(app)
