"""What `bert-batch submit` prints: the job that Dataflow has taken, or with --plan what would be sent."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.terminal.console import emit, out
from pipeline.terminal.summary import engine_as_json, engine_lines

if TYPE_CHECKING:  # It imports Beam; a wrong profile is reported before that.
    from pipeline.submitting import SubmitPlan, Submitted, Tell


def teller(log_format: str, when_interrupted: Callable[[str], None] = lambda _: None) -> "Tell":
    """Prints which job Dataflow works on; `when_interrupted` is given what Ctrl-C prints from then on.

    Warnings too go to stdout: stderr is hidden while a job is watched.
    """

    def tell(said: "Submitted | str") -> None:
        if isinstance(said, str):
            emit("warning", message=said) if log_format == "json" else out.print(f"warning: {said}")
            return
        if said.job_id:
            cancel = f"gcloud dataflow jobs cancel {said.job_id} --region {said.region} --project {said.project}"
            when_interrupted(f"Dataflow job {said.job_id} goes on and may publish its date; to end it: {cancel}")
        if log_format == "json":
            emit("submitted", **asdict(said))
        elif said.job_id:
            # In this form Airflow finds the job, too.
            out.print(f"Submitted job: {said.job_id}")
            out.print(f"  run        {said.run_id}")
            out.print(f"  console    {said.url}")
            out.print(f"  verdict    bert-batch runs --output {said.output}")
        else:
            out.print(f"template written, for run {said.run_id}")

    return tell


def show_plan(found: "SubmitPlan", log_format: str) -> None:
    """Prints the options, the steps and the estimate of a job that is not sent; as JSON in one line."""
    took, choice = found.estimate, found.prepared.choice
    if log_format == "json":
        steps = [asdict(step) for step in found.steps]
        engine = engine_as_json(choice, found.fastest)
        emit("submit_plan", options=found.options, steps=steps, engine=engine, estimate=asdict(took))
        return
    out.print("options")
    for name, value in found.options.items():
        for one in value if isinstance(value, list) else [value]:
            switch = {True: f"--{name}", False: f"--no_{name}"}
            out.print(f"  {switch[one] if isinstance(one, bool) else f'--{name}={one}'}")
    out.print("steps")
    for step in found.steps:
        hints = ", ".join(f"{key}={value}" for key, value in step.hints.items())
        out.print(f"  {step.name:<22} {', '.join(step.types) or '-'}{f'   [{hints}]' if hints else ''}")
    out.print("engine")
    for line in engine_lines(choice, found.fastest):
        out.print(f"  {line}")
    out.print("estimate, of the scoring alone")
    out.print(f"  rows       {'' if found.prepared.plan.exact else 'about '}{took.rows:,}")
    out.print(f"  tokens     {took.tokens:,}, {took.tokens_per_row:,.1f} a row ({took.tokens_source})")
    out.print(f"  throughput {took.source}")
    if took.seconds is not None:
        out.print(f"  time       {took.seconds / 60:,.1f} minutes with {took.workers} workers from beginning to end")
    if took.gpu_hours:
        out.print(f"  GPU        {took.gpu_hours:,.2f} GPU-hours")
    out.print("nothing was sent, nothing was written")
