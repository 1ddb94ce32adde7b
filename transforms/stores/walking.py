"""Folders of a file system: made durably, and the files below them: input is found through links, our own without."""

import os
from collections.abc import Callable, Iterator


def link_on(path: str, below: str) -> str | None:
    """The first link on the way from the folder `below` (may be one itself) down to `path`, both absolute."""
    if os.path.commonpath([below, path]) != below:
        raise ValueError(f"{path!r}: is not below {below!r}")
    step = below
    for name in path[len(below) :].strip("/").split("/"):
        step = os.path.join(step, name)
        if name and os.path.islink(step):
            return step
    return None


def _stop(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _stop_at(folder: str) -> Callable[[OSError], None]:
    def stop(error: OSError) -> None:
        # Somebody else's folder inside one of ours: what we may not look at is not ours.
        if not isinstance(error, PermissionError) or error.filename == folder:
            _stop(error)

    return stop


def entries(folder: str, begin: str = "") -> Iterator[str]:
    """Paths of files and links in a folder and in those below it; right in it only those whose names begin so."""
    for below, folders, names in os.walk(folder, onerror=_stop_at(folder)):
        if begin and below == folder:
            folders[:] = (name for name in folders if name.startswith(begin))
            names = [name for name in names if name.startswith(begin)]
        paths = (os.path.join(below, name) for name in folders)
        yield from (os.path.join(below, name) for name in names)
        yield from (path for path in paths if os.path.islink(path))


def files_below(
    folder: str, levels: int | None = None, begin: str = "", closed: Callable[[str], None] | None = None
) -> Iterator[str]:
    """Paths of files in a folder and in those below it, links followed, so many levels deep (None: all).

    Right in the folder only those whose names begin with `begin` are looked at. `closed` is told the folders that may
    not be looked into, which is an error without it.
    """

    def stop(error: OSError) -> None:
        if closed is None or not isinstance(error, PermissionError) or error.filename == folder:
            _stop(error)
        else:
            closed(str(error.filename))

    above: dict[str, set[str]] = {}
    for below, folders, names in os.walk(folder, onerror=stop, followlinks=True):
        real = os.path.realpath(below)
        known = above.get(os.path.dirname(below), set())
        if real in known:
            folders.clear()  # A link to a folder it lies in: what is there has been listed.
            continue
        above[below] = known | {real}
        if begin and below == folder:
            folders[:] = (name for name in folders if name.startswith(begin))
            names = [name for name in names if name.startswith(begin)]
        yield from (os.path.join(below, name) for name in names)
        depth = below.rstrip("/").count("/") - folder.rstrip("/").count("/")
        if depth + 1 == levels:
            folders.clear()


def make_folder(folder: str) -> None:
    """Makes a folder and those above it, durably."""
    if not os.path.isdir(folder):
        make_folder(os.path.dirname(folder))
        os.makedirs(folder, exist_ok=True)
        sync_folder(os.path.dirname(folder))


def sync_folder(folder: str) -> None:
    """Returns when the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
