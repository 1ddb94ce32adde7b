"""START READING HERE: the whole scoring job on one page."""

import datetime as dt
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from types import MappingProxyType

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult

from pipeline.dataflow.gpu_checks import needs_gpu
from pipeline.errors import BadInputError, RunFailedError, bad_input, cause
from pipeline.jobs.config import JobConfig
from pipeline.jobs.dates import logical_date
from pipeline.jobs.own_files import check_input_apart
from pipeline.preparing import Prepared, already_published, prepare
from pipeline.runners.cores import share_cores
from pipeline.runners.loopback import loopback_only
from pipeline.runners.presets import check_job_server, job_options
from pipeline.runners.watchdog import listening, start_seconds, wait
from transforms.carry import CarryScores
from transforms.errors import PublishError
from transforms.featurize.step import FeaturizeTexts
from transforms.outputs.drift.histograms import Summary, baseline_of
from transforms.publish.commit import standing
from transforms.publish.gate import publish_judged
from transforms.publish.step import PublishRun
from transforms.publish.tidy import finish_pending
from transforms.read.step import ReadTexts
from transforms.runs.plan import planned_splits, write_plan
from transforms.runs.resume import write_taken
from transforms.runs.run import Run, new_run_id
from transforms.runs.verdict_record import PASSED, Verdict
from transforms.score.step import ScoreTokens
from transforms.stores.bundles import BundleReference
from transforms.stores.choose import store_for
from transforms.validate import ValidateTexts
from transforms.write import WriteDeadLetters, WriteScores

Watch = Callable[[Prepared], AbstractContextManager[None]]
NO_HINTS: Mapping[str, str] = MappingProxyType({})


def build(p: beam.Pipeline, prepared: Prepared, taken: str | None = None, heartbeats: str | None = None) -> None:
    """Adds the whole job to the pipeline `p`.

    `taken` is the file of what is taken over from an attempt that died; `heartbeats` the folder for heartbeats, if any.
    """
    run, labelling, columns = prepared.run, prepared.labelling, prepared.plan.columns
    columns_read, progress = prepared.columns_read, prepared.compute.progress
    bundle = BundleReference(path=prepared.job.bundle, fingerprint=prepared.bundle.fingerprint)

    read = p | "Read" >> ReadTexts(
        run.plan,
        columns_read,
        trust_ids=prepared.job.trust_ids,
        staged=run.staged,
        taken=taken,
        earlier=prepared.earlier,
        heartbeats=heartbeats,
        progress=progress,
        budget=run.budget,
    )
    valid = read.rows | "Validate" >> ValidateTexts(columns_read)
    featurized = valid.texts | "Featurize" >> FeaturizeTexts(bundle, columns)
    compute = replace(prepared.compute, heartbeats=heartbeats)
    scored = featurized.tokens | "Score" >> ScoreTokens(bundle, labelling, compute)
    scores = scored.scores | "Write" >> WriteScores(run, labelling)
    carried = valid.unchanged | "Carry" >> CarryScores(labelling, prepared.carried_precision, progress)
    unchanged = carried | "WriteUnchanged" >> WriteScores(run, labelling, kind="unchanged")
    dead = (read.dead, valid.dead, featurized.dead, scored.dead) | "WriteDead" >> WriteDeadLetters(run, progress)
    p | "Publish" >> PublishRun(
        run,
        read=read.counts,
        scores=scores,
        dead=dead,
        work=scored.work,
        unchanged=unchanged,
        taken=taken,
        heartbeats=heartbeats,
        progress=progress,
        baseline=_baseline(prepared),
        gate=prepared.job.gate,
    )


def _baseline(prepared: Prepared) -> Summary | None:
    """What a run is compared with of the training of its bundle."""
    bundle = prepared.bundle
    return baseline_of(bundle.baseline, same_thresholds=prepared.labelling.thresholds == bundle.thresholds)


def score(
    job: JobConfig,
    *,
    date: dt.date | None = None,
    now: dt.datetime | None = None,
    watch: Watch = lambda _: nullcontext(),
    progress: str | None = None,
    hints: Mapping[str, str] = NO_HINTS,
) -> Verdict:
    """Runs the job and gives its verdict, also that of a run that failed after its verdict was written.

    `date` is the logical date where the caller has resolved it, and `now` the start of the run.

    Raises what `begin` raises before anything has run, and what `verdict_of` raises afterwards.
    """
    now = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    date = date or logical_date(job.date, job.timezone, now)
    options = job_options(job, hints, date)
    patience = start_seconds(os.environ) if job.runner == "portable" else None
    prepared = begin(job, date, options, hints, now, progress)
    if isinstance(prepared, Verdict):
        return prepared

    with watch(prepared):
        return verdict_of(prepared.run, lambda: _run(prepared, options, now, patience))


def begin(
    job: JobConfig,
    date: dt.date,
    options: PipelineOptions,
    hints: Mapping[str, str],
    now: dt.datetime,
    progress: str | None = None,
) -> Prepared | Verdict:
    """A job that is ready and whose plan is written, or the verdict of a published date that the job leaves alone.

    Raises what `prepare` raises, and PublishError if the date is to be left alone and its table cannot be brought up
    to date.
    """
    check_input_apart(job, date)
    finish_pending(job.home, own=date)
    if (there := already_published(job, date)) is not None:
        if there.problems:
            raise PublishError(there.problems[0])
        return there
    prepared = prepare(job, date, now, progress, hints=hints, needs_gpu=needs_gpu(options, hints))
    check_job_server(options)
    if prepared.resumed is None:
        write_plan(store_for(prepared.run.output), prepared.run.plan, prepared.plan, prepared.about)
    return prepared


def verdict_of(run: Run, work: Callable[[], object], failed: Callable[[Exception], str] = cause) -> Verdict:
    """Does `work`, which ends the run, and gives its verdict; `failed` explains an error.

    Raises BadInputError if a file of the input has something that none may have, RunFailedError for all else.
    """
    try:
        work()
    except Exception as error:
        verdict = _standing_after(run)
        if verdict is None or verdict.status == PASSED:
            if (problem := bad_input(error)) is not None:
                raise BadInputError(problem) from error
            raise RunFailedError(f"run {run.run_id} failed: {failed(error)}") from error
        return verdict
    verdict = standing(run)
    if verdict is None:
        raise RunFailedError(f"run {run.run_id} ended without a verdict; its files are in {run.file('')}")
    return verdict


def _standing_after(run: Run) -> Verdict | None:
    """The verdict of a run that failed, if it can be read: an error here must not hide why the run failed."""
    with suppress(Exception):
        # A publisher that died after its commit has published nevertheless.
        finish_pending(run.output, warn=False)
    with suppress(Exception):
        return standing(run)
    return None


def _run(prepared: Prepared, options: PipelineOptions, now: dt.datetime, patience: float | None) -> None:
    if prepared.job.runner != "portable":
        with share_cores(prepared.job.workers), loopback_only():
            if (result := start(prepared, options, now)) is not None:
                result.wait_until_finish()
        return
    # A folder of this attempt alone: a resumed run has the id of an attempt that died.
    heartbeats = prepared.run.file(f"beats-{new_run_id(now)}")
    workers: int = options.view_as(DirectOptions).direct_num_workers
    with listening(heartbeats), loopback_only():
        if (result := start(prepared, options, now, heartbeats)) is not None:
            wait(result, heartbeats, workers, patience, lambda: _with_work(prepared.run, workers))


def _with_work(run: Run, workers: int) -> int:
    """How many of the worker processes have something to read."""
    with suppress(Exception):  # Streams of a table are not known before its read session is made.
        return min(workers, len(planned_splits(run.plan)))
    return workers


def start(
    prepared: Prepared, options: PipelineOptions, now: dt.datetime, heartbeats: str | None = None
) -> PipelineResult | None:
    """Starts the pipeline of a job; None if only publishing was left, and that is done. `heartbeats`: see `build`."""
    resumed = prepared.resumed
    if resumed is not None and resumed.passed:
        publish_judged(prepared.run, prepared.job.gate, _baseline(prepared))
        return None
    taken = None if resumed is None else write_taken(resumed.run, resumed.taken, new_run_id(now))
    p = beam.Pipeline(options=options)
    build(p, prepared, taken, heartbeats)
    return p.run()
