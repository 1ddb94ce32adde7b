"""Bundles on workers: one local, verified copy a machine."""

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
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
    description = store_for(path).read(join(path, DESCRIPTION))
    if description is None:
        raise BundleError(f"{path}: is no bundle, it has no {DESCRIPTION}; make one with `bert-batch train`")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / DESCRIPTION).write_bytes(description)
        fingerprint = Bundle.describe(folder).fingerprint
    return fetch(BundleReference(path=path, fingerprint=fingerprint))


def fetch(reference: BundleReference) -> Bundle:
    """The verified local bundle of `reference`; raises BundleError if it is another one than was pinned."""
    if "://" not in reference.path:
        bundle = Bundle.load(reference.path)
    else:
        bundle = Bundle.load(_copy_once(reference))
    if bundle.fingerprint != reference.fingerprint:
        raise BundleError(
            f"{reference.path}: is bundle {bundle.fingerprint[:12]}, but the run pinned {reference.fingerprint[:12]}; "
            "it was replaced while the run worked: start the run again"
        )
    return bundle


def _copy_once(reference: BundleReference) -> Path:
    """Copies the bundle to this machine's disk unless it is there; processes of one machine wait for each other."""
    cache = Path(tempfile.gettempdir()) / f"bert-batch-bundles-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    target = cache / reference.fingerprint
    with (cache / f"{reference.fingerprint}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        partial = cache / f"{reference.fingerprint}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        store = store_for(reference.path)
        for file in store.list(reference.path):
            local = partial / file.removeprefix(reference.path.rstrip("/") + "/")
            local.parent.mkdir(parents=True, exist_ok=True)
            with store.open(file) as source, local.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        partial.rename(target)
    return target
