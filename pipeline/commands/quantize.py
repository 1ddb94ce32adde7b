"""`bert-batch quantize`."""

from typing import Any

from pipeline.bundling.certify_job import QuantizeJob
from pipeline.commands.flags import flags_of
from pipeline.commands.start import imports_are_done, run, when_interrupted
from pipeline.jobs.config import described
from pipeline.runners.silence import quiet_stderr


@flags_of(QuantizeJob)
def quantize(**flags: Any) -> None:
    """Make a bundle that scores in int8 too, from one that does not and texts such as it scores."""
    run(lambda: _quantize(described(QuantizeJob, flags)), "text")


def _quantize(job: QuantizeJob) -> int:
    when_interrupted("no bundle was made")
    with quiet_stderr():
        from pipeline.bundling.quantizing import quantize_bundle
        from pipeline.terminal.console import out, quiet_libraries
        from pipeline.terminal.report import inspect_path

    imports_are_done()
    quiet_libraries()
    with quiet_stderr():
        quantize_bundle(job)
    when_interrupted("the bundle is made")
    inspect_path(job.output)
    out.print(f"next     bert-batch certify {job.output} --input … --precision int8, with other texts than these")
    return 0
