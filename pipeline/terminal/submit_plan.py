"""What `bert-batch submit --plan` prints: options, steps and an estimate of a job that is not sent."""

import datetime as dt
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.portability.common_urns import resource_hints as urns

from pipeline.dataflow.estimate import Estimate, Tokens, estimate, tokens_of
from pipeline.dataflow.gpu_checks import needs_gpu
from pipeline.dataflow.options import resource_hints
from pipeline.dataflow.profile import Profile
from pipeline.jobs.config import JobConfig
from pipeline.jobs.dates import logical_date
from pipeline.preparing import Prepared, prepare
from pipeline.runners.presets import job_options
from pipeline.scoring import build
from pipeline.submitting import placed_job
from pipeline.terminal.console import emit, out
from transforms.runs.history import read_manifests

_HINTS = {urns.ACCELERATOR.urn: "accelerator", urns.MIN_RAM_BYTES.urn: "min_ram_bytes"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the pipeline: what its outputs hold, and what its workers must have."""

    name: str
    types: tuple[str, ...]
    hints: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class SubmitPlan:
    """A job that is ready to be sent. `options` are Beam's, without those left at their defaults."""

    prepared: Prepared
    options: Mapping[str, Any]
    steps: tuple[Step, ...]
    tokens: Tokens
    estimate: Estimate


def plan(job: JobConfig, profile: Profile, extra: tuple[str, ...] = (), now: dt.datetime | None = None) -> SubmitPlan:
    """Looks at everything as `submit` does, sends nothing and writes nothing; raises what `submit` raises before."""
    now = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    placed, hints = placed_job(job, profile, extra, now), resource_hints(profile)
    options = job_options(placed, hints, logical_date(job.date, job.timezone, now))
    prepared = prepare(placed, now, hints=hints, needs_gpu=needs_gpu(options, hints))
    tokens, model = tokens_per_row(prepared), prepared.bundle.model
    return SubmitPlan(
        prepared=prepared,
        options=_given(options),
        steps=tuple(steps_of(prepared)),
        tokens=tokens,
        estimate=estimate(prepared.plan.rows, tokens, profile, model, os.cpu_count() or 1),
    )


def tokens_per_row(prepared: Prepared) -> Tokens:
    """What the newest published date of the output with this bundle took, else the most the bundle allows."""
    published = read_manifests(prepared.run.output).published
    for date in sorted(published, reverse=True):
        found = tokens_of(published[date]) if published[date]["bundle"] == prepared.run.bundle else None
        if found is not None:
            return Tokens(per_row=found, source=f"as computed for dt={date}, copies of the same text left out")
    most = prepared.bundle.max_tokens
    return Tokens(per_row=most, source=f"assumed: the {most:,} a row that the bundle takes at most, so an upper limit")


def steps_of(prepared: Prepared) -> Iterator[Step]:
    """The steps of the pipeline, from the description that runners get; those within a step where hints differ."""
    # Nothing of the runner of the job is started or asked.
    p = beam.Pipeline(runner="FnApiRunner")
    build(p, prepared)
    proto, context = p.to_runner_api(return_context=True)
    nodes = _Nodes()
    p.visit(nodes)

    def hints(node: AppliedPTransform) -> dict[str, str]:
        transform = proto.components.transforms[context.transforms.get_id(node)]
        environment = proto.components.environments[transform.environment_id]
        return {_HINTS.get(urn, urn): value.decode() for urn, value in sorted(environment.resource_hints.items())}

    def within(node: AppliedPTransform) -> list[AppliedPTransform]:
        return [leaf for part in node.parts for leaf in within(part)] or [node]

    for node in nodes.top:
        leaves = [leaf for leaf in within(node) if leaf.transform is not None]
        kinds = [hints(leaf) for leaf in leaves]
        parts = [node] if all(kind == kinds[0] for kind in kinds) else list(node.parts)
        for part in parts:
            first = hints(within(part)[0])
            types = [f"{tag or 'main'}: {_name(pcoll.element_type)}" for tag, pcoll in part.outputs.items()]
            yield Step(name=part.full_label, types=tuple(types), hints=first)


class _Nodes(PipelineVisitor):
    def __init__(self) -> None:
        self.top: list[AppliedPTransform] = []

    def enter_composite_transform(self, node: AppliedPTransform) -> None:
        if not node.full_label and not self.top:
            self.top = list(node.parts)


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


def _given(options: PipelineOptions) -> dict[str, Any]:
    return dict(sorted(options.get_all_options(drop_default=True).items()))


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
    for line in estimate_lines(found):
        out.print(f"  {line}")
    out.print("nothing was sent, nothing was written")


def estimate_lines(found: SubmitPlan) -> Iterator[str]:
    """The estimate in sentences."""
    took, about = found.estimate, "" if found.prepared.plan.exact else "about "
    yield f"rows       {about}{took.rows:,}"
    yield f"tokens     {took.tokens:,}, {found.tokens.per_row:,.1f} a row ({found.tokens.source})"
    yield f"throughput {took.source}"
    if took.seconds is None or took.worker_seconds is None:
        return
    yield f"time       {took.seconds / 60:,.1f} minutes with {took.workers} workers from beginning to end"
    yield f"workers    {took.worker_seconds / 3600:,.2f} worker-hours"
    if took.gpus:
        yield f"GPU        {took.gpu_hours:,.2f} GPU-hours"


def emit_plan(found: SubmitPlan) -> None:
    """Prints the plan as one line of JSON."""
    took = found.estimate
    emit(
        "submit_plan",
        options=found.options,
        steps=[asdict(step) for step in found.steps],
        estimate={
            **asdict(took),
            "tokens_per_row": found.tokens.per_row,
            "tokens_source": found.tokens.source,
            "seconds": took.seconds,
            "gpu_hours": took.gpu_hours,
        },
    )
