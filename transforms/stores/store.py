"""What a run needs from the place where its files are."""

import builtins
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol


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

    def match(self, pattern: str, closed: Callable[[str], None] | None = None) -> list[FileInfo]:
        """Files that a pattern names, sorted by path; empty when there are none.

        A pattern is a file, a folder (every file below it) or a glob: `*`, `?` and `[a-z]` stay within one
        folder level, `**` crosses levels. Globs name files, never folders. Names that begin with `.`, or
        with `_` and are no keys (`_lang=de`), are left out where a wildcard would have to match that first
        character. On a file system, links are followed, but not in circles; a folder that may not be looked
        into and a link to a file that is not there are errors, or `closed` is told of them.
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
