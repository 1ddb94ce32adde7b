"""Files of a run on a local disk or on Google Cloud Storage, behind one small interface.

A path is `gs://bucket/object` or a path of the file system; `store_for` picks the store. Stores hold no
state, so they can be made, pickled and shared freely.
"""

import builtins
import functools
import posixpath
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeVar

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
T = TypeVar("T")
R = TypeVar("R")
_GLOB_TOKEN = re.compile(r"(?:(?<=/)|^)\*\*/|\*\*|\*|\?|\[!?[^/\]]+\]|.", re.DOTALL)


class NotAFileError(OSError):
    """There is a pipe, a device or the like where a file is to be read."""


class TooLargeError(ValueError):
    """A file is larger than whoever reads it into memory allows."""


class FileChangedError(RuntimeError):
    """A file is no longer the version that was asked for."""


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """One file: absolute local path or `gs://bucket/object`, size in bytes, and its version.

    The version is the generation on `gs://` and the time of modification in nanoseconds on a file system.
    """

    path: str
    size: int
    version: str


class Store(Protocol):
    """What a run needs from the place where its files are."""

    def match(self, pattern: str) -> list[FileInfo]:
        """Files that a pattern names, sorted by path; empty when there are none.

        A pattern is a file, a folder (every file below it) or a glob: `*`, `?` and `[a-z]` stay within one
        folder level, `**` crosses levels. Globs name files, never folders. Names that begin with `_` or `.`
        are left out where a wildcard would have to match that first character. On a file system, links are
        followed, but not in circles.
        """

    def stat(self, path: str) -> FileInfo | None:
        """The file's size and version, or None where there is no such file."""

    def open(self, path: str, version: str | None = None) -> BinaryIO:
        """Opens a file for reading; the reader can seek.

        Raises FileNotFoundError, or FileChangedError if `version` is given and is not the file's version.
        """

    def create(self, path: str) -> BinaryIO:
        """Opens a new file for writing; folders are made, a file of that name is replaced.

        Nothing is there under this name before close(), and afterwards the whole file is, durably. Leaving
        a `with` block by an exception, or dropping the writer unclosed, writes nothing.
        """

    def read(self, path: str, most: int | None = None) -> bytes | None:
        """The whole file, or None where there is no such file; raises TooLargeError above `most` bytes."""

    def write(self, path: str, data: bytes) -> None:
        """Writes the whole file, durably, replacing one of that name."""

    def swap(self, path: str, old: bytes | None, new: bytes) -> bool:
        """Replaces the file if it holds exactly `old` (None: does not exist) and says whether it did.

        Atomic against other calls of `swap`, by any process. Of several callers with the same `new`, more
        than one may get True on `gs://`.
        """

    def checksum(self, path: str) -> str | None:
        """`crc32c:` and eight hex digits, or None where there is no such file; no download on `gs://`."""

    def copy(self, source: str, target: str) -> None:
        """Makes `target` the same file as `source` in one step; raises FileNotFoundError without source."""

    def list(self, folder: str, begin: str = "") -> builtins.list[str]:
        """Paths of all files below a folder, sorted, hidden ones too, except the lock files of `swap`.

        What lies right in the folder is only listed if its name begins with `begin`. On a file system, links to
        folders are listed like files and not followed; `folder` itself may be one.
        """

    def link_on(self, path: str, below: str) -> str | None:
        """The first link on the way from the folder `below` (may be one itself) down to `path`, `path` included."""

    def delete(self, path: str) -> None:
        """Deletes a file, or a link and not what it leads to; one that is already gone is no error.

        Only transforms/outputs/deletion.py calls this and `prune`: it knows what may be deleted.
        """

    def prune(self, folder: str) -> None:
        """Removes a folder in which there are only empty folders and lock files; nothing to do on `gs://`."""


def store_for(path: str) -> Store:
    """The store that keeps `path`; raises ValueError for a scheme other than `gs://`."""
    scheme = SCHEME.match(path)
    if scheme is None:
        return _local_store()
    if scheme[0] == "gs://":
        return _gcs_store()
    raise ValueError(f"{path!r}: no store for {scheme[0]}; give a gs:// path or a path of the file system")


# Both are imported on demand: they import this module, and Google's client takes a quarter of a second.
@functools.cache
def _local_store() -> Store:
    from transforms.stores.local import LocalStore

    return LocalStore()


@functools.cache
def _gcs_store() -> Store:
    from transforms.stores.gcs import GcsStore

    return GcsStore()


def each(act: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What `act` gives for each item, in order; sixteen at a time, for requests that wait."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(act, items))


def literal(path: str) -> str:
    """A pattern of `Store.match` that means `path` as it is written."""
    return re.sub(r"([*?[])", r"[\1]", path)


def join(folder: str, *parts: str) -> str:
    """A path below a folder: `join("gs://b/out", "dt=2026-11-21", "x")` is `gs://b/out/dt=2026-11-21/x`."""
    return posixpath.join(folder, *(part.lstrip("/") for part in parts))


def absolute(path: str) -> str:
    """A path that says the same in every working directory; links stay as they are."""
    return path if SCHEME.match(path) else posixpath.abspath(path)


def below(path: str, folder: str) -> str | None:
    """The path as it is below the folder, without links being looked at; None if it is not."""
    path, folder = absolute(path), absolute(folder).rstrip("/") + "/"
    return path.removeprefix(folder) if path.startswith(folder) and path != folder else None


def split_glob(pattern: str) -> tuple[str, re.Pattern[str]]:
    """A pattern's text before its first wildcard, and what whole paths must match (see `Store.match`)."""
    head = re.split(r"[*?[]", pattern, maxsplit=1)[0]
    if head == pattern:
        pattern = pattern.rstrip("/") + "/**"
        head = pattern[:-2]
    expression, previous = "", "/"
    for token in _GLOB_TOKEN.findall(pattern):
        visible = "(?![_.])" if previous.endswith("/") else ""
        expression += _wildcard(token, visible)
        previous = token
    try:
        return head, re.compile(expression, re.DOTALL)
    except re.error as error:
        raise ValueError(f"{pattern!r}: a range in [ ] must rise, as in [0-9]") from error


def _wildcard(token: str, visible: str) -> str:
    match token:
        case "**/":
            return f"(?:{visible}[^/]+/)*"
        case "**":
            return visible + "(?:[^/]|/(?![_.]))*"
        case "*":
            return visible + "[^/]*"
        case "?":
            return visible + "[^/]"
        case _ if len(token) == 1:
            return re.escape(token)
    negated = token.startswith("[!") and len(token) > len("[!]")
    members = (c if c == "-" else re.escape(c) for c in token[1 + negated : -1])
    return f"{visible}(?!/)[{'^' * negated}{''.join(members)}]"


def file_changed(path: str, expected: str, found: str) -> FileChangedError:
    """The error for a file that is not the expected version; `found` is a version or says there is none."""
    return FileChangedError(
        f"{path}: expected version {expected}, found {found}. Files must not change between the plan and the "
        "end of a run; start the run again when they are complete"
    )
