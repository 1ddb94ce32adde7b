"""Files of a run on a local disk or on Google Cloud Storage, behind one small interface.

A path is `gs://bucket/object` or a path of the file system; `store_for` picks the store. Stores hold no
state, so they can be made, pickled and shared freely.
"""

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from transforms.stores.paths import SCHEME
from transforms.stores.store import Store

T = TypeVar("T")
R = TypeVar("R")


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
