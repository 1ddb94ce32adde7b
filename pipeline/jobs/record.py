"""What the plan of a run says about its job, and the digest by which equal work is recognised."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline.jobs.config import JobConfig

if TYPE_CHECKING:
    from transforms.publish.table_sink import TableSink
    from transforms.read.earlier import Earlier
    from transforms.runs.plan import Plan
    from transforms.runs.run import Run

SAME_ROWS_SINCE = "0.1.0"
"""The oldest version that makes the same rows of the same job: what its attempts have finished is taken over. A version
that makes other rows must raise it."""


def about_run(
    job: JobConfig, plan: "Plan", run: "Run", earlier: "Earlier | None", sink: "TableSink | None"
) -> dict[str, Any]:
    """What the plan file of a run says besides its splits."""
    return {
        "run": run.to_json(),
        "settings": {**job.settings, "date": run.date.isoformat(), "bundle": run.bundle},
        "table": None if sink is None else sink.to_json(),
        "inputs": [asdict(info) for info in plan.inputs],
        "compared_with": None if earlier is None else {"date": earlier.date, "run_id": earlier.run_id},
        **({} if plan.table is None else {"table_input": asdict(plan.table)}),
    }


def compared_precision(precision: str | None, needs_gpu: bool) -> str:
    """What resume compares: where only the workers can tell (None), a GPU and a CPU choose differently."""
    return precision or ("auto+gpu" if needs_gpu else "auto")


def digest(
    job: JobConfig,
    plan: "Plan",
    run: "Run",
    earlier: "Earlier | None",
    sink: "TableSink | None",
    precision: str,
    engine: str,
    chip: str | None = None,
) -> str:
    """One string for all attempts at the same work: everything that decides the rows, and nothing else."""
    from model.bundle import TENSORFLOW
    from transforms.batches.text_digests import DIGEST
    from transforms.runs.plan import plan_digest

    about = about_run(job, plan, run, earlier, sink)
    settings = {**job.compared_settings, "date": run.date.isoformat(), "bundle": run.bundle}
    content: dict[str, str | None] = {"version": SAME_ROWS_SINCE, "precision": precision}
    # Attempts of versions that knew no other one do not say it.
    content |= {} if engine == TENSORFLOW else {"engine": engine, "chip": chip}
    # An attempt of an earlier version compared by `text_hash`: its rows are not taken over.
    compared = None if earlier is None else {**about["compared_with"], "by": DIGEST}
    return plan_digest(plan, {**settings, **content, "table": about["table"], "compared": compared})
