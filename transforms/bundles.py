"""Bundles on workers: one local, verified copy a machine."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from model.bundle import DESCRIPTION, Bundle, BundleError
from transforms.stores import join, store_for


@dataclass(frozen=True, kw_only=True)
class BundleReference:
    """Where a bundle is and which one it must be."""

    path: str
    fingerprint: str


def open_bundle(path: str) -> Bundle:
    """The verified bundle at `path`, local or `gs://` (copied to this machine first); raises BundleError."""
    if "://" not in path:
        return Bundle.load(path)
    return fetch(BundleReference(path=path, fingerprint=describe_bundle(path).fingerprint))


def describe_bundle(path: str) -> Bundle:
    """What the `bundle.json` at `path` says, local or `gs://`; the other files are not read. Raises BundleError."""
    if "://" not in path:
        return Bundle.describe(path)
    description = store_for(path).read(join(path, DESCRIPTION))
    if description is None:
        raise BundleError(f"{path}: is no bundle, it has no {DESCRIPTION}; make one with `bert-batch train`")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / DESCRIPTION).write_bytes(description)
        return Bundle.describe(folder)


def fetch(reference: BundleReference) -> Bundle:
    """The verified local bundle of `reference`; raises BundleError if it is another one than was pinned."""
    return _copy_once(reference) if "://" in reference.path else _load(reference.path, reference)


def _load(path: str | Path, reference: BundleReference) -> Bundle:
    found = Bundle.describe(path).fingerprint
    if found != reference.fingerprint:
        raise BundleError(
            f"{reference.path}: is bundle {found[:12]}, but the run pinned {reference.fingerprint[:12]}; "
            "it was replaced while the run worked: start the run again"
        )
    return Bundle.load(path)


def _copy_once(reference: BundleReference) -> Bundle:
    """Copies the bundle to this machine's disk unless it is there; processes of one machine wait for each other."""
    cache = Path(tempfile.gettempdir()) / f"bert-batch-bundles-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    target = cache / reference.fingerprint
    with (cache / f"{reference.fingerprint}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A copy that is no longer whole (systems clear old files out of temporary folders) is fetched again.
        with suppress(BundleError):
            return _load(target, reference)
        partial = cache / f"{reference.fingerprint}.partial"
        for folder in (target, partial):
            shutil.rmtree(folder, ignore_errors=True)
        _download(reference.path, partial)
        try:
            bundle = _load(partial, reference)
        except BundleError as error:
            raise BundleError(str(error).replace(str(partial), reference.path)) from error
        partial.rename(target)
        return replace(bundle, path=target)


def _download(path: str, folder: Path) -> None:
    store = store_for(path)
    for file in store.list(path):
        local = folder / file.removeprefix(path.rstrip("/") + "/")
        local.parent.mkdir(parents=True, exist_ok=True)
        with store.open(file) as source, local.open("wb") as sink:
            shutil.copyfileobj(source, sink)
