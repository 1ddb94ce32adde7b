"""`bert-batch train`."""

from typing import Annotated, Any

import typer

from pipeline.commands.start import run
from pipeline.runners.silence import quiet_stderr


def train(
    input: Annotated[list[str] | None, typer.Option(help="File, folder or pattern. Repeatable.")] = None,
    output: Annotated[str | None, typer.Option(help="Folder of the new bundle.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the bundle; every scored row has it.")] = None,
    task: Annotated[str | None, typer.Option(help="classification (default) or regression.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column with the text [text].")] = None,
    text_pair_column: Annotated[
        str | None, typer.Option(help="Column with the second text, for a bundle of pairs.")
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="Column with the label or value [label].")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column with the unique id; by default the position.")] = None,
    format: Annotated[
        str | None, typer.Option(help="parquet, jsonl, csv, tsv or text; by default from the names.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Between the fields of CSV and TSV: a character, or tab.")
    ] = None,
    quote: Annotated[str | None, typer.Option(help="Around fields: a character, or none; as of score.")] = None,
    escape: Annotated[str | None, typer.Option(help="Before a character that is text; by default none.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of text files [utf-8].")] = None,
    max_record_lines: Annotated[int | None, typer.Option(help="Lines of a quoted field at most [1000].")] = None,
    schema: Annotated[list[str] | None, typer.Option(help="Type of id, text or label: name:type. Repeatable.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Hugging Face folder of a BERT to start from.")] = None,
    preset: Annotated[str | None, typer.Option(help="Without --encoder: tiny (default), mini … large.")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="WordPiece file; by default the encoder's or learned.")] = None,
    vocabulary_size: Annotated[int | None, typer.Option(help="Tokens to learn at most [8000].")] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="model_garden, huggingface or google_research; by default the encoder's, else the first."),
    ] = None,
    lower_case: Annotated[
        bool | None, typer.Option(help="Fold case; by default as the encoder does, else yes.")
    ] = None,
    truncator: Annotated[
        str | None, typer.Option(help="Of pairs: round_robin (default), longest_first or waterfall.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longer texts are truncated [128].")] = None,
    epochs: Annotated[int | None, typer.Option(help="At most [4 with an encoder, 10 without].")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows of one step [32].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak [5e-5 with an encoder, 1e-3 without].")] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs without progress before stopping [3].")] = None,
    validation_share: Annotated[float | None, typer.Option(help="Rows held out for early stopping [0.1].")] = None,
    test_input: Annotated[list[str] | None, typer.Option(help="Rows to measure on, never trained on.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same rows, same machine: same bundle [1].")] = None,
) -> None:
    """Fine-tune a classifier or regressor on labelled rows and make a bundle."""
    flags = dict(locals())
    run(lambda: _train(flags), "text")


def _train(flags: dict[str, Any]) -> int:
    from pipeline.bundling.training_job import training_job

    job = training_job(flags)
    with quiet_stderr():
        from pipeline.bundling.training import train as fit
        from pipeline.terminal.bar import training_progress
        from pipeline.terminal.console import err, quiet_libraries
        from pipeline.terminal.report import inspect_path

    quiet_libraries()
    with training_progress(err) as on_progress:
        fit(job, on_progress)
    inspect_path(job.output)
    return 0
