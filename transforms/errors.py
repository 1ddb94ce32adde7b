"""Every way a run can fail, and the sentences that say so. Imports nothing of the project."""

import os
import posixpath
import socket


class PlanError(ValueError):
    """The input is not as the job declares it; nothing has been scored."""


def shown(name: str) -> str:
    """The name of a column as an error may print it."""
    # The names of a CSV without a header are a row of values, which must not be printed.
    return repr(name if len(name) <= 24 else name[:12] + "…")


class NoInputError(FileNotFoundError):
    """No file matches the input: it is not there yet."""


class NotWhatItClaimsError(ValueError):
    """A file does not have the format its name or the job declares."""


class TableError(RuntimeError):
    """BigQuery did not deliver what a run was to read."""


class PublishError(RuntimeError):
    """A run was not published, or its publication could not be completed; the message says why."""


class DialectError(ValueError):
    """A dialect that no file can have."""


class BadRowError(ValueError):
    """A row that no model of this kind can score; of several, one of them or more."""


class OutOfMemoryError(RuntimeError):
    """There is no memory for so many rows at once; fewer may fit."""


class EngineError(RuntimeError):
    """A worker cannot compute what its run was planned for; the message names its chip and the flag."""


class DeviceMemoryError(RuntimeError):
    """The device has no memory for even the smallest micro-batch."""


class DeviceError(RuntimeError):
    """A worker does not have the device it must have; the message says what to look at."""


class NotAFileError(OSError):
    """What should be a file is a pipe, a device or the like."""


class TooLargeError(ValueError):
    """A file is larger than its reader may take into memory."""


class FileChangedError(RuntimeError):
    """A file is no longer the version that was asked for."""


def file_changed(path: str, expected: str, found: str) -> FileChangedError:
    """The error for a file that is not the expected version; `found` is a version or says there is none."""
    return FileChangedError(
        f"{path}: expected version {expected}, found {found}. Files must not change between the plan and the "
        "end of a run; start the run again when they are complete"
    )


class FileGoneError(FileNotFoundError):
    """A file of a run is not there; the message names the file, and the folder and host to look at."""


def file_gone(path: str, what: str) -> FileGoneError:
    """The error for a file of a run that its plan or an attempt wrote; `what` is in it."""
    return FileGoneError(
        f"{path}: {what} is not there. Either host {socket.gethostname()} does not see the folder "
        f"{posixpath.dirname(path)}, which every worker must, or the run was cleaned away while it worked"
    )


def own_sentence(error: OSError) -> str | None:
    """What a store of ours says of a path that the cloud refuses, with its way out; None of the system's own words."""
    return None if error.errno is None or error.strerror == os.strerror(error.errno) else error.strerror


class LockedError(RuntimeError):
    """Another process has held a lock for too long."""


class RecordError(ValueError):
    """A file of an output does not hold what we write there; the message names the file and the way out."""
