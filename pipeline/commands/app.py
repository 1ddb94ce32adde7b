"""The commands. Heavy imports happen inside them, so that --help answers at once."""

import io
import os
import sys
from inspect import Signature, signature
from typing import Annotated, Any

import typer

from pipeline.commands.demo import demo
from pipeline.commands.import_model import import_checkpoint
from pipeline.commands.runs import clean, publish_run, show_runs
from pipeline.commands.score import backfill_job, check_job, publish_job
from pipeline.commands.start import end_of_process
from pipeline.commands.start import run as _run
from pipeline.commands.submit import score_on_dataflow, submit_command
from pipeline.commands.train import train
from pipeline.terminal.quiet import quiet_stderr

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

DONE, FAILED = 0, 1

app = typer.Typer(
    name="bert-batch",
    help="Score very many texts with a BERT classifier: every text once, or a dead letter that says why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Job = Annotated[str | None, typer.Option("--job", help="YAML file with these flags as keys; flags override it.")]
Bundle = Annotated[str | None, typer.Option(help="Folder of the bundle, local or gs://.")]
Fingerprint = Annotated[str | None, typer.Option(help="Beginning of the fingerprint the bundle must have.")]
Input = Annotated[list[str] | None, typer.Option(help="File, folder or pattern; {date} is replaced. Repeatable.")]
FilesOrTable = Annotated[
    list[str] | None,
    typer.Option(help="File, folder or pattern, repeatable; or bq://project.dataset.table. {date} is replaced."),
]
InputFilter = Annotated[str | None, typer.Option(help="Rows of the table: a condition in SQL; {date} is replaced.")]
InputQuery = Annotated[str | None, typer.Option(help="File with a query, in place of --input; {date} is replaced.")]
Output = Annotated[
    list[str] | None,
    typer.Option(help="Folder for dt=<date>/, local or gs://, or bq://project.dataset.table. Twice for both."),
]
Staging = Annotated[str | None, typer.Option(help="gs:// folder that a table is loaded from.")]
DeadLettersTable = Annotated[
    bool | None,
    typer.Option("--dead-letters-table/--no-dead-letters-table", help="Dead letters to <table>__dead_letters too."),
]
Date = Annotated[str | None, typer.Option(help="YYYY-MM-DD, today (default) or yesterday.")]
Timezone = Annotated[str | None, typer.Option(help="Where the day begins and ends [UTC].")]
Format = Annotated[str | None, typer.Option(help="parquet, jsonl, csv, tsv or text; by default from the names.")]
Delimiter = Annotated[str | None, typer.Option(help="Between the fields of CSV and TSV: a character, or tab.")]
Quote = Annotated[str | None, typer.Option(help='Around fields: a character, or none; by default ", of TSV unknown.')]
Escape = Annotated[str | None, typer.Option(help="Before a character that is text; by default none.")]
Encoding = Annotated[str | None, typer.Option(help="Of text files: utf-8 (default), utf-16, latin-1, cp1252, ...")]
MaxRecordLines = Annotated[int | None, typer.Option(help="Lines of a quoted field; more are a dead letter [1000].")]
IdColumn = Annotated[str | None, typer.Option(help="Column with the unique id [id].")]
IdFrom = Annotated[str | None, typer.Option(help="column (default), or position: ids are <file>#<row>.")]
TextColumn = Annotated[str | None, typer.Option(help="Column with the text [text].")]
TextPairColumn = Annotated[str | None, typer.Option(help="Column with the second text, for bundles of pairs.")]
Keep = Annotated[str | None, typer.Option(help="Columns to carry along: all (default, but the text), none, or a,b.")]
Rename = Annotated[list[str] | None, typer.Option(help="Kept column under another name: old=new. Repeatable.")]
Schema = Annotated[
    list[str] | None,
    typer.Option(help="Type of a column: name:type, repeatable; auto: numbers of a CSV are numbers."),
]
StrictColumns = Annotated[
    bool | None,
    typer.Option(
        "--strict-columns/--no-strict-columns", help="A kept value that does not fit: a dead letter, not null."
    ),
]
TopK = Annotated[int | None, typer.Option(help="Classes to list per row; by default all.")]
MaxTextBytes = Annotated[int | None, typer.Option(help="Bytes of one text; a longer one is a dead letter [16777216].")]
MaxDeadFraction = Annotated[float | None, typer.Option(help="Share of rows that may be dead letters [0.01].")]
MaxDeadRows = Annotated[int | None, typer.Option(help="Number of rows that may be dead letters.")]
AllowMissing = Annotated[
    bool | None, typer.Option("--allow-missing/--no-allow-missing", help="No matching file: publish an empty date.")
]
TrustIds = Annotated[bool | None, typer.Option("--trust-ids/--no-trust-ids", help="Do not look for duplicate ids.")]
OnlyNew = Annotated[
    bool | None,
    typer.Option("--only-new/--no-only-new", help="Take scores of unchanged texts from the newest published date."),
]
KeepTextDigests = Annotated[
    bool | None,
    typer.Option(
        "--keep-text-digests/--no-keep-text-digests", help="Keep digests of the texts for a later --only-new."
    ),
]
TokenBudget = Annotated[int | None, typer.Option(help="Padded tokens of one micro-batch; by default by device.")]
Precision = Annotated[str | None, typer.Option(help="float32, bfloat16, float16, or auto: by device [auto].")]
Runner = Annotated[str | None, typer.Option(help="direct (alias local), dataflow or portable [direct].")]
Workers = Annotated[int | None, typer.Option(help="Local worker processes [1].")]
IfPublished = Annotated[
    str | None, typer.Option(help="A date that is published: replace it (default), or skip (of backfill the default).")
]
LogFormat = Annotated[str, typer.Option(help="text, or json: one JSON object a line.")]
BeamOptions = Annotated[list[str] | None, typer.Argument(help="After --: Beam's own options.", metavar="-- [BEAM]...")]


@app.command()
def score(
    job: Job = None,
    bundle: Bundle = None,
    bundle_fingerprint: Fingerprint = None,
    input: FilesOrTable = None,
    input_filter: InputFilter = None,
    input_query: InputQuery = None,
    output: Output = None,
    staging: Staging = None,
    dead_letters_table: DeadLettersTable = None,
    date: Date = None,
    timezone: Timezone = None,
    format: Format = None,
    delimiter: Delimiter = None,
    quote: Quote = None,
    escape: Escape = None,
    encoding: Encoding = None,
    max_record_lines: MaxRecordLines = None,
    id_column: IdColumn = None,
    id_from: IdFrom = None,
    text_column: TextColumn = None,
    text_pair_column: TextPairColumn = None,
    keep: Keep = None,
    rename: Rename = None,
    schema: Schema = None,
    strict_columns: StrictColumns = None,
    top_k: TopK = None,
    max_text_bytes: MaxTextBytes = None,
    max_dead_fraction: MaxDeadFraction = None,
    max_dead_rows: MaxDeadRows = None,
    allow_missing: AllowMissing = None,
    trust_ids: TrustIds = None,
    only_new: OnlyNew = None,
    keep_text_digests: KeepTextDigests = None,
    token_budget: TokenBudget = None,
    precision: Precision = None,
    runner: Runner = None,
    workers: Workers = None,
    if_published: IfPublished = None,
    log_format: LogFormat = "text",
    beam_options: BeamOptions = None,
) -> None:
    """Score every text of the input and publish the date."""
    flags = dict(locals())
    _run(lambda: _score(flags), log_format)


@app.command()
def check(**flags: Any) -> None:
    """Validate a job without running it: configuration, bundle, plan, schema."""
    _run(lambda: check_job(_job(flags), flags["log_format"]), flags["log_format"])


# The whole job, flag for flag, as `score` takes it.
check.__signature__ = signature(score)  # type: ignore[attr-defined]
check.__annotations__ = score.__annotations__


@app.command()
def inspect(path: Annotated[str, typer.Argument(help="A bundle, or the folder of a published date.")]) -> None:
    """Show what is in a bundle or a published date."""

    def show() -> int:
        with quiet_stderr():
            from pipeline.terminal.report import inspect_path

        inspect_path(path)
        return DONE

    _run(show, "text")


app.command()(demo)


def _range(
    first: Annotated[str, typer.Option("--from", help="First date: YYYY-MM-DD, today or yesterday.")],
    last: Annotated[str, typer.Option("--to", help="Last date, scored too.")],
    max_parallel: Annotated[int, typer.Option(help="Dates at once; they share the cores.", min=1)] = 1,
) -> None: ...


@app.command()
def backfill(**flags: Any) -> None:
    """Score every date of a range, each as `score` does and in a process of its own."""
    first, last, max_parallel = (flags.pop(name) for name in ("first", "last", "max_parallel"))
    log_format = flags["log_format"]
    _run(lambda: backfill_job(_job(flags, if_published="skip"), log_format, first, last, max_parallel), log_format)


# Beside the range every flag of `score`, but the date.
_of_a_date = [value for name, value in signature(score).parameters.items() if name != "date"]
backfill.__signature__ = Signature([*signature(_range).parameters.values(), *_of_a_date])  # type: ignore[attr-defined]
backfill.__annotations__ = {**_range.__annotations__, **score.__annotations__}

app.command("submit")(submit_command(score, lambda flags: _job(flags)))
app.command()(train)
app.command("import")(import_checkpoint)
app.command("publish")(publish_run)
app.command("runs")(show_runs)
app.command()(clean)


def _score(flags: dict[str, Any]) -> int:
    job = _job(flags)
    if job.runner == "dataflow":
        return score_on_dataflow(job, flags["log_format"])
    verdict = publish_job(job, flags["log_format"])
    from pipeline.terminal.console import EXIT_CODES

    return EXIT_CODES.get(verdict.status, FAILED)


def _job(flags: dict[str, Any], **defaults: Any) -> Any:
    with quiet_stderr():
        from pipeline.jobs.config import load_job

    flags = {key: value for key, value in flags.items() if key != "log_format"}
    flags["rename"] = _pairs("--rename", "=", flags.get("rename"))
    return load_job(flags.pop("job", None), flags, **defaults)


def _pairs(flag: str, separator: str, values: list[str] | None) -> dict[str, str] | None:
    from pipeline.jobs.config import ConfigError

    pairs = [value.partition(separator) for value in values or []]
    wrong = [value for value, (left, _, right) in zip(values or [], pairs, strict=True) if not (left and right)]
    if wrong:
        raise ConfigError(f"{flag} {wrong[0]!r} is not of the form name{separator}value")
    return {left: right for left, _, right in pairs} or None


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 shows what it has no letter for escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    end_of_process(app)
