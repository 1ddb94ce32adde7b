"""Sends a job to Dataflow after all checks, and waits for it or not; or plans what would be sent."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.pipeline import AppliedPTransform
from apache_beam.portability.common_urns import resource_hints as urns

from pipeline.dataflow.answers import refusals, why
from pipeline.dataflow.estimate import Estimate, computed_tokens, estimate
from pipeline.dataflow.gpu_checks import needs_gpu
from pipeline.dataflow.options import dataflow_arguments, job_name, resource_hints
from pipeline.dataflow.profile import Profile
from pipeline.errors import cause
from pipeline.jobs.config import JobConfig
from pipeline.jobs.dates import logical_date
from pipeline.preparing import Prepared, prepare
from pipeline.runners.computing import fastest_told
from pipeline.runners.presets import job_options
from pipeline.scoring import NO_HINTS, Watch, begin, build, score, start, verdict_of
from transforms.outputs import deletion
from transforms.runs.history import read_manifests
from transforms.runs.run import Run, to_bytes
from transforms.runs.verdict_record import Verdict
from transforms.stores.choose import store_for

_HINTS = {urns.ACCELERATOR.urn: "accelerator", urns.MIN_RAM_BYTES.urn: "min_ram_bytes"}


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A run that Dataflow works on; `job_id` is empty if only a template was written."""

    run_id: str
    output: str
    job_id: str
    project: str
    region: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the pipeline: what its outputs hold, and what its workers must have."""

    name: str
    types: tuple[str, ...]
    hints: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class SubmitPlan:
    """A job that is ready to be sent. `options` are Beam's, without those left at their defaults.

    `fastest`: what --precision fastest would take and bring, or why that is not known; empty for a job that says it.
    """

    prepared: Prepared
    options: Mapping[str, Any]
    steps: tuple[Step, ...]
    estimate: Estimate
    fastest: str = ""


Tell = Callable[[Submitted | str], None]
"""Is given the job as soon as Dataflow has it, and a sentence for each problem that does not end the job."""


def submit(
    job: JobConfig,
    profile: Profile | None = None,
    *,
    wait: bool = True,
    now: dt.datetime | None = None,
    watch: Watch = lambda _: nullcontext(),
    tell: Tell = lambda _: None,
    progress: str | None = None,
) -> Verdict | Submitted:
    """Runs the job where the profile says; without one on Dataflow, as the job's own Beam options say.

    Gives the verdict, or without `wait` (and for a template) what was sent; a profile for this machine always waits.

    Raises ConfigError and what `score` raises before anything has run; TryLaterError if Dataflow has a job of that
    name, no quota or no service now; RunFailedError for a job that does not end well.
    """
    now = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    date = logical_date(job.date, job.timezone, now)
    hints = NO_HINTS if profile is None else resource_hints(profile)
    profiled = job if profile is None else with_profile(job, profile, date)
    if profiled.runner == "direct":
        return score(profiled, date=date, now=now, watch=watch, progress=progress)
    options = job_options(profiled, hints, date)
    prepared = begin(profiled, date, options, hints, now)
    if isinstance(prepared, Verdict):
        return prepared
    run = prepared.run
    if prepared.resumed is not None and prepared.resumed.passed:
        # Publishing needs no workers.
        return verdict_of(run, lambda: start(prepared, options, now))
    with watch(prepared):
        with refusals(not_taken=lambda: _forget(prepared)):
            result: Any = start(prepared, options, now)
        submitted = _submitted(prepared, result, options)
        # Before anything else: from now on the job costs money, and stopping it takes its id.
        tell(submitted)
        if submitted.job_id:
            _write_down(run, submitted, tell)
        if not (wait and submitted.job_id):
            return submitted
        return verdict_of(run, result.wait_until_finish, lambda error: why(error, submitted.job_id, submitted.url))


def with_profile(job: JobConfig, profile: Profile, date: dt.date) -> JobConfig:
    """The job with the runner, the workers and the Beam options of the profile; the job's own options win."""
    options = dataflow_arguments(profile, job_name(profile, date)) if profile.runner == "dataflow" else ()
    profiled = {"runner": profile.runner, "workers": profile.workers, "beam_options": (*options, *job.beam_options)}
    return job.model_copy(update=profiled)


def _write_down(run: Run, submitted: Submitted, tell: Tell) -> None:
    try:
        store_for(run.output).write(run.job, to_bytes(asdict(submitted)))
    except Exception as error:
        tell(f"{run.job} cannot be written, so `runs` will not show job {submitted.job_id}: {cause(error)}")


def _forget(prepared: Prepared) -> None:
    """Deletes the plan of a job that was not taken; the plan of a run that it resumed stays."""
    if prepared.resumed is None:
        deletion.delete(prepared.run.output, [prepared.run.plan])


def _submitted(prepared: Prepared, result: Any, options: PipelineOptions) -> Submitted:
    google = options.view_as(GoogleCloudOptions)
    job_id = result.job_id() if result.has_job else ""
    place = f"{google.region}/{job_id}?project={google.project}"
    return Submitted(
        run_id=prepared.run.run_id,
        output=prepared.run.output,
        job_id=job_id,
        project=google.project,
        region=google.region,
        url=f"https://console.cloud.google.com/dataflow/jobs/{place}" if job_id else "",
    )


def plan(job: JobConfig, profile: Profile, now: dt.datetime | None = None) -> SubmitPlan:
    """What `submit` would send. Checks what `submit` checks and raises the same; sends nothing and writes nothing."""
    now = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    date, hints = logical_date(job.date, job.timezone, now), resource_hints(profile)
    profiled = with_profile(job, profile, date)
    options = job_options(profiled, hints, date)
    prepared = prepare(profiled, date, now, hints=hints, needs_gpu=needs_gpu(options, hints))
    fastest = "" if job.precision == "fastest" else fastest_told(profiled, prepared.bundle, prepared.compute.needs_gpu)
    return SubmitPlan(
        prepared=prepared,
        options=dict(sorted(options.get_all_options(drop_default=True).items())),
        steps=tuple(steps_of(prepared)),
        estimate=estimate(prepared.plan.rows, *tokens_per_row(prepared), profile),
        fastest=fastest,
    )


def tokens_per_row(prepared: Prepared) -> tuple[float, str]:
    """Tokens that are computed for a row, and where the figure is from.

    What the newest published date of the output with this bundle took, else the most the bundle allows.
    """
    published = read_manifests(prepared.run.output).published
    for date, manifest in sorted(published.items(), reverse=True):
        if manifest["bundle"] == prepared.run.bundle and (found := computed_tokens(manifest)):
            return found, f"as computed for dt={date}, copies of the same text left out"
    most = prepared.bundle.max_tokens
    return most, f"assumed: the {most:,} a row that the bundle takes at most, so an upper limit"


def steps_of(prepared: Prepared) -> Iterator[Step]:
    """The steps of the pipeline, from the graph that runners get; the parts of a step where their hints differ."""
    # The runner of the job is neither started nor asked.
    p = beam.Pipeline(runner="FnApiRunner")
    build(p, prepared)
    for node in p.transforms_stack[0].parts:
        hints = [leaf.resource_hints for leaf in _leaves(node)]
        for part in [node] if all(one == hints[0] for one in hints) else node.parts:
            kinds = {tag or "main": pcoll.element_type for tag, pcoll in part.outputs.items()}
            yield Step(
                name=part.full_label,
                types=tuple(f"{tag}: {getattr(kind, '__name__', kind)}" for tag, kind in kinds.items()),
                hints={_HINTS.get(u, u): text.decode() for u, text in sorted(_leaves(part)[0].resource_hints.items())},
            )


def _leaves(node: AppliedPTransform) -> list[AppliedPTransform]:
    return [leaf for part in node.parts for leaf in _leaves(part)] or [node]
