"""`bert-batch import`."""

from typing import Annotated, Any

import typer

from pipeline.commands.start import run
from pipeline.runners.silence import quiet_stderr


def import_checkpoint(
    path: Annotated[str, typer.Argument(help="Hugging Face folder, TensorFlow checkpoint or SavedModel.")],
    output: Annotated[str | None, typer.Option(help="Folder of the new bundle.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the bundle; every scored row has it.")] = None,
    labels: Annotated[str | None, typer.Option(help="a,b,c in the order of the model's classes.")] = None,
    labels_file: Annotated[str | None, typer.Option(help="File with one label a line, in that order.")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="WordPiece file; by default the one beside it.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="model_garden, huggingface or google_research; by default the maker's.")
    ] = None,
    lower_case: Annotated[bool | None, typer.Option(help="Fold case; by default as the files say.")] = None,
    task: Annotated[str | None, typer.Option(help="classification or regression; by default by outputs.")] = None,
    activation: Annotated[
        str | None, typer.Option(help="Of one output: none (raw) or sigmoid; by default as the files say, else none.")
    ] = None,
    new_head: Annotated[int | None, typer.Option(help="Outputs of an untrained head for an encoder without.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longer texts are truncated [what the model was for].")] = None,
    segments: Annotated[int | None, typer.Option(help="2 for pairs of texts; by default as trained, else 1.")] = None,
    truncator: Annotated[
        str | None, typer.Option(help="Of pairs: round_robin, longest_first, waterfall; by default by origin.")
    ] = None,
) -> None:
    """Make a bundle of a model that somebody else trained."""
    flags = dict(locals())
    run(lambda: _import(flags), "text")


def _import(flags: dict[str, Any]) -> int:
    with quiet_stderr():
        from pipeline.bundling.import_job import ImportJob
        from pipeline.jobs.config import described
        from pipeline.terminal.console import out, quiet_libraries
        from pipeline.terminal.report import inspect_path

    # Before TensorFlow is imported: a wrong flag answers at once.
    job = described(ImportJob, flags)
    quiet_libraries()
    with quiet_stderr():
        from pipeline.bundling.importing import import_model

    imported = import_model(job)
    for line in imported.report:
        out.print(line)
    inspect_path(job.output)
    return 0
