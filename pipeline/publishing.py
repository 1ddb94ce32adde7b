"""Publishing a run that is there, as its own last step would have done."""

from pipeline.config import ConfigError
from pipeline.failures import RunFailedError
from transforms.history import find_run, list_runs
from transforms.publish import PublishError, finish_pending, publish, standing
from transforms.verdicts import PASSED, Verdict


def publish_again(output: str, run_id: str) -> Verdict:
    """Finishes what is pending below `output`, publishes the run, and gives its standing then.

    Raises ConfigError if no such run was planned there, RunFailedError if it did not come to its end, and PublishError
    if a staged file is gone.
    """
    finish_pending(output)
    run = find_run(output, run_id)
    if run is None:
        newest = sorted(list_runs(output), reverse=True)[:5]
        there = f"the newest are {', '.join(newest)}" if newest else "there are none"
        raise ConfigError(f"{run_id!r} is no run of --output {output}; {there}")
    if run.output != output:
        # Plan and verdict hold whole paths: they would be published there, and not be found here.
        raise ConfigError(f"run {run_id} was planned for --output {run.output}: give that, or score the date again")
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
