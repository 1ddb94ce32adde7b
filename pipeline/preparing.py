"""A job that is ready to run: bundle, input, outputs and earlier attempts were checked, nothing is written yet."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from model.bundle import Bundle
from pipeline.errors import ConfigError
from pipeline.jobs.bundle import bundle_of, describe_for, embedding_of, thresholds_of
from pipeline.jobs.column_types import arrow_types
from pipeline.jobs.config import LOCAL, JobConfig
from pipeline.jobs.dates import fill, fill_sql
from pipeline.jobs.inputs import read_query, table_of, with_ways_out
from pipeline.jobs.outputs import check_writable
from pipeline.jobs.own_files import check_file, check_input_apart
from pipeline.jobs.record import about_run, compared_precision, digest
from pipeline.runners.computing import choose_for
from transforms.batches.schemas import Columns
from transforms.bigquery.names import table_name
from transforms.publish.table_commit import check_record
from transforms.publish.table_sink import TableSink, check_tables, table_sink
from transforms.read.columns import check_names
from transforms.read.earlier import Earlier, Found, PassedOver, find_earlier
from transforms.read.plan_files import list_inputs, plan_inputs
from transforms.read.plan_table import plan_query, plan_table
from transforms.read.published_types import check_numbers_stay
from transforms.runs.history import published_verdict
from transforms.runs.labelling import Labelling
from transforms.runs.plan import Plan
from transforms.runs.resume import Resumed, find_resumable
from transforms.runs.run import Run, manifest_path, new_run_id, read_manifest
from transforms.runs.verdict_record import Verdict
from transforms.score.compute import Compute

if TYPE_CHECKING:
    # With it comes TensorFlow.
    from transforms.score.engines.choice import Choice


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job that is ready to run.

    `about` is what the plan file says besides its splits; `resumed` the attempt at the same work that died, if any;
    `earlier` the date that scores can be taken from, `passed_over` a date that lacks the digests for that;
    `new_tables` those of `sink` that do not exist yet; `choice` the engine and the precision, and why.
    """

    job: JobConfig
    bundle: Bundle
    plan: Plan
    run: Run
    labelling: Labelling
    compute: Compute
    choice: "Choice"
    about: dict[str, Any]
    resumed: Resumed | None = None
    earlier: Earlier | None = None
    passed_over: PassedOver | None = None
    sink: TableSink | None = None
    new_tables: tuple[str, ...] = ()

    @property
    def columns_read(self) -> Columns:
        """The columns up to Validate: with those of the earlier date, if there is one."""
        return replace(self.plan.columns, earlier=None if self.earlier is None else self.earlier.type)

    @property
    def carried_precision(self) -> str:
        """What the rows that are taken over unchanged were computed in."""
        return "" if self.earlier is None else self.earlier.precision


class FoundTable(NamedTuple):
    """The table that a job loads into, whether it is there yet, and the folder it is loaded from."""

    name: str
    new: bool
    loaded_from: str


class Comparison(NamedTuple):
    """What --only-new compares with, as the plan and the manifest say it."""

    about: Mapping[str, Any]


Tell = Callable[["Bundle | Plan | Run | FoundTable | Labelling | Comparison | Choice"], None]


@with_ways_out
def first_look(job: JobConfig, date: dt.date) -> None:
    """Checks names and `bundle.json`, without TensorFlow, whose import takes ten seconds.

    Raises ConfigError, BundleError, PlanError or NoInputError; `prepare` checks again, and the contents too.
    """
    check_input_apart(job, date)
    describe_for(job)
    if job.outputs.folder is not None:
        check_writable(job.outputs.folder)
    if job.input_query is not None:
        fill_sql(read_query(job.input_query), date, f"--input-query {job.input_query}")
    elif (table := table_of(job.input)) is None:
        list_inputs(_patterns(job, date), job.format, allow_missing=job.allow_missing, check=check_file(job.home))
    else:
        fill(table, date, "--input")
        fill_sql(job.input_filter or "", date, "--input-filter")


def already_published(job: JobConfig, date: dt.date) -> Verdict | None:
    """The verdict of a published date that the job leaves alone; None if there is work to do."""
    return published_verdict(job.home, date) if job.if_published == "skip" else None


def prepare(
    job: JobConfig,
    date: dt.date,
    now: dt.datetime,
    progress: str | None = None,
    *,
    tell: Tell = lambda _: None,
    hints: Mapping[str, str] | None = None,
    needs_gpu: bool = False,
) -> Prepared:
    """Looks at bundle, input and outputs of a logical date, and writes nothing.

    `progress`, `hints` and `needs_gpu`: see Compute.

    `tell` is given each thing as soon as it is found to be right.

    Raises ConfigError, BundleError, PlanError or NoInputError, each with the way out.
    """
    check_input_apart(job, date)
    bundle = bundle_of(job)
    tell(bundle)
    # Before the input is listed: this run must not overtake one that lists more and publishes meanwhile.
    manifest, _ = read_manifest(manifest_path(job.home, date))
    plan = plan_of(job, date)
    folder, windows = job.outputs.folder is not None, bundle.windows
    asked = {"decision": job.min_probability is not None, "embedding": job.embeddings is not None}
    check_names(plan.columns, bundle.task, folder=folder, windows=windows, **asked)
    tell(plan)
    # BigQuery takes no file with a time outside its calendar.
    bounded = job.outputs.table is not None
    plan = replace(plan, columns=replace(plan.columns, digests=job.digests, bounded=bounded, windows=windows))
    check_numbers_stay(plan.columns, job.home, arrow_types(), plan.texts)
    run = Run(
        run_id=new_run_id(now),
        output=job.home,
        date=date,
        started=now,
        sequence=0 if manifest is None else manifest["sequence"],
        bundle=bundle.reference,
        budget=job.budget,
    )
    tell(run)
    labelling = _labelling(job, bundle, plan, run)
    sink, new_tables = _sink(job, labelling)
    if sink is not None:
        tell(FoundTable(sink.table, sink.table in new_tables, sink.staging or run.output))
    tell(labelling)
    choice = choose_for(job, bundle, needs_gpu)
    tell(choice)
    # Where only the workers elsewhere can tell, it is not known.
    precision = choice.precision or "auto"
    earlier, passed_over = _earlier(job, bundle, run, precision, choice.engine) if job.only_new else Found()
    about = about_run(job, plan, run, earlier, sink)
    about |= {"not_compared_with": None if passed_over is None else asdict(passed_over)}
    about |= {"engine": choice.engine, "graph": bundle.graph}
    if job.only_new:
        tell(Comparison(about))
    compared = compared_precision(choice.precision, needs_gpu)
    about |= {"digest": digest(job, plan, run, earlier, sink, compared, choice.engine, choice.chip)}
    resumed = find_resumable(run, about["digest"])
    # An attempt that died is resumed under its own run id.
    run = run if resumed is None else resumed.run
    return Prepared(
        job=job,
        bundle=bundle,
        plan=plan,
        run=run,
        labelling=_labelling(job, bundle, plan, run),
        compute=Compute(
            token_budget=job.token_budget,
            precision=choice.precision,
            engine=choice.engine,
            # Workers elsewhere cannot write to a file of this machine.
            chip=choice.chip,
            embeddings=job.embeddings is not None,
            progress=progress if job.runner in LOCAL else None,
            hints=dict(hints or {}),
            needs_gpu=needs_gpu,
        ),
        choice=choice,
        about=about,
        resumed=resumed,
        earlier=earlier,
        passed_over=passed_over,
        sink=sink,
        new_tables=new_tables,
    )


@with_ways_out
def plan_of(job: JobConfig, date: dt.date) -> Plan:
    """What the job reads for `date`: files, a table, or the result of a query; raises what the plans raise."""
    if job.input_query is not None:
        query = fill_sql(read_query(job.input_query), date, f"--input-query {job.input_query}")
        return plan_query(job.input_query, query, job.columns, allow_missing=job.allow_missing)
    if (table := table_of(job.input)) is not None:
        restriction = None if job.input_filter is None else fill_sql(job.input_filter, date, "--input-filter")
        name = table_name(fill(table, date, "--input"))
        if job.outputs.table is not None and name.removesuffix("__dead_letters") == job.outputs.table:
            raise ConfigError(f"--input bq://{name}: is the output table, of which the rows of a date are replaced")
        return plan_table(name, job.columns, restriction=restriction, allow_missing=job.allow_missing)
    return plan_inputs(
        _patterns(job, date),
        job.columns,
        file_format=job.format,
        allow_missing=job.allow_missing,
        check=check_file(job.home),
        dialect=job.dialect,
    )


def _patterns(job: JobConfig, date: dt.date) -> list[str]:
    return [fill(pattern, date, "--input") for pattern in job.input]


def _labelling(job: JobConfig, bundle: Bundle, plan: Plan, run: Run) -> Labelling:
    try:
        return Labelling(
            labels=bundle.labels,
            columns=plan.columns,
            run=run,
            top_k=job.top_k,
            thresholds=thresholds_of(job, bundle),
            min_probability=job.min_probability,
            embedding=embedding_of(job, bundle),
        )
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
        kept=labelling.columns.kept.names,
    )
    new = check_tables(sink)
    check_record(job.outputs.table, labelling.run.date, labelling.run.manifest)
    return sink, tuple(new)


def _earlier(job: JobConfig, bundle: Bundle, run: Run, precision: str, engine: str) -> Found:
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
        engine=engine,
        top_k=job.top_k,
        threshold=job.threshold,
        embeddings=job.embeddings,
        embedding=embedding_of(job, bundle),
        windows=bundle.windows,
    )
