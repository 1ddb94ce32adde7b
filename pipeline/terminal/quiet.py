"""Hides what libraries log, and prints what the steps log, as warnings."""

import codecs
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import transforms
from pipeline.terminal.escaping import escaped

_STEPS = "transforms"
# A worker process hands a record over as the text of a protocol buffer.
_WORKERS_MESSAGE = re.compile(r'^message: "((?:[^"\\]|\\.)*)"$', re.MULTILINE)
# Beam has folders of that name too, and so may the user: only our own counts.
_FOLDER = re.escape(os.path.dirname(transforms.__file__))
_WORKERS_PLACE = re.compile(rf'^log_location: "{_FOLDER}/[^"]*"$', re.MULTILINE)


@contextmanager
def steps_are_heard() -> Iterator[None]:
    """Prints what the steps log, here and in worker processes on this machine, on stderr, even while that is hidden.

    Each message is one line of our own, which quotes no text. What others log goes where it went before.
    """
    handler = _Steps()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


class _Steps(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._stream, self._own = sys.stderr, False
        with suppress(OSError, ValueError):  # A stream in memory has no descriptor, and is never hidden.
            self._stream, self._own = os.fdopen(os.dup(sys.stderr.fileno()), "w", errors="backslashreplace"), True

    def close(self) -> None:
        if self._own:
            self._stream.close()
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.name.split(".")[0] == _STEPS:
            self._write(message)
        elif record.name == "root" and _WORKERS_PLACE.search(message) and (said := _WORKERS_MESSAGE.search(message)):
            self._write(codecs.escape_decode(said[1].encode())[0].decode("utf-8", "replace"))
        elif record.levelno >= logging.ERROR and len(logging.getLogger().handlers) == 1:
            # As without this handler, but escaped.
            sys.stderr.write(escaped(message) + "\n")

    def _write(self, message: str) -> None:
        self._stream.write(f"warning: {escaped(message)}\n")
        self._stream.flush()
