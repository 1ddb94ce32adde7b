"""What Google Cloud Storage refuses, as errors of a path: one sentence, and the way out."""

import errno
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Concatenate, ParamSpec, TypeVar

from google.api_core.exceptions import Forbidden, NotFound, Unauthorized
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from google.cloud.storage.exceptions import InvalidResponse

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_SIGN_IN = (
    "sign in with `gcloud auth application-default login`, or name the key of a service account in "
    "GOOGLE_APPLICATION_CREDENTIALS"
)


@contextmanager
def refusals(path: str) -> Iterator[None]:
    """Makes errors of the system, which name `path`, of what is refused inside: PermissionError, FileNotFoundError.

    Everything else is raised as it is: what is transient was retried before.
    """
    try:
        yield
    except (Forbidden, Unauthorized, NotFound) as error:
        raise _refused(int(error.code), path) from error
    except InvalidResponse as error:  # Of an upload in chunks.
        if error.response.status_code not in _REFUSED:
            raise
        raise _refused(error.response.status_code, path) from error
    except TransportError:  # The network, or the server that gives the tokens: not what the credentials are.
        raise
    except GoogleAuthError as error:
        gone = isinstance(error, RefreshError)
        what = "have run out or been taken back" if gone else "are not found or not readable"
        said = f"the credentials for Google Cloud {what}; {_SIGN_IN}"
        raise PermissionError(errno.EACCES, said, path) from error


def _refused(code: int, path: str) -> OSError:
    if code == HTTPStatus.NOT_FOUND:
        # Of a file that is not there, stores say so without an error.
        return FileNotFoundError(errno.ENOENT, "404: there is no such bucket; make it, or correct the name", path)
    said = f"{code}: these credentials may not use it; grant them roles/storage.objectUser on the bucket, or sign in"
    return PermissionError(errno.EACCES, said, path)


def named(method: Callable[Concatenate[S, str, P], R]) -> Callable[Concatenate[S, str, P], R]:
    """A method of a store whose first argument is a path, inside of `refusals`."""

    @functools.wraps(method)
    def within(store: S, path: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with refusals(path):
            return method(store, path, *args, **kwargs)

    return within
