"""`bert-batch submit`: a job where a profile says."""

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from pipeline.commands.start import run, when_interrupted
from pipeline.runners.silence import quiet_stderr

DONE, FAILED = 0, 1


def _where(
    profile: Annotated[str, typer.Option(help="YAML file: on which machines. Some are in deploy/profiles.")],
    set: Annotated[
        list[str] | None, typer.Option("--set", help="Key of the profile: key=value, gpu.placement=all. Repeatable.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be sent, to which steps, and what it takes.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait; `bert-batch runs` shows the verdict.")] = False,
) -> None: ...


def submit_command(score: Callable[..., None], job_of: Callable[..., Any]) -> Callable[..., None]:
    """The command, with the flags of `score` but the runner and the workers, which the profile names."""

    def submit(**flags: Any) -> None:
        """Score every text of the input on the machines of a profile, and publish the date."""
        run(lambda: _submit(flags, job_of), flags["log_format"])

    own = list(signature(_where).parameters.values())
    shared = [value for name, value in signature(score).parameters.items() if name not in ("runner", "workers")]
    keyword = [value.replace(kind=Parameter.KEYWORD_ONLY) for value in (*own, *shared)]
    submit.__signature__ = Signature(keyword)  # type: ignore[attr-defined]
    submit.__annotations__ = {**_where.__annotations__, **score.__annotations__}
    return submit


def _submit(flags: dict[str, Any], job_of: Callable[..., Any]) -> int:
    profile_file, pairs, only_plan, detach = (flags.pop(name) for name in ("profile", "set", "plan", "detach"))
    log_format = flags["log_format"]
    job = job_of(flags)
    with quiet_stderr():
        from pipeline.dataflow.profile import load_profile, overrides
        from pipeline.terminal.console import console_for

    console = console_for(log_format)
    profile = load_profile(profile_file, overrides(pairs or []))
    if only_plan:
        with quiet_stderr():
            from pipeline.submitting import plan
            from pipeline.terminal.submit_plan import emit_plan, show_plan

            found = plan(job, profile)
        (show_plan if log_format == "text" else emit_plan)(found)
        return DONE
    with quiet_stderr():
        from pipeline.submitting import submit
        from pipeline.terminal.submitted import teller, warner
    ended = submit(
        job,
        profile,
        wait=not detach,
        watch=console.watch,
        tell=teller(log_format, when_interrupted),
        warn=warner(log_format),
        progress=console.progress,
    )
    return end(ended, console)


def score_on_dataflow(job: Any, log_format: str) -> int:
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
