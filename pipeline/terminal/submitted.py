"""What `bert-batch submit` prints of a job that Dataflow has taken."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.terminal.console import emit, out

if TYPE_CHECKING:  # It imports Beam, and a wrong profile is told before.
    from pipeline.submitting import Submitted, Tell, Warn


def teller(log_format: str, when_interrupted: Callable[[str], None] = lambda _: None) -> "Tell":
    """Says which job Dataflow works on; `when_interrupted` hears what Ctrl-C is to say from then on."""

    def tell(submitted: "Submitted") -> None:
        if submitted.job_id:
            cancel = f"gcloud dataflow jobs cancel {submitted.job_id} --region {submitted.region}"
            when_interrupted(
                f"Dataflow job {submitted.job_id} goes on and may publish its date; "
                f"to end it: {cancel} --project {submitted.project}"
            )
        if log_format == "json":
            emit("submitted", **asdict(submitted))
        elif submitted.job_id:
            # In this form Airflow finds the job, too.
            out.print(f"Submitted job: {submitted.job_id}")
            out.print(f"  run        {submitted.run_id}")
            out.print(f"  console    {submitted.url}")
            out.print(f"  verdict    bert-batch runs --output {submitted.output}")
        else:
            out.print(f"template written, for run {submitted.run_id}")

    return tell


def warner(log_format: str) -> "Warn":
    """Says what went wrong beside the job. On stdout: nothing gets through on stderr while a job is watched."""

    def warn(message: str) -> None:
        if log_format == "json":
            emit("warning", message=message)
        else:
            out.print(f"warning: {message}")

    return warn
