"""The store for a local disk or any mounted file system."""

import builtins
import errno
import glob
import io
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO

import google_crc32c

from transforms.errors import NotAFileError, TooLargeError, file_changed
from transforms.stores.lock_files import delete_lock, is_own_lock, locked
from transforms.stores.locks import LOCK_SECONDS
from transforms.stores.paths import SCHEME, split_glob
from transforms.stores.store import FileInfo
from transforms.stores.walking import entries, files_below, link_on, make_folder, sync_folder

_SUBFOLDERS = re.compile("staged|load|beats-[0-9TZ]+-[0-9a-f]+")
"""What a folder of a run may have in it when all files are gone."""


class LocalStore:
    """Files of a mounted file system; `swap` needs one with flock and an atomic rename.

    It waits `lock_seconds` for a lock that another process holds, then it raises LockedError.
    """

    def __init__(self, lock_seconds: float = LOCK_SECONDS) -> None:
        self._lock_seconds = lock_seconds

    def match(self, pattern: str, closed: Callable[[str], None] | None = None) -> list[FileInfo]:
        pattern = _local(pattern)
        if exact := self.stat(pattern):
            return [exact]
        if os.path.isdir(pattern):
            pattern = glob.escape(pattern) + "/**"
        head, expression = split_glob(pattern)
        wild = pattern.removeprefix(head)
        levels = None if not wild or "**" in wild else 1 + wild.count("/")
        folder, _, begin = head.rpartition("/")
        below = files_below(folder or "/", levels, begin, closed)
        paths = sorted(path for path in below if expression.fullmatch(path))
        for path in filter(_leads_nowhere, paths):
            if closed is None:
                said = "is a link to a file that is not there; bring the file back, or remove the link"
                raise FileNotFoundError(errno.ENOENT, said, path)
            closed(path)
        # A file deleted since it was listed has no stat.
        return [info for info in map(self.stat, paths) if info]

    def stat(self, path: str) -> FileInfo | None:
        path = _local(path)
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # A link in a circle leads nowhere.
                return None
            raise
        if not stat.S_ISREG(status.st_mode):
            return None
        return FileInfo(path=path, size=status.st_size, version=str(status.st_mtime_ns))

    def open(self, path: str, version: str | None = None) -> BinaryIO:
        path = _local(path)
        try:
            file = io.BufferedReader(io.FileIO(path, opener=_open))
        except FileNotFoundError as error:
            if version is None:
                raise
            raise file_changed(path, version, "no file") from error
        # Asked of the open file, not of its name: the name may have been replaced since.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            file.close()
            raise NotAFileError(errno.EINVAL, "not a file but a pipe, a device or the like", path)
        found = str(status.st_mtime_ns)
        if version not in (None, found):
            file.close()
            raise file_changed(path, str(version), found)
        return file

    def create(self, path: str) -> BinaryIO:
        return _NewFile(_local(path))

    def read(self, path: str, most: int | None = None) -> bytes | None:
        try:
            with self.open(path) as file:
                if most is not None and os.fstat(file.fileno()).st_size > most:
                    raise TooLargeError(f"{path}: is larger than {most:,} bytes")
                return file.read()
        except FileNotFoundError:
            return None

    def write(self, path: str, data: bytes) -> None:
        with self.create(path) as file:
            file.write(data)

    def swap(self, path: str, old: bytes | None, new: bytes) -> bool:
        with locked(_local(path), self._lock_seconds):
            if self.read(path) != old:
                return False
            self.write(path, new)
            return True

    def checksum(self, path: str) -> str | None:
        checksum = google_crc32c.Checksum()
        try:
            with self.open(path) as file:
                while block := file.read(1 << 20):
                    checksum.update(block)
        except FileNotFoundError:
            return None
        return f"crc32c:{checksum.hexdigest().decode()}"

    def copy(self, source: str, target: str) -> None:
        source, target = _local(source), _local(target)
        if not os.path.isfile(source):
            raise FileNotFoundError(errno.ENOENT, "no such file to copy", source)
        make_folder(os.path.dirname(target))
        temporary = _temporary(target)
        try:
            try:
                os.link(os.path.realpath(source), temporary)
            except OSError:
                with open(source, "rb") as reader, self.create(temporary) as writer:
                    shutil.copyfileobj(reader, writer, 1 << 20)
            os.replace(temporary, target)
        finally:
            # Renaming one link of a file onto another does nothing, by POSIX: the first one stays.
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        sync_folder(os.path.dirname(target))

    def list(self, folder: str, begin: str = "") -> builtins.list[str]:
        # Only prune may delete a lock file: it holds it meanwhile.
        return sorted(path for path in entries(_local(folder), begin) if not is_own_lock(path))

    def link_on(self, path: str, below: str) -> str | None:
        return link_on(_local(path), _local(below))

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(_local(path))

    def prune(self, folder: str) -> None:
        folder = _local(folder)
        files = list(entries(folder))
        if os.path.islink(folder) or not all(map(is_own_lock, files)):
            return
        for file in files:
            delete_lock(file)
        with suppress(FileNotFoundError, NotADirectoryError):
            inside = [entry.path for entry in os.scandir(folder) if _SUBFOLDERS.fullmatch(entry.name)]
            for own in (*inside, folder):
                # One that is not empty stays: a file was written since, or it is somebody else's.
                with suppress(OSError):
                    os.rmdir(own)


class _NewFile(io.BufferedWriter):
    """Writes beside its path and moves there, durably, when closed."""

    def __init__(self, path: str) -> None:
        make_folder(os.path.dirname(path))
        self._path, self._temporary = path, _temporary(path)
        super().__init__(io.FileIO(self._temporary, "xb"), buffer_size=1 << 20)

    def close(self) -> None:
        if self.closed:
            return
        try:
            self.flush()
            os.fsync(self.fileno())
            super().close()
            os.replace(self._temporary, self._path)
        except BaseException:
            self._discard()
            raise
        sync_folder(os.path.dirname(self._path))

    def _discard(self) -> None:
        self.raw.close()
        with suppress(FileNotFoundError):
            os.unlink(self._temporary)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def __del__(self) -> None:
        # The base class would close, and so publish half a file.
        if not self.closed:
            self._discard()


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK a pipe in the place of a file would be waited for, for ever.
    return os.open(path, flags | os.O_NONBLOCK)


def _leads_nowhere(path: str) -> bool:
    return os.path.islink(path) and not os.path.exists(path)


def _local(path: str) -> str:
    if SCHEME.match(path):
        raise ValueError(f"{path!r}: not a path of the file system; use store_for({path!r})")
    return os.path.abspath(path)


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
