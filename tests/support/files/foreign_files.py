"""Outputs among files of somebody else: which files are whose, told by where they lie and what they are called."""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from transforms.outputs import names

DATES = ("2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23")
MIXED = ("a", "b", "a/nested", "in/c", "a/dt=2026-11-20/d")
"""Outputs with foreign files: side by side, in the folder of another one, of the input, and of rows of another one."""
PLAIN = "plain"
"""An output without: what is published there is the input of others."""
OUTPUTS = (*MIXED, PLAIN)
STRANGER = "20261121T020003Z-abcdef"
"""A run that no plan, verdict or manifest names: files that are called like those of such a run are somebody's."""
FOREIGN = (
    "dt={date}/part-00000-8a6e7d2c.snappy.parquet",
    f"dt={{date}}/part-{STRANGER}-00000.parquet",
    f"dt={{date}}/_digests-{STRANGER}-00000.sha128",
    "dt={date}/_SUCCESS",
    "dt={date}/.crc",
    "dt={date}/link",
    "_dead_letters/dt={date}/link",
    f"dt={{date}}/sub/part-{STRANGER}-00000.parquet",
    f"_dead_letters/dt={{date}}/part-{STRANGER}-00000.parquet",
    "_dead_letters/dt={date}/notes.txt",
    "_runs/notes.txt",
    f"_runs/{STRANGER}/staged/mine.parquet",
    f"_runs/{STRANGER}/staged/scores-000000-{'0' * 32}.parquet",
    "notes.txt",
)
What = tuple[int, object]
Seen = dict[str, What]
_FOLDER = re.compile(rf"_runs(/{names.RUN_ID.pattern})?|_dead_letters|(_dead_letters/)?{names.DATE_FOLDER.pattern}")
_LOCK = re.compile(r"(.*/)\.([^/]+)\.lock")


def look(folder: Path, *, times: bool = False) -> Seen:
    """Every file, folder and link below a folder: its mode, and content or target (and time of change)."""
    found: Seen = {}
    for below, folders, files in os.walk(folder):
        for path in (Path(below) / name for name in (*folders, *files)):
            status = path.lstat()
            kind: object = None
            if stat.S_ISLNK(status.st_mode):
                kind = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                kind = path.read_bytes()
            found[str(path.relative_to(folder))] = (status.st_mode, (kind, status.st_mtime_ns) if times else kind)
    return found


def not_ours(folder: Path, outputs: Sequence[str] = OUTPUTS) -> Seen:
    """All below a folder that is not the own of these outputs in it."""
    return {path: what for path, what in look(folder).items() if not is_ours(path, what, outputs)}


def is_ours(path: str, what: What, outputs: Sequence[str] = OUTPUTS) -> bool:
    """Whether commands that are given these outputs may write or delete this, by its path below the base."""
    folder = stat.S_ISDIR(what[0])
    if folder and any((output + "/").startswith(path + "/") for output in outputs):
        return True
    inside = [path.removeprefix(output + "/") for output in outputs if path.startswith(output + "/")]
    return not stat.S_ISLNK(what[0]) and any(_is_own(below, folder=folder) for below in inside)


def _is_own(below: str, *, folder: bool) -> bool:
    """By a path below the output. No more than the names: which runs there are, the files of STRANGER tell."""
    if folder:
        return STRANGER not in below and (_FOLDER.fullmatch(below) or names.owner(below)) is not None
    if lock := _LOCK.fullmatch(below):
        below = lock[1] + lock[2]
    return names.owner(below) not in (None, STRANGER) or names.is_manifest(below)
