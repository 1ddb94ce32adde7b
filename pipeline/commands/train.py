"""`bert-batch train`."""

from typing import Any

from pipeline.bundling.training_job import TrainingJob, training_job
from pipeline.commands.flags import LogFormat, flags_of
from pipeline.commands.start import imports_are_done, run, when_interrupted
from pipeline.runners.silence import quiet_stderr


@flags_of(TrainingJob)
def train(log_format: LogFormat = "text", **flags: Any) -> None:
    """Fine-tune a classifier or regressor on labelled rows and make a bundle."""
    run(lambda: _train(training_job(flags), log_format), log_format)


def _train(job: TrainingJob, log_format: str) -> int:
    when_interrupted("no bundle was made")
    with quiet_stderr():
        from pipeline.bundling.certifying import certify_held_out
        from pipeline.bundling.training import train as fit
        from pipeline.terminal.certificate import show_trained
        from pipeline.terminal.console import quiet_libraries
        from pipeline.terminal.report import inspect_path
        from pipeline.terminal.training.report import teller_for

    imports_are_done()
    quiet_libraries()
    with teller_for(log_format) as teller:
        trained = fit(job, teller)
    if log_format == "json":
        from pipeline.terminal.console import emit

        emit("bundle", path=job.output, bundle=trained.bundle.reference, quality=dict(trained.bundle.quality))
    else:
        inspect_path(job.output)
    when_interrupted("the bundle is made; only its certificate is missing")
    with quiet_stderr():
        certified = certify_held_out(job.output, trained.bundle, trained.held_out)
    show_trained(certified, log_format)
    return 0
