"""`bert-batch publish`, `runs`, `report` and `clean`: commands for the runs of an output."""

import datetime as dt
from typing import Annotated

import typer

from pipeline.commands.start import run
from pipeline.runners.silence import quiet_stderr

Output = Annotated[str, typer.Option(help="Folder with dt=<date>/, local or gs://.")]


def publish_run(
    run_id: Annotated[str, typer.Argument(help="The run, as `bert-batch runs` names it.")],
    output: Output,
    accept: Annotated[bool, typer.Option("--accept", help="Publish the run although the gate holds it.")] = False,
    log_format: Annotated[str, typer.Option(help="text, or json: one JSON object a line.")] = "text",
) -> None:
    """Publish a run that is held, or that came to its end and died before it was published."""
    run(lambda: _publish(run_id, output, accept, log_format), log_format)


def show_runs(
    output: Output,
    format: Annotated[
        str, typer.Option(help="text, json: one JSON document, or openmetrics: what Prometheus reads.")
    ] = "text",
) -> None:
    """Show the published dates, and the runs that did not publish."""
    run(lambda: _show(output, format), "text")


def report(
    output: Output,
    date: Annotated[
        str | None, typer.Option(help="YYYY-MM-DD, today or yesterday; by default the newest date.")
    ] = None,
    last: Annotated[int, typer.Option(help="So many dates up to that one.", min=1, max=4_000)] = 30,
    html: Annotated[str | None, typer.Option(help="File for the report as one page, ending in .html.")] = None,
    bundle: Annotated[
        str | None, typer.Option(help="The bundle of the date: its baseline is drawn beside the histograms.")
    ] = None,
) -> None:
    """Show what a night brought, and what of it is worth an eye first."""
    run(lambda: _report(output, date, last, html, bundle), "text")


def clean(
    output: Output,
    older_than_days: Annotated[
        float,
        typer.Option(help="Delete runs that did not publish, once they are silent for so long.", min=0, max=36_500),
    ] = 2,
    keep_days: Annotated[
        int | None,
        typer.Option(help="Delete the rows of dates that are longer ago; by default none.", min=1, max=36_500),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
) -> None:
    """Delete what dead runs left behind, and dates that are kept long enough."""
    run(lambda: _clean(output, older_than_days, keep_days, dry_run), "text")


def _publish(run_id: str, output: str, accept: bool, log_format: str) -> int:
    with quiet_stderr():
        from pipeline.errors import EXIT_CODES
        from pipeline.jobs.outputs import absolute
        from pipeline.publishing import publish_again
        from pipeline.terminal.console import console_for

    console = console_for(log_format)
    verdict = publish_again(absolute(output), run_id, accepted=accept)
    console.verdict(verdict)
    return EXIT_CODES.get(verdict.status, 1)


def _show(output: str, format: str) -> int:
    with quiet_stderr():
        from pipeline.jobs.outputs import absolute
        from pipeline.terminal.console import quiet_libraries
        from pipeline.terminal.runs_table import show_history

    quiet_libraries()
    show_history(absolute(output), format)
    return 0


def _report(output: str, date: str | None, last: int, html: str | None, bundle: str | None) -> int:
    with quiet_stderr():
        from pipeline.jobs.dates import logical_date
        from pipeline.jobs.outputs import absolute
        from pipeline.terminal.console import out, quiet_libraries
        from pipeline.terminal.pages.nights.reading import baseline_of_night, read_history
        from pipeline.terminal.pages.nights.text import show
        from pipeline.terminal.pages.writing import check_page, write_page

    quiet_libraries()
    now = dt.datetime.now(dt.UTC)
    day = None if date is None else logical_date(date, "UTC", now)
    if html is not None:
        check_page("--html", html, [absolute(output)])
    history = read_history(absolute(output), day, last, now)
    baseline = {} if bundle is None else baseline_of_night(absolute(bundle), history.chosen)
    if html is not None:
        from pipeline.terminal.pages.nights.page import page

        # Before anything is printed: who pipes that to `head` has the page nevertheless.
        write_page(html, page(history, baseline, now))
    show(history)
    out.print("--html FILE writes all of it as one page" if html is None else f"written   {html}")
    return 0


def _clean(output: str, older_than_days: float, keep_days: int | None, dry_run: bool) -> int:
    with quiet_stderr():
        from pipeline.jobs.outputs import absolute
        from pipeline.terminal.console import out, quiet_libraries
        from pipeline.terminal.report import show_foreign
        from transforms.publish.clean import clean

    quiet_libraries()
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    keep_from = None if keep_days is None else now.date() - dt.timedelta(keep_days)
    older_than = dt.timedelta(older_than_days)
    files = size = 0
    done = "would delete" if dry_run else "deleted"
    for item in clean(absolute(output), now=now, older_than=older_than, keep_from=keep_from, dry_run=dry_run):
        if item.kept:
            out.print(f"left alone {item.what}: {item.why}")
            continue
        out.print(f"{done} {item.what} ({item.why}): {item.files:,} files, {item.bytes:,} bytes")
        files, size = files + item.files, size + item.bytes
    out.print(f"{done} {files:,} files, {size:,} bytes in all")
    if dry_run:
        show_foreign(absolute(output))
    return 0
