"""`bert-batch train`."""

from typing import Any

from pipeline.bundling.training_job import TrainingJob, training_job
from pipeline.commands.flags import flags_of
from pipeline.commands.start import run
from pipeline.runners.silence import quiet_stderr


@flags_of(TrainingJob)
def train(**flags: Any) -> None:
    """Fine-tune a classifier or regressor on labelled rows and make a bundle."""
    run(lambda: _train(training_job(flags)), "text")


def _train(job: TrainingJob) -> int:
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
