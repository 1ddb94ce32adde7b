"""A job that is ready to run: bundle, input, outputs and earlier tries have been looked at, nothing is written yet."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from model.bundle import Bundle
from pipeline.config import TYPES, ConfigError, JobConfig
from pipeline.dates import fill, logical_date
from pipeline.inputs import table_of
from pipeline.job_bundle import bundle_of
from pipeline.query_file import read_query
from pipeline.runners import LOCAL
from transforms.bigquery import table_name
from transforms.bigquery_commit import check_record
from transforms.bigquery_tables import TableSink, check_tables, table_sink
from transforms.devices import find_device
from transforms.earlier import Earlier, find_earlier
from transforms.label import Labelling
from transforms.plan import Plan, plan_digest, plan_inputs
from transforms.plan_table import plan_query, plan_table
from transforms.published_types import check_numbers_stay
from transforms.resume import Resumed, find_resumable
from transforms.runs import Run, date_folder, manifest_path, new_run_id, read_manifest
from transforms.score import Compute
from transforms.stores import covers


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job that is ready to run.

    `about` is what the plan file says besides its splits; `resumed` the try of the same work that died, if there is
    one; `earlier` the date that scores can be taken from; `new_tables` those of `sink` that are not there yet.
    """

    job: JobConfig
    bundle: Bundle
    plan: Plan
    run: Run
    labelling: Labelling
    compute: Compute
    about: dict[str, Any]
    resumed: Resumed | None = None
    earlier: Earlier | None = None
    sink: TableSink | None = None
    new_tables: tuple[str, ...] = ()


def prepare(
    job: JobConfig,
    now: dt.datetime,
    progress: str | None = None,
    *,
    hints: Mapping[str, str] | None = None,
    needs_gpu: bool = False,
) -> Prepared:
    """Looks at bundle, input and outputs, and writes nothing. `progress`, `hints`, `needs_gpu`: see Compute.

    Raises ConfigError, DateError, BundleError, PlanError or NoInputError, each with the way out.
    """
    date = logical_date(job.date, job.timezone, now)
    bundle = bundle_of(job)
    # Before the input is listed: a run that lists more and publishes meanwhile must not be overtaken by this one.
    manifest, _ = read_manifest(manifest_path(job.home, date))
    plan = plan_of(job, date)
    # BigQuery takes no file with a time outside its calendar.
    plan = replace(plan, columns=replace(plan.columns, bounded=job.outputs.table is not None))
    check_numbers_stay(plan.columns, job.home, TYPES, plan.texts)
    run = Run(
        run_id=new_run_id(now),
        output=job.home,
        date=date,
        started=now,
        sequence=0 if manifest is None else manifest["sequence"],
        bundle=bundle.reference,
        budget=job.budget,
    )
    sink, new_tables = _sink(job, _labelling(job, bundle, plan, run))
    precision = _precision(job, bundle)
    earlier = _earlier(job, bundle, run, precision) if job.only_new else None
    about = _about(job, plan, run, earlier, sink) | {"digest": _digest(job, plan, run, earlier, sink, precision)}
    resumed = find_resumable(run, about["digest"])
    # A try that died is gone on with under its own id.
    run = run if resumed is None else resumed.run
    return Prepared(
        job=job,
        bundle=bundle,
        plan=plan,
        run=run,
        labelling=_labelling(job, bundle, plan, run),
        compute=Compute(
            token_budget=job.token_budget,
            precision=_wanted(job),
            # A file of this machine is nothing to workers elsewhere.
            progress=progress if job.runner in LOCAL else None,
            hints=dict(hints or {}),
            needs_gpu=needs_gpu,
        ),
        about=about,
        resumed=resumed,
        earlier=earlier,
        sink=sink,
        new_tables=new_tables,
    )


def plan_of(job: JobConfig, date: dt.date) -> Plan:
    """What the job reads for `date`: files, a table, or the result of a query; raises what the plans raise."""
    if job.input_query is not None:
        query = fill(read_query(job.input_query), date)
        return plan_query(job.input_query, query, job.columns, allow_missing=job.allow_missing)
    if (table := table_of(job.input)) is not None:
        restriction = None if job.input_filter is None else fill(job.input_filter, date)
        name = table_name(fill(table, date))
        return plan_table(name, job.columns, restriction=restriction, allow_missing=job.allow_missing)
    patterns = [fill(pattern, date) for pattern in job.input]
    for pattern in patterns:
        if covers(pattern, date_folder(job.home, date)):
            raise ConfigError(f"--input {pattern} takes in the files of --output {job.home}: keep them apart")
    return plan_inputs(patterns, job.columns, file_format=job.format, allow_missing=job.allow_missing)


def _labelling(job: JobConfig, bundle: Bundle, plan: Plan, run: Run) -> Labelling:
    try:
        return Labelling(labels=bundle.labels, columns=plan.columns, run=run, top_k=job.top_k)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _sink(job: JobConfig, labelling: Labelling) -> tuple[TableSink | None, tuple[str, ...]]:
    if job.outputs.table is None:
        return None, ()
    sink = table_sink(
        job.outputs.table,
        labelling.file_schema,
        dead_letters=job.dead_letters_table,
        staging=job.outputs.uploads,
    )
    new = check_tables(sink)
    check_record(job.outputs.table, labelling.run.date, labelling.run.manifest)
    return sink, tuple(new)


def _wanted(job: JobConfig) -> str | None:
    return None if job.precision == "auto" else job.precision


def _precision(job: JobConfig, bundle: Bundle) -> str:
    """What rows will be scored in; `auto` where only the workers elsewhere can tell."""
    if job.precision == "auto" and job.runner not in LOCAL:
        return "auto"
    return find_device().precision(_wanted(job), bundle.precisions)


def _earlier(job: JobConfig, bundle: Bundle, run: Run, precision: str) -> Earlier | None:
    """The published date that --only-new compares with."""
    if precision == "auto":
        raise ConfigError(
            f"--only-new with --runner {job.runner}: what the workers score on is not known here; "
            "say it with --precision"
        )
    return find_earlier(
        run.output,
        run.date,
        fingerprint=bundle.fingerprint,
        task=bundle.task,
        precision=precision,
        top_k=job.top_k,
    )


def _about(job: JobConfig, plan: Plan, run: Run, earlier: Earlier | None, sink: TableSink | None) -> dict[str, Any]:
    return {
        "run": run.to_json(),
        "settings": {**job.settings, "date": run.date.isoformat(), "bundle": run.bundle},
        "table": None if sink is None else sink.to_json(),
        "inputs": [asdict(info) for info in plan.inputs],
        "compared_with": None if earlier is None else {"date": earlier.date, "run_id": earlier.run_id},
        **({} if plan.table is None else {"table_input": asdict(plan.table)}),
    }


def _digest(
    job: JobConfig, plan: Plan, run: Run, earlier: Earlier | None, sink: TableSink | None, precision: str
) -> str:
    """One string for all tries of the same work: everything that decides the rows, and nothing else."""
    about = _about(job, plan, run, earlier, sink)
    settings = {**job.compared_settings, "date": run.date.isoformat(), "bundle": run.bundle}
    content = {"version": version("bert-batch"), "precision": precision}
    return plan_digest(plan, {**settings, **content, "table": about["table"], "compared": about["compared_with"]})
