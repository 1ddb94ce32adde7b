"""How far a local run is, told by its worker processes through one small file."""

import os
import struct

_ROWS = struct.Struct("<q")


def advance(path: str, rows: int) -> None:
    """Says that `rows` more rows came through the model; rows that were dead letters before are not told."""
    # One write of eight bytes to a file opened for appending is atomic: processes need no lock.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, _ROWS.pack(rows))
    finally:
        os.close(file)


def rows_done(path: str) -> int:
    """Rows told so far."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return 0
    return sum(rows for (rows,) in _ROWS.iter_unpack(data[: len(data) // _ROWS.size * _ROWS.size]))
