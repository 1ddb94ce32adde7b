"""`bert-batch submit`: a job where a profile says."""

from typing import Annotated, Any

import typer

from pipeline.commands.flags import JobFile, LogFormat, flags_of, job_of
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
    run(lambda: _submit(job_of(job, flags), profile, set or [], plan, not detach, log_format), log_format)


def _submit(job: JobConfig, profile_file: str, pairs: list[str], only_plan: bool, wait: bool, log_format: str) -> int:
    with quiet_stderr():
        from pipeline.dataflow.profile import load_profile, overrides
        from pipeline.terminal.console import console_for
        from pipeline.terminal.submitted import teller, warner

    console = console_for(log_format)
    profile = load_profile(profile_file, overrides(pairs))
    if only_plan:
        with quiet_stderr():
            from pipeline.submitting import plan
            from pipeline.terminal.submit_plan import emit_plan, show_plan

            found = plan(job, profile)
        (show_plan if log_format == "text" else emit_plan)(found)
        return DONE
    with quiet_stderr():
        from pipeline.submitting import submit as send
    ended = send(
        job,
        profile,
        wait=wait,
        watch=console.watch,
        tell=teller(log_format, when_interrupted),
        warn=warner(log_format),
        progress=console.progress,
    )
    return end(ended, console)


def score_on_dataflow(job: JobConfig, log_format: str) -> int:
    """`score --runner dataflow`: all that a profile would say is among the Beam options. Gives the exit code."""
    with quiet_stderr():
        from pipeline.submitting import submit_job
        from pipeline.terminal.console import console_for
        from pipeline.terminal.submitted import teller, warner

    console = console_for(log_format)
    sent = submit_job(job, watch=console.watch, tell=teller(log_format, when_interrupted), warn=warner(log_format))
    return end(sent, console)


def end(ended: Any, console: Any) -> int:
    """Prints the verdict, if there is one, and gives the exit code."""
    from pipeline.errors import EXIT_CODES
    from transforms.runs.verdict_record import Verdict

    if not isinstance(ended, Verdict):
        return DONE
    console.verdict(ended)
    return EXIT_CODES.get(ended.status, FAILED)
