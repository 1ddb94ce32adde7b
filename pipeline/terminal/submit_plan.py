"""What `bert-batch submit --plan` prints: options, steps and an estimate of a job that is not sent."""

from dataclasses import asdict

from pipeline.submitting import SubmitPlan
from pipeline.terminal.console import emit, out
from pipeline.terminal.summary import computed_in


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
    out.print("engine")
    out.print(f"  computed   {computed_in(found.prepared.choice)}")
    for note in found.prepared.choice.notes:
        out.print(f"             {note}")
    if found.fastest:
        out.print(f"  fastest    {found.fastest}")
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
    choice = found.prepared.choice
    engine = {"engine": choice.engine, "precision": choice.precision or "auto", "notes": list(choice.notes)}
    engine["fastest"] = found.fastest
    emit("submit_plan", options=found.options, steps=steps, engine=engine, estimate=asdict(found.estimate))
