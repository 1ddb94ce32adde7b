"""`bert-batch submit`: a job where a profile says."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pipeline.commands.flags import JobFile, LogFormat, flags_of, job_of
from pipeline.commands.score import with_report
from pipeline.commands.start import run, when_interrupted
from pipeline.jobs.config import JobConfig
from pipeline.jobs.fields import WHERE
from pipeline.runners.silence import quiet_stderr

DONE, FAILED = 0, 1


@flags_of(JobConfig, without=("runner", "workers"))
def submit(
    profile: Annotated[
        str,
        typer.Option(help="YAML file: on which machines. Some are in deploy/profiles.", rich_help_panel=WHERE),
    ],
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Key of the profile: key=value, gpu.placement=all. Repeatable.", rich_help_panel=WHERE
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Only say what would be sent, to which steps, and what it takes.", rich_help_panel=WHERE
        ),
    ] = False,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Do not wait; `bert-batch runs` shows the verdict.", rich_help_panel=WHERE),
    ] = False,
    job: JobFile = None,
    log_format: LogFormat = "text",
    **flags: Any,
) -> None:
    """Score every text of the input on the machines of a profile, and publish the date."""
    run(lambda: send(job_of(job, flags), log_format, profile, set or [], plan, not detach), log_format)


def send(
    job: JobConfig,
    log_format: str,
    profile_file: str | None = None,
    pairs: Sequence[str] = (),
    only_plan: bool = False,
    wait: bool = True,
) -> int:
    """Submits a job or plans it, prints what becomes of it, and gives the exit code.

    Without a profile it goes to Dataflow as its Beam options say: that is `score --runner dataflow`.
    """
    with quiet_stderr():
        from pipeline.dataflow.profile import load_profile, overrides
        from pipeline.terminal.console import console_for
        from pipeline.terminal.submit import show_plan, teller

    console = console_for(log_format)
    profile = None if profile_file is None else load_profile(profile_file, overrides(pairs))
    with quiet_stderr():
        from pipeline import submitting
        from pipeline.errors import EXIT_CODES

        found = submitting.plan(job, profile) if profile and only_plan else None
    if found is not None:
        show_plan(found, log_format)
        return DONE
    tell = teller(log_format, when_interrupted)

    def work(job: JobConfig) -> int:
        ended = submitting.submit(job, profile, wait=wait, watch=console.watch, tell=tell, progress=console.progress)
        if isinstance(ended, submitting.Submitted):
            return DONE
        console.verdict(ended)
        return EXIT_CODES.get(ended.status, FAILED)

    if wait:
        return with_report(job, log_format, work)
    if job.report is not None:
        tell("--report: no page is written, because --detach does not wait for the end of the run")
    return work(job)
