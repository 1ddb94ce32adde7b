"""Every night: `bert-batch score` for the day that ended, in the environment of the command, not in Airflow's."""

import os
import shlex
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from bert_batch_nightly import DATE, IF_PUBLISHED, nightly, setting

USAGE, OVER_BUDGET, HELD, LATER, ALREADY_PUBLISHED = 2, 3, 5, 75, 99


class BertBatchOperator(BaseOperator):
    """Runs the command and gives its exit code Airflow's meaning.

    `command` may have arguments of its own (`docker run --rm IMAGE-command`). Relative paths in the job
    file are below its folder.
    """

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, command: str, arguments: Sequence[str], folder: str, **operator: Any) -> None:
        super().__init__(**operator)
        self.command = command
        self.arguments = arguments
        self.folder = folder

    @cached_property
    def _process(self) -> SubprocessHook:
        return SubprocessHook()

    def execute(self, context: Any) -> None:
        command = [*shlex.split(self.command), *self.arguments]
        # What Airflow put there is not for another interpreter.
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        try:
            code = self._process.run_command(command, env=environment, cwd=self.folder).exit_code
        except OSError as error:
            raise AirflowFailException(f"BERT_BATCH_COMMAND {self.command!r} cannot be run: {error}") from error
        if code:
            end(code)

    def on_kill(self) -> None:
        # The whole process group, workers too. What is unpublished stays so; the next attempt resumes the run.
        self._process.send_sigterm()


def end(code: int) -> NoReturn:
    """Raises what an exit code of the command, not 0, means for Airflow."""
    if code == ALREADY_PUBLISHED:
        raise AirflowSkipException("the date is published already")
    if code == HELD:
        raise AirflowFailException("exit code 5: the run is held; look at it, and accept it with `bert-batch publish`")
    if code in (USAGE, OVER_BUDGET):
        raise AirflowFailException(f"exit code {code}: another try would end the same; the message is in the log above")
    raise AirflowException(
        "exit code 75: the input is not there yet" if code == LATER else f"exit code {code}: see the log above"
    )


def job_file() -> Path:
    """The absolute path of the job file; raises AirflowFailException."""
    path = Path(setting("job")).absolute()
    if not path.is_file():
        raise AirflowFailException(f"BERT_BATCH_JOB {str(path)!r} is not a file of this machine")
    return path


with DAG("bert_batch_nightly_command", tags=["bert-batch"], doc_md=__doc__, **nightly()) as dag:
    job = job_file()
    BertBatchOperator(
        task_id="score",
        command=setting("command"),
        arguments=["score", "--job", str(job), "--date", DATE, "--if-published", IF_PUBLISHED],
        folder=str(job.parent),
    )
