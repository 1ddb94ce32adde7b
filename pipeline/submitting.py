"""A job on Dataflow: sent there after all checks, and waited for or left to itself."""

import datetime as dt
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipeline.dataflow.options import dataflow_arguments, job_name, resource_hints
from pipeline.dataflow.profile import Profile
from pipeline.errors import TryLaterError, cause
from pipeline.jobs.config import ConfigError, JobConfig
from pipeline.jobs.dates import logical_date
from pipeline.preparing import Prepared
from pipeline.runners.presets import job_options
from pipeline.scoring import NO_HINTS, Watch, begin, score, start, verdict_of
from transforms.outputs import deletion
from transforms.runs.run import Run, to_bytes
from transforms.runs.verdict_record import Verdict
from transforms.stores.choose import store_for

_LATER = (409, 429)
"""Answers to a request for a job that change with time: the name is in use, no quota."""
_LOST = (503, 504)
"""Answers of what stands before Dataflow, which may have the job all the same."""
_REFUSED = (400, 401, 403, 404, 409, 429)
"""Answers by which there is no job; after any other one, or none, Dataflow may have taken it."""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A run that Dataflow works on; `job_id` is empty if only a template was written."""

    run_id: str
    output: str
    job_id: str
    project: str
    region: str
    url: str


Tell = Callable[[Submitted], None]
Warn = Callable[[str], None]


def submit(
    job: JobConfig,
    profile: Profile,
    *,
    extra: Sequence[str] = (),
    wait: bool = True,
    now: dt.datetime | None = None,
    watch: Watch = lambda _: nullcontext(),
    tell: Tell = lambda _: None,
    warn: Warn = warnings.warn,
    progress: str | None = None,
) -> Verdict | Submitted:
    """Runs the job where the profile says; `extra` are Beam options, `tell` hears of the job at Dataflow.

    `warn` hears what went wrong beside a job that goes on.

    Raises what `score` and `submit_job` raise. A profile for this machine always waits.
    """
    now = now or dt.datetime.now(dt.UTC)
    placed = placed_job(job, profile, extra, now)
    if profile.runner == "direct":
        return score(placed, now=now, watch=watch, progress=progress)
    hints = resource_hints(profile)
    return submit_job(placed, hints=hints, wait=wait, now=now, watch=watch, tell=tell, warn=warn)


def placed_job(job: JobConfig, profile: Profile, extra: Sequence[str], now: dt.datetime) -> JobConfig:
    """The job with the runner, the workers and the Beam options of the profile; `extra` options come last."""
    if profile.runner == "direct":
        placed = {"runner": "direct", "workers": profile.workers, "beam_options": (*job.beam_options, *extra)}
        return job.model_copy(update=placed)
    name = job_name(profile, logical_date(job.date, job.timezone, now))
    options = (*dataflow_arguments(profile, name), *job.beam_options, *extra)
    return job.model_copy(update={"runner": "dataflow", "workers": 1, "beam_options": options})


def submit_job(
    job: JobConfig,
    *,
    hints: Mapping[str, str] = NO_HINTS,
    wait: bool = True,
    now: dt.datetime | None = None,
    watch: Watch = lambda _: nullcontext(),
    tell: Tell = lambda _: None,
    warn: Warn = warnings.warn,
) -> Verdict | Submitted:
    """Sends a job with the runner dataflow; gives its verdict, or without `wait` (and for a template) what was sent.

    Raises ConfigError and what `score` raises before anything has run; TryLaterError if Dataflow has a job of that
    name, no quota or no service now; RunFailedError for a job that does not end well.
    """
    now = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    options = job_options(job, hints, logical_date(job.date, job.timezone, now))
    prepared = begin(job, options, hints, now)
    if isinstance(prepared, Verdict):
        return prepared
    run = prepared.run
    if prepared.resumed is not None and prepared.resumed.passed:
        # Publishing needs no workers.
        return verdict_of(run, lambda: start(prepared, options, now))
    with watch(prepared):
        with _refusals(prepared):
            result: Any = start(prepared, options, now)
        submitted = _submitted(prepared, result, options)
        # First of all: from here on a job costs money, and only its id stops it.
        tell(submitted)
        if not submitted.job_id:
            return submitted
        _write_down(run, submitted, warn)
        if not wait:
            return submitted
        return verdict_of(run, result.wait_until_finish, lambda error: _why(error, submitted))


def _write_down(run: Run, submitted: Submitted, warn: Warn) -> None:
    try:
        store_for(run.output).write(run.job, to_bytes(asdict(submitted)))
    except Exception as error:
        warn(f"{run.job} cannot be written, so `runs` will not show job {submitted.job_id}: {cause(error)}")


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


@contextmanager
def _refusals(prepared: Prepared) -> Iterator[None]:
    """What is said where Dataflow does not take a job; the plan of one that it surely has not taken goes."""
    from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError
    from google.api_core.exceptions import GoogleAPICallError

    try:
        yield
    except Exception as error:
        duplicate = isinstance(error, DataflowJobAlreadyExistsError)
        refused = duplicate or (isinstance(error, GoogleAPICallError) and error.code in _REFUSED)
        if refused and prepared.resumed is None:
            deletion.delete(prepared.run.output, [prepared.run.plan])
        if isinstance(error, DataflowJobAlreadyExistsError):
            raise TryLaterError(f"{error.args[0].split('. If')[0]}: it must end first") from error
        if not isinstance(error, GoogleAPICallError):
            raise
        # The answer to a request that holds no row of the input.
        if error.code in _LOST:
            raise TryLaterError(
                f"Dataflow may have taken the job or not: {error.code} {error.message}; send it again: if there is one "
                "of its name, no second one is taken"
            ) from error
        message = f"Dataflow does not take the job: {error.code} {error.message}"
        if error.code in _LATER:
            raise TryLaterError(message) from error
        if 400 <= (error.code or 0) < 500:
            raise ConfigError(message) from error
        raise


def _why(error: Exception, submitted: Submitted) -> str:
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException

    where = f"Dataflow job {submitted.job_id}, see {submitted.url}"
    if not isinstance(error, DataflowRuntimeException):
        return f"{cause(error)}; {where}"
    # Its message repeats what workers said, which may quote a text.
    return f"the job ended {error.result.state}; {where}"
