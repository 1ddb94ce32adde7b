"""How far a local run is, reported by its worker processes through one small file.

A row is reported at its end: scored, taken over unchanged, or a dead letter. Rows of the id pass are counted apart.
"""

import os
import struct
import time

IDS, ROWS, PUBLISH = range(3)
"""What is reported: rows whose id was read, rows that are done, the beginning of publishing."""
TELL_SECONDS = 0.25
_RECORD = struct.Struct("<qq")


def advance(path: str | None, rows: int, what: int = ROWS) -> None:
    """Reports that `rows` more rows are done; does nothing for None."""
    if path is None or not rows:
        return
    # One write of a few bytes to a file opened for appending is atomic: processes need no lock.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, _RECORD.pack(what, rows))
    finally:
        os.close(file)


class Teller:
    """Reports `total` rows in parts, a few times a second at most; `end` reports those that are left."""

    def __init__(self, path: str | None, total: int, what: int = ROWS) -> None:
        self._path, self._what, self._left, self._held = path, what, total, 0
        self._last = time.monotonic()

    def __call__(self, rows: int) -> None:
        """`rows` more of them are done."""
        self._held += rows
        if self._path is not None and time.monotonic() - self._last >= TELL_SECONDS:
            self._tell()

    def end(self) -> None:
        """All of them are done."""
        self._held = self._left
        self._tell()

    def _tell(self) -> None:
        advance(self._path, self._held, self._what)
        self._left, self._held, self._last = self._left - self._held, 0, time.monotonic()


class Told:
    """What was reported in the file `path`; each look reads on from where the last one ended."""

    def __init__(self, path: str) -> None:
        self._path, self._read = path, 0
        self._rows = dict.fromkeys((IDS, ROWS, PUBLISH), 0)

    def look(self) -> dict[int, int]:
        """Rows reported so far, by what is reported; all 0 before there is a file."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return dict(self._rows)
        whole = len(data) // _RECORD.size * _RECORD.size
        self._read += whole
        for what, rows in _RECORD.iter_unpack(data[:whole]):
            self._rows[what] += rows
        return dict(self._rows)
