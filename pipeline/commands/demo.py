"""`bert-batch demo`: scores the sample that travels with the package, wherever the command runs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.start import run
from pipeline.runners.silence import quiet_stderr

FAILED = 1


def demo(
    output: Annotated[str, typer.Option(help="Folder for the result.")] = "demo-output",
    examples: Annotated[str | None, typer.Option(help="Folder with another sample and bundle.")] = None,
) -> None:
    """Score the shipped sample with the shipped bundle and show where everything is."""
    run(lambda: _demo(output, examples), "text")


def shipped() -> Path:
    """The folder of the shipped sample and bundle: of an installed package its own, in a checkout examples/snips."""
    from importlib import resources

    package = Path(str(resources.files("pipeline")))
    installed = package / "demo"
    return installed if installed.is_dir() else package.parent / "examples" / "snips"


def _demo(output: str, examples: str | None) -> int:
    with quiet_stderr():
        from pipeline.commands.score import publish_job
        from pipeline.errors import EXIT_CODES, ConfigError
        from pipeline.jobs.config import load_job
        from pipeline.terminal.report import show_rows

    folder = examples or str(shipped())
    if not os.path.isdir(folder):
        raise ConfigError(
            f"{folder}: the folder of the demo is not there; give --examples a folder with validation.parquet and "
            "bundle/, or leave it out"
        )
    flags = {
        "bundle": f"{folder}/bundle",
        "input": [f"{folder}/validation.parquet"],
        "output": output,
        "rename": {"label": "gold_label"},
    }
    verdict = publish_job(load_job(None, flags), "text")
    show_rows(verdict.folder, 5, ("id", "gold_label", "label", "probability", "token_count"))
    return EXIT_CODES.get(verdict.status, FAILED)
