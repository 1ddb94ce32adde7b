"""What the files of a run are called. Only files with these names are written, read back or deleted."""

import re
from pathlib import PurePosixPath

_ID = "[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}"
RUN_ID = re.compile(_ID)
DATE_FOLDER = re.compile("dt=([0-9]{4}-[0-9]{2}-[0-9]{2})")
MANIFEST = "_manifest.json"
RUNS, DEAD_LETTERS = "_runs", "_dead_letters"
_TAKEN = "taken-[0-9TZ]+-[0-9a-f]+"
_HEARTBEATS = "beats-[0-9TZ]+-[0-9a-f]+"
_HEARTBEAT_NAME = r"_listener|[^/]+-[0-9]+\.[0-9a-f]{8}"

_FOLDER = "(?:_dead_letters/)?dt=[0-9]{4}-[0-9]{2}-[0-9]{2}"
_PART = rf"{_FOLDER}/part-(?P<part>{_ID})-[0-9]{{5,}}\.parquet"
# Digests of texts lie beside a part, or beside the staged file that it is copied from.
_DIGESTS = rf"{_FOLDER}/_digests-(?P<digests>{_ID})-[0-9]{{5,}}\.sha128"
_ROW_DIGESTS = r"(?:scores|unchanged)-[0-9]{6,}-[0-9a-f]{32}\.sha128"
_ROWS = r"(?:scores|unchanged|dead)-[0-9]{6,}-[0-9a-f]{32}\.parquet"
_STAGED = rf"{_ROWS}|(?:scores|unchanged|dead|read)-[0-9]{{6,}}-[0-9a-f]{{32}}\.(?:json|arrow|sha128)"
_OF_RUN = "|".join(
    (
        r"plan\.parquet",
        r"(?:verdict|job|session)\.json",
        r"over-budget\.txt",
        rf"{_TAKEN}\.json",
        rf"staged(?:/(?:{_STAGED}))?",
        rf"{_HEARTBEATS}(?:/(?:{_HEARTBEAT_NAME}))?",
        # Copies of staged files, below --staging.
        rf"load(?:/(?:{_ROWS}))?",
    )
)
_OWN = re.compile(rf"{_PART}|{_DIGESTS}|_runs/(?P<run>{_ID})/(?:{_OF_RUN})")
_UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]{8,32}\.tmp", re.DOTALL)
_HEARTBEAT = re.compile(_HEARTBEAT_NAME)
_FINAL = re.compile(rf"{_PART}|{_DIGESTS}")
_STAGED_FILE = re.compile(rf"_runs/(?P<run>{_ID})/staged/(?:{_ROWS}|{_ROW_DIGESTS})")


def owner(path: str) -> str | None:
    """The run whose file has this path below the output; None for a path that no run gives to a file."""
    folder, _, name = path.rpartition("/")
    # A file that is being written, or was when its process died; a copy is written beside what is renamed.
    while unfinished := _UNFINISHED.fullmatch(name):
        name = unfinished[1]
    found = _OWN.fullmatch(f"{folder}/{name}")
    return found and (found["part"] or found["digests"] or found["run"])


def is_part_of(path: str, run_id: str) -> bool:
    """Whether a path below the output is that of a published part, its digests or dead letters, of the run."""
    found = _FINAL.fullmatch(path)
    return found is not None and run_id in (found["part"], found["digests"])


def is_staged_of(path: str, run_id: str) -> bool:
    """Whether a path below the output is that of a file with rows that the run has staged."""
    found = _STAGED_FILE.fullmatch(path)
    return found is not None and found["run"] == run_id


def is_own_place(path: str) -> bool:
    """Whether a path below the output is, or is in, one of the folders in which its runs write and delete."""
    first = path.split("/", 1)[0]
    return first in (RUNS, DEAD_LETTERS) or first.startswith("dt=")


def is_manifest(path: str) -> bool:
    """Whether a path below the output is that of the manifest of a date, or of one being written."""
    folder, _, name = path.partition("/")
    while unfinished := _UNFINISHED.fullmatch(name):
        name = unfinished[1]
    return name == MANIFEST and DATE_FOLDER.fullmatch(folder) is not None


def is_heartbeat(name: str | None) -> bool:
    """Whether a file in a folder of heartbeats has a name that we give."""
    while name and (unfinished := _UNFINISHED.fullmatch(name)):
        name = unfinished[1]
    return name is not None and _HEARTBEAT.fullmatch(name) is not None


def is_below(path: str) -> bool:
    """Whether a path stays below the folder it begins in: relative, without a scheme, no `..` in it."""
    parts = PurePosixPath(path).parts
    return bool(parts) and "://" not in path and "\0" not in path and parts[0] != "/" and ".." not in parts
