"""START READING HERE: the whole scoring job on one page."""

import datetime as dt
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace

import apache_beam as beam

from model.bundle import Bundle
from pipeline.config import ConfigError, JobConfig
from pipeline.dates import fill, logical_date
from pipeline.failures import RunFailedError, cause
from pipeline.runners import beam_options, share_cores
from transforms.bigquery_commit import check_record
from transforms.bigquery_tables import TableSink, check_tables, table_sink
from transforms.bundles import BundleReference, open_bundle
from transforms.featurize import FeaturizeTexts
from transforms.label import Labelling
from transforms.plan import Plan, plan_inputs, write_plan
from transforms.publish import PublishRun, finish_pending, standing
from transforms.read import ReadTexts
from transforms.runs import Run, date_folder, manifest_path, new_run_id, read_manifest
from transforms.score import Compute, ScoreTokens
from transforms.stores import covers, store_for
from transforms.validate import ValidateTexts
from transforms.verdicts import PASSED, Verdict
from transforms.write import WriteDeadLetters, WriteScores

Watch = Callable[["Prepared"], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job that is ready to run: everything that can be wrong about it has been looked at."""

    job: JobConfig
    bundle: Bundle
    plan: Plan
    run: Run
    labelling: Labelling
    compute: Compute
    sink: TableSink | None = None
    new_tables: tuple[str, ...] = ()


def build(p: beam.Pipeline, prepared: Prepared) -> None:
    """Adds the whole job to the pipeline `p`."""
    run, columns = prepared.run, prepared.plan.columns
    bundle = BundleReference(path=prepared.job.bundle, fingerprint=prepared.bundle.fingerprint)

    read = p | "Read" >> ReadTexts(run.plan, columns, trust_ids=prepared.job.trust_ids)
    valid = read.rows | "Validate" >> ValidateTexts(columns)
    featurized = valid.texts | "Featurize" >> FeaturizeTexts(bundle, columns)
    scored = featurized.tokens | "Score" >> ScoreTokens(bundle, prepared.labelling, prepared.compute)
    scores = scored.scores | "Write" >> WriteScores(run, prepared.labelling)
    rejected = (read.dead, valid.dead, featurized.dead, scored.dead) | beam.Flatten()
    dead = rejected | "WriteDead" >> WriteDeadLetters(run)
    p | "Publish" >> PublishRun(run, read=read.counts, scores=scores, dead=dead, work=scored.work)


def prepare(job: JobConfig, now: dt.datetime, progress: str | None = None) -> Prepared:
    """Looks at bundle, input and outputs, and writes nothing. `progress`: see Compute.

    Raises ConfigError, DateError, BundleError, PlanError or NoInputError, each with the way out.
    """
    date = logical_date(job.date, job.timezone, now)
    bundle = open_bundle(job.bundle)
    if not bundle.fingerprint.startswith(job.bundle_fingerprint):
        raise ConfigError(f"{job.bundle}: is bundle {bundle.fingerprint}, not the {job.bundle_fingerprint} of the job")
    _check_segments(job, bundle)
    patterns = [fill(pattern, date) for pattern in job.input]
    for pattern in patterns:
        if covers(pattern, date_folder(job.home, date)):
            raise ConfigError(f"--input {pattern} takes in the files of --output {job.home}: keep them apart")
    # Before the input is listed: a run that lists more and publishes meanwhile must not be overtaken by this one.
    manifest, _ = read_manifest(manifest_path(job.home, date))
    plan = plan_inputs(patterns, job.columns, file_format=job.format, allow_missing=job.allow_missing)
    run = Run(
        run_id=new_run_id(now),
        output=job.home,
        date=date,
        started=now,
        sequence=0 if manifest is None else manifest["sequence"],
        bundle=bundle.reference,
        budget=job.budget,
    )
    try:
        labelling = Labelling(labels=bundle.labels, columns=plan.columns, run=run, top_k=job.top_k)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    precision = None if job.precision == "auto" else job.precision
    if precision is not None and precision not in bundle.precisions:
        raise ConfigError(
            f"--precision {precision}: {job.bundle} has {', '.join(bundle.precisions)} only; make the bundle anew with "
            "this version, or leave the flag out"
        )
    compute = Compute(token_budget=job.token_budget, precision=precision, progress=progress)
    prepared = Prepared(job=job, bundle=bundle, plan=plan, run=run, labelling=labelling, compute=compute)
    return prepared if job.outputs.table is None else _with_table(prepared, job.outputs.table)


def _with_table(prepared: Prepared, table: str) -> Prepared:
    job, run = prepared.job, prepared.run
    files = prepared.labelling.file_schema
    sink = table_sink(table, files, dead_letters=job.dead_letters_table, staging=job.outputs.uploads)
    new = check_tables(sink)
    check_record(table, run.date, run.manifest)
    return replace(prepared, sink=sink, new_tables=tuple(new))


def _check_segments(job: JobConfig, bundle: Bundle) -> None:
    if bundle.segments == 2 and job.text_pair_column is None:
        raise ConfigError(
            f"{job.bundle}: scores pairs of texts; name the column of the second text with --text-pair-column"
        )
    if bundle.segments == 1 and job.text_pair_column is not None:
        raise ConfigError(
            f"--text-pair-column {job.text_pair_column!r}: {job.bundle} scores single texts; leave the flag out, "
            "or choose a bundle trained on pairs"
        )


def score(
    job: JobConfig,
    *,
    now: dt.datetime | None = None,
    watch: Watch = lambda _: nullcontext(),
    progress: str | None = None,
) -> Verdict:
    """Runs the job and gives its verdict; an error that left a verdict behind is told by the verdict alone.

    Raises what `prepare` raises before anything has run, and RunFailedError afterwards.
    """
    now = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    options = beam_options(job.runner, job.workers, job.beam_options)
    share_cores(job.workers)
    finish_pending(job.home)
    prepared = prepare(job, now, progress)
    run = prepared.run
    about: dict[str, object] = {
        "run": run.to_json(),
        "settings": {**job.settings, "date": run.date.isoformat(), "bundle": run.bundle},
        "table": prepared.sink and prepared.sink.to_json(),
        "inputs": [asdict(info) for info in prepared.plan.inputs],
    }
    write_plan(store_for(run.output), run.plan, prepared.plan, about)
    with watch(prepared):
        try:
            p = beam.Pipeline(options=options)
            build(p, prepared)
            p.run().wait_until_finish()
        except Exception as error:
            # A publisher that died after its commit has published all the same.
            finish_pending(run.output)
            verdict = standing(run)
            if verdict is None or verdict.status == PASSED:
                raise RunFailedError(f"run {run.run_id} failed: {cause(error)}") from error
            return verdict
    verdict = standing(run)
    if verdict is None:
        raise RunFailedError(f"run {run.run_id} ended without a verdict; its files are in {run.file('')}")
    return verdict
