"""`bert-batch import`."""

from typing import Any

from pipeline.bundling.import_job import ImportJob
from pipeline.commands.flags import flags_of
from pipeline.commands.start import imports_are_done, run
from pipeline.jobs.config import described
from pipeline.runners.silence import quiet_stderr


@flags_of(ImportJob)
def import_checkpoint(**flags: Any) -> None:
    """Make a bundle of a model that somebody else trained."""
    # Before TensorFlow is imported: a wrong flag answers at once.
    run(lambda: _import(described(ImportJob, flags)), "text")


def _import(job: ImportJob) -> int:
    with quiet_stderr():
        from pipeline.bundling.importing import import_model
        from pipeline.terminal.console import out, quiet_libraries
        from pipeline.terminal.report import inspect_path

    quiet_libraries()
    imports_are_done()
    imported = import_model(job)
    for line in imported.report:
        out.print(line)
    inspect_path(job.output)
    return 0
