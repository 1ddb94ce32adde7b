"""The answers of Dataflow to a request for a job, as errors of ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.errors import ConfigError, TryLaterError, cause

LATER = (409, 429)  # The name is in use, no quota: it changes with time.
REFUSED = (400, 401, 403, 404, *LATER)  # There is no job. After any other answer, or none, there may be one.
LOST = (503, 504)  # From a server in front of Dataflow, which may have the job nevertheless.


@contextmanager
def refusals(not_taken: Callable[[], None]) -> Iterator[None]:
    """Goes around the request for a job; `not_taken` is called if Dataflow surely has no such job.

    Raises TryLaterError for what changes with time, or if it is not known whether there is a job, and ConfigError for
    what Dataflow refuses for good; other errors pass.
    """
    from apache_beam.runners.dataflow.internal.apiclient import DataflowJobAlreadyExistsError
    from google.api_core.exceptions import GoogleAPICallError

    try:
        yield
    except DataflowJobAlreadyExistsError as error:
        not_taken()
        raise TryLaterError(f"{error.args[0].split('. If')[0]}: it must end first") from error
    except GoogleAPICallError as error:
        if error.code in REFUSED:
            not_taken()
        # The answer to a request that holds no row of the input.
        said = f"{error.code} {error.message}"
        if error.code in LOST:
            raise TryLaterError(
                f"Dataflow may have taken the job or not: {said}; send it again: it takes no second job of the same "
                "name"
            ) from error
        if 400 <= (error.code or 0) < 500:
            kind = TryLaterError if error.code in LATER else ConfigError
            raise kind(f"Dataflow does not take the job: {said}") from error
        raise


def why(error: Exception, job_id: str, url: str) -> str:
    """Why a job that Dataflow had taken did not end well, and where to look."""
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException

    where = f"Dataflow job {job_id}, see {url}"
    if not isinstance(error, DataflowRuntimeException):
        return f"{cause(error)}; {where}"
    # Its message repeats what workers said, which may quote a text.
    return f"the job ended {error.result.state}; {where}"
