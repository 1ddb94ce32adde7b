"""What `bert-batch submit` prints: the job that is sent, or with `--plan` the one that would be."""

from collections.abc import Callable
from dataclasses import asdict

from pipeline.submitting import SubmitPlan, Submitted, Tell, Warn
from pipeline.terminal.console import emit, out


def teller(log_format: str, when_interrupted: Callable[[str], None] = lambda _: None) -> Tell:
    """Says which job Dataflow works on; `when_interrupted` hears what Ctrl-C is to say from then on."""

    def tell(submitted: Submitted) -> None:
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


def warner(log_format: str) -> Warn:
    """Says what went wrong beside the job. On stdout: nothing gets through on stderr while a job is watched."""

    def warn(message: str) -> None:
        if log_format == "json":
            emit("warning", message=message)
        else:
            out.print(f"warning: {message}")

    return warn


def show_plan(found: SubmitPlan) -> None:
    """Prints the plan for people."""
    out.print("options")
    for name, value in found.options.items():
        for one in value if isinstance(value, list) else [value]:
            switch = {True: f"--{name}", False: f"--no_{name}"}
            out.print(f"  {switch[one] if isinstance(one, bool) else f'--{name}={one}'}")
    out.print("steps")
    for step in found.steps:
        hints = ", ".join(f"{key}={value}" for key, value in step.hints.items())
        out.print(f"  {step.name:<22} {', '.join(step.types) or '-'}{f'   [{hints}]' if hints else ''}")
    out.print("estimate, of the scoring alone")
    took, about = found.estimate, "" if found.prepared.plan.exact else "about "
    out.print(f"  rows       {about}{took.rows:,}")
    out.print(f"  tokens     {took.tokens:,}, {took.tokens_per_row:,.1f} a row ({took.tokens_source})")
    out.print(f"  throughput {took.source}")
    if took.seconds is not None:
        out.print(f"  time       {took.seconds / 60:,.1f} minutes with {took.workers} workers from beginning to end")
    if took.gpu_hours:
        out.print(f"  GPU        {took.gpu_hours:,.2f} GPU-hours")
    out.print("nothing was sent, nothing was written")


def emit_plan(found: SubmitPlan) -> None:
    """Prints the plan as one line of JSON."""
    steps = [asdict(step) for step in found.steps]
    emit("submit_plan", options=found.options, steps=steps, estimate=asdict(found.estimate))
