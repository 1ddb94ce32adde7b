"""`bert-batch certify`."""

from typing import Any

from pipeline.bundling.certify_job import CertifyJob
from pipeline.commands.flags import flags_of
from pipeline.commands.start import imports_are_done, run
from pipeline.jobs.config import described
from pipeline.runners.silence import quiet_stderr

CODES = {"passed": 0, "failed": 3, "undecided": 3}
"""Exit code by verdict; 3, as for an error budget that is exceeded: what was measured does not keep the limit."""


@flags_of(CertifyJob)
def certify(**flags: Any) -> None:
    """Measure on texts of your own what a lower precision changes, and write it down beside the bundle."""
    # Before TensorFlow is imported: a wrong flag answers at once.
    run(lambda: _certify(described(CertifyJob, flags)), "text")


def _certify(job: CertifyJob) -> int:
    with quiet_stderr():
        from pipeline.bundling.certifying import certify_bundle
        from pipeline.terminal.certificate import show_certificate
        from pipeline.terminal.console import quiet_libraries

    imports_are_done()
    quiet_libraries()
    with quiet_stderr():
        certified = certify_bundle(job)
    show_certificate(certified)
    return CODES[certified.certificate.verdict]
