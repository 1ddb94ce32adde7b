"""Publishes a run that ended and was not published, as its own last step would have done."""

import datetime as dt

from pipeline.errors import ConfigError, RunFailedError
from pipeline.jobs.own_files import check_links
from transforms.errors import PublishError
from transforms.publish.commit import publish, standing
from transforms.publish.tidy import finish_pending
from transforms.runs.history import find_run, list_runs, read_manifests
from transforms.runs.row_counts import Work
from transforms.runs.run import date_folder
from transforms.runs.verdict_record import PASSED, PUBLISHED, Verdict
from transforms.runs.verdicts import accept


def publish_again(output: str, run_id: str, *, accepted: bool = False) -> Verdict:
    """Finishes what is pending below `output`, publishes the run, and gives the verdict it has then.

    A run that the gate holds is published only if it is `accepted`.

    Raises ConfigError if no such run was planned there, RunFailedError if it did not finish, and PublishError if a
    staged file is gone.
    """
    finished = finish_pending(output)
    run = find_run(output, run_id)
    if (run is None or run.output != output) and run_id in finished:
        # Its plan is gone, or the output was moved: the manifest is enough to finish what is committed.
        return _committed(output, run_id)
    if run is None:
        newest = sorted(list_runs(output), reverse=True)[:5]
        there = f"the newest are {', '.join(newest)}" if newest else "there are none"
        raise ConfigError(f"{run_id!r} is no run of --output {output}; {there}")
    if run.output != output:
        # Plan and verdict have absolute paths: the run would be published there, and not here.
        raise ConfigError(f"run {run_id} was planned for --output {run.output}: give that, or score the date again")
    check_links(output, run.date.isoformat())
    if accepted:
        accept(run.verdict)
    try:
        return publish(run)
    except PublishError:
        verdict = standing(run)
        if verdict is None:
            raise RunFailedError(
                f"run {run_id} has not come to its end, so nothing can be published: wait if it is still running, "
                "else run the job again"
            ) from None
        if verdict.status == PASSED:
            raise
        return verdict


def _committed(output: str, run_id: str) -> Verdict:
    """What the manifest says of a run that it names."""
    manifest = next(found for found in read_manifests(output).read.values() if found["run_id"] == run_id)
    return Verdict(
        status=PUBLISHED,
        run_id=run_id,
        folder=date_folder(output, dt.date.fromisoformat(manifest["logical_date"])),
        counts=manifest["counts"],
        work={**Work().told, **manifest["work"]},
    )
