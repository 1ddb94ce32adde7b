"""START READING HERE: the whole scoring job on one page."""

import datetime as dt
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import apache_beam as beam

from model.bundle import Bundle
from pipeline.config import ConfigError, JobConfig
from pipeline.dates import fill, logical_date
from pipeline.failures import RunFailedError, cause
from pipeline.inputs import table_of
from pipeline.runners import LOCAL, beam_options, share_cores
from transforms.bigquery import table_name
from transforms.bundles import BundleReference, open_bundle
from transforms.carry import CarryScores
from transforms.devices import find_device
from transforms.earlier import Earlier, find_earlier
from transforms.featurize import FeaturizeTexts
from transforms.label import Labelling
from transforms.plan import Plan, plan_digest, plan_inputs, write_plan
from transforms.plan_table import plan_query, plan_table
from transforms.publish import PublishRun, finish_pending, publish, standing
from transforms.read import ReadTexts
from transforms.resume import Resumed, find_resumable, write_taken
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
    resumed: Resumed | None = None
    earlier: Earlier | None = None

    @property
    def about(self) -> dict[str, object]:
        """What the plan file says of the run besides its splits."""
        inputs = [asdict(info) for info in self.plan.inputs]
        return {
            "run": self.run.to_json(),
            "settings": _settings(self.job, self.run),
            "inputs": inputs,
            "compared_with": _compared_with(self.earlier),
            "digest": _digest(self.job, self.plan, self.run, self.earlier),
            **({} if self.plan.table is None else {"table_input": asdict(self.plan.table)}),
        }


def _settings(job: JobConfig, run: Run) -> dict[str, Any]:
    return {**job.settings, "date": run.date.isoformat(), "bundle": run.bundle}


def _compared_with(earlier: Earlier | None) -> dict[str, str] | None:
    return None if earlier is None else {"date": earlier.date, "run_id": earlier.run_id}


def _digest(job: JobConfig, plan: Plan, run: Run, earlier: Earlier | None) -> str:
    return plan_digest(plan, {**_settings(job, run), "compared_with": _compared_with(earlier)})


def build(p: beam.Pipeline, prepared: Prepared, taken: str | None = None) -> None:
    """Adds the whole job to the pipeline `p`. `taken`: the file of what is taken over from a try that died."""
    run, columns, earlier = prepared.run, prepared.plan.columns, prepared.earlier
    columns_read = replace(columns, earlier=None if earlier is None else earlier.type)
    bundle = BundleReference(path=prepared.job.bundle, fingerprint=prepared.bundle.fingerprint)

    trust_ids = prepared.job.trust_ids
    read = p | "Read" >> ReadTexts(
        run.plan, columns_read, trust_ids=trust_ids, staged=run.staged, taken=taken, earlier=earlier
    )
    valid = read.rows | "Validate" >> ValidateTexts(columns_read)
    featurized = valid.texts | "Featurize" >> FeaturizeTexts(bundle, columns)
    scored = featurized.tokens | "Score" >> ScoreTokens(bundle, prepared.labelling, prepared.compute)
    scores = scored.scores | "Write" >> WriteScores(run, prepared.labelling)
    carried = valid.unchanged | "Carry" >> CarryScores(prepared.labelling, "" if earlier is None else earlier.precision)
    unchanged = carried | "WriteCarried" >> WriteScores(run, prepared.labelling, kind="unchanged")
    dead = (read.dead, valid.dead, featurized.dead, scored.dead) | "WriteDead" >> WriteDeadLetters(run)
    p | "Publish" >> PublishRun(
        run, read=read.counts, scores=scores, dead=dead, work=scored.work, unchanged=unchanged, taken=taken
    )


def prepare(job: JobConfig, now: dt.datetime, progress: str | None = None) -> Prepared:
    """Looks at bundle, input and output, and writes nothing. `progress`: see Compute.

    Raises ConfigError, DateError, BundleError, PlanError or NoInputError, each with the way out.
    """
    date = logical_date(job.date, job.timezone, now)
    bundle = open_bundle(job.bundle)
    if not bundle.fingerprint.startswith(job.bundle_fingerprint):
        raise ConfigError(f"{job.bundle}: is bundle {bundle.fingerprint}, not the {job.bundle_fingerprint} of the job")
    _check_segments(job, bundle)
    # Before the input is listed: a run that lists more and publishes meanwhile must not be overtaken by this one.
    manifest, _ = read_manifest(manifest_path(job.output, date))
    plan = _plan(job, date)
    run = Run(
        run_id=new_run_id(now),
        output=job.output,
        date=date,
        started=now,
        sequence=0 if manifest is None else manifest["sequence"],
        bundle=bundle.reference,
        budget=job.budget,
    )
    earlier = _earlier(job, bundle, run) if job.only_new else None
    resumed = find_resumable(run, _digest(job, plan, run, earlier))
    run = run if resumed is None else resumed.run
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
    told = progress if job.runner in LOCAL else None
    compute = Compute(token_budget=job.token_budget, precision=precision, progress=told)
    return Prepared(
        job=job,
        bundle=bundle,
        plan=plan,
        run=run,
        labelling=labelling,
        compute=compute,
        resumed=resumed,
        earlier=earlier,
    )


def _earlier(job: JobConfig, bundle: Bundle, run: Run) -> Earlier | None:
    """The published date that --only-new compares with."""
    requested = None if job.precision == "auto" else job.precision
    if requested is None and job.runner not in LOCAL:
        raise ConfigError(
            f"--only-new with --runner {job.runner}: what the workers score on is not known here; "
            "say it with --precision"
        )
    return find_earlier(
        run.output,
        run.date,
        fingerprint=bundle.fingerprint,
        task=bundle.task,
        precision=find_device().precision(requested, bundle.precisions),
        top_k=job.top_k,
    )


def _plan(job: JobConfig, date: dt.date) -> Plan:
    if job.input_query is not None:
        query = fill(_query(job.input_query), date)
        return plan_query(job.input_query, query, job.columns, allow_missing=job.allow_missing)
    if (table := table_of(job.input)) is not None:
        restriction = None if job.input_filter is None else fill(job.input_filter, date)
        name = table_name(fill(table, date))
        return plan_table(name, job.columns, restriction=restriction, allow_missing=job.allow_missing)
    patterns = [fill(pattern, date) for pattern in job.input]
    for pattern in patterns:
        if covers(pattern, date_folder(job.output, date)):
            raise ConfigError(f"--input {pattern} takes in the files of --output {job.output}: keep them apart")
    return plan_inputs(patterns, job.columns, file_format=job.format, allow_missing=job.allow_missing)


def _query(file: str) -> str:
    try:
        content = store_for(file).read(file)
    except IsADirectoryError:
        content = None
    if content is None:
        raise ConfigError(f"--input-query {file}: there is no such file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"--input-query {file}: is not UTF-8; save it as such") from error


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
    finish_pending(job.output)
    prepared = prepare(job, now, progress)
    run, resumed, taken = prepared.run, prepared.resumed, None
    if resumed is None:
        write_plan(store_for(run.output), run.plan, prepared.plan, prepared.about)
    elif not resumed.passed:
        taken = write_taken(run, resumed.taken, secrets.token_hex(4))
    with watch(prepared):
        try:
            if resumed is not None and resumed.passed:
                return publish(run)
            p = beam.Pipeline(options=options)
            build(p, prepared, taken)
            with share_cores(job.workers):
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
