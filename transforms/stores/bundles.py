"""Bundles on workers: one local, verified copy a machine."""

import atexit
import functools
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from model.bundle import DESCRIPTION, Bundle, BundleError
from transforms.stores.choose import store_for
from transforms.stores.locks import wait_for_lock
from transforms.stores.paths import join

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BundleReference:
    """Where a bundle is and which one it must be."""

    path: str
    fingerprint: str


def open_bundle(path: str) -> Bundle:
    """The verified bundle at `path`, local or `gs://` (copied to this machine first); raises BundleError."""
    if "://" not in path:
        return Bundle.load(path)
    return open_pinned_bundle(BundleReference(path=path, fingerprint=describe_bundle(path).fingerprint))


def describe_bundle(path: str) -> Bundle:
    """What the `bundle.json` at `path` says, local or `gs://`; the other files are not read. Raises BundleError."""
    if "://" not in path:
        return Bundle.describe(path)
    description = store_for(path).read(join(path, DESCRIPTION))
    if description is None:
        raise BundleError(f"{path}: is no bundle, it has no {DESCRIPTION}; make one with `bert-batch train`")
    with tempfile.TemporaryDirectory() as folder, _named(path, folder):
        (Path(folder) / DESCRIPTION).write_bytes(description)
        return Bundle.describe(folder)


@contextmanager
def _named(path: str, folder: str | Path) -> Iterator[None]:
    """An error about a copy in `folder` is about the bundle at `path`."""
    try:
        yield
    except BundleError as error:
        raise BundleError(str(error).replace(str(folder), path)) from error


def open_pinned_bundle(reference: BundleReference) -> Bundle:
    """The verified local bundle of `reference`; raises BundleError if it is another one than was pinned."""
    return _copy_once(reference) if "://" in reference.path else _load(reference.path, reference)


def _load(path: str | Path, reference: BundleReference) -> Bundle:
    _described(path, reference)
    return Bundle.load(path)


def _described(path: str | Path, reference: BundleReference) -> Bundle:
    found = Bundle.describe(path)
    if found.fingerprint != reference.fingerprint:
        raise BundleError(
            f"{reference.path}: is bundle {found.fingerprint[:12]}, but the run pinned {reference.fingerprint[:12]}; "
            "it was replaced while the run worked: start the run again"
        )
    return found


def _copy_once(reference: BundleReference) -> Bundle:
    """Copies the bundle to this machine's disk unless it is there; processes of one machine wait for each other.

    Raises LockedError if another one holds the lock for long, and copies nothing meanwhile.
    """
    cache = _cache()
    target, partial = cache / reference.fingerprint, cache / f"{reference.fingerprint}.partial"
    with _locked(cache / f"{reference.fingerprint}.lock", partial):
        # A copy that is no longer whole (systems clear old files out of temporary folders) is fetched again.
        with suppress(BundleError):
            return _load(target, reference)
        for folder in (target, partial):
            _remove(folder)
        with _named(reference.path, partial):
            _download(reference, partial)
            bundle = _load(partial, reference)
        partial.rename(target)
        return replace(bundle, path=target)


def _cache() -> Path:
    """The folder for copies of bundles, which only this user can write to.

    Temporary folders are everybody's. A folder of that name which somebody else made, or could write to, is left
    alone: then this process has one of its own, and fetches its bundles by itself.
    """
    folder = Path(tempfile.gettempdir()) / f"bert-batch-bundles-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return folder
    return _own_cache(tempfile.gettempdir(), os.getpid())


@functools.cache
def _own_cache(below: str, process: int) -> Path:
    """`process` because a process that is forked off must not share it: the first to end deletes it."""
    folder = tempfile.mkdtemp(prefix="bert-batch-bundles-", dir=below)
    atexit.register(_remove, Path(folder))
    _log.warning("the folder of bundles below %s belongs to somebody else or is open to others: left alone", below)
    return Path(folder)


@contextmanager
def _locked(path: Path, partial: Path) -> Iterator[None]:
    try:
        # What a link leads to is neither locked nor changed.
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BundleError(f"{path}: cannot be locked, it is a link or no file of ours; delete it") from error
    try:
        # A large bundle may take longer to copy than anybody waits: as long as the copy grows, its maker is at work.
        wait_for_lock(lock, str(path), works=lambda: _size(partial))
        yield
    finally:
        os.close(lock)


def _size(folder: Path) -> int:
    """Bytes of the files in a folder, into which somebody may be writing."""
    found = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            found += file.lstat().st_size
    return found


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _download(reference: BundleReference, folder: Path) -> None:
    """The description first; if it is the one that was pinned, the files it names, and nothing else."""
    store = store_for(reference.path)
    description = store.read(join(reference.path, DESCRIPTION))
    if description is None:
        raise BundleError(f"{reference.path}: is no bundle any more, it has no {DESCRIPTION}; start the run again")
    folder.mkdir(mode=0o700)
    (folder / DESCRIPTION).write_bytes(description)
    for name in _described(folder, reference).files:
        local = folder / name
        local.parent.mkdir(parents=True, exist_ok=True)
        try:
            with store.open(join(reference.path, name)) as source, local.open("xb") as sink:
                shutil.copyfileobj(source, sink)
        except FileNotFoundError as error:
            raise BundleError(f"{folder / name}: is missing; restore the bundle from its source") from error
