"""Every error of the commands, the exit codes, and what may be printed of an error of a running pipeline.

Only our own sentences may be printed, never a text that an exception quotes.
"""

import re

from transforms.errors import NotWhatItClaimsError
from transforms.runs.verdict_record import (
    ABANDONED,
    ALREADY_PUBLISHED,
    HELD,
    OVER_BUDGET,
    PUBLISHED,
    SUPERSEDED,
    UNBALANCED,
)

EXIT_CODES = {
    PUBLISHED: 0,
    UNBALANCED: 1,
    ABANDONED: 1,
    OVER_BUDGET: 3,
    SUPERSEDED: 4,
    HELD: 5,
    ALREADY_PUBLISHED: 99,
}
OURS = ("model", "transforms", "pipeline")
# Errors of worker processes arrive as the text of a traceback; its last lines name the class and the message.
_LAST_LINE = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit))(?:: (.*))?$", re.MULTILINE)
_SYSTEM = re.compile(r"\[Errno \d+\] ")
_WHILE = re.compile(r" \[while running .*\]$")


class RunFailedError(RuntimeError):
    """A run that had started did not finish."""


class TryLaterError(RuntimeError):
    """Dataflow does not take the job now, or did not say whether it does: try the same command later."""


class ConfigError(ValueError):
    """A job is described wrongly, in one or several ways; nothing has run."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class DateError(ValueError):
    """A date, a time zone or a placeholder for a date cannot be understood."""


class YamlFileError(ValueError):
    """A file cannot be read as one small mapping; the message begins after the name of the file."""


class BadInputError(ValueError):
    """A run came upon something that no input may have; the message names the file and where in it."""


class WorkersLostError(RuntimeError):
    """Worker processes died, or none began."""


def cause(error: BaseException) -> str:
    """Class and, where it can hold nobody's text, message of what made a pipeline fail."""
    name, message = _class_and_message(error)
    short = name.rsplit(".", 1)[-1]
    # An error of the operating system quotes a path and a code; others may quote what they were working on.
    if is_ours(error) or isinstance(error, OSError) or _SYSTEM.match(message):
        return f"{short}: {message}"
    return f"{short} (its message is withheld: it may quote a text)"


def is_ours(error: BaseException) -> bool:
    """Whether what made a pipeline fail is an error of this project, whose message says what to do."""
    return _class_and_message(error)[0].split(".")[0] in OURS


def bad_input(error: BaseException) -> str | None:
    """What a running pipeline found in an input file that none may have; None if something else made it fail."""
    name, message = _class_and_message(error)
    known = f"{NotWhatItClaimsError.__module__}.{NotWhatItClaimsError.__name__}"
    return f"{message}; mend or remove the file" if name == known else None


def _class_and_message(error: BaseException) -> tuple[str, str]:
    """Of an error, or of the one that made a worker process fail: the whole name, and the first line of the message."""
    name, message = f"{type(error).__module__}.{type(error).__name__}", str(error)
    if type(error) is RuntimeError and (lines := _LAST_LINE.findall(message)):
        name, message = lines[-1]
    return name, _WHILE.sub("", (message.splitlines() or [""])[0])
