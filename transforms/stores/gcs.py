"""The store for `gs://`; imported by `store_for` only when a path asks for it."""

import base64
import builtins
import functools
import os
import re
from collections.abc import Callable
from typing import Any, BinaryIO

from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud.storage import Blob, Client
from google.cloud.storage.fileio import BlobReader, BlobWriter
from google.cloud.storage.retry import DEFAULT_RETRY

from transforms.errors import FileChangedError, TooLargeError, file_changed
from transforms.stores.gcs_refusals import named, refusals
from transforms.stores.paths import split_glob
from transforms.stores.store import FileInfo

# Bytes a reader fetches at least and a writer buffers; the library's own 40 MiB, times a worker's threads,
# would be most of a small machine. Uploads need a multiple of 256 KiB.
_CHUNK = 8 << 20

_PATH = re.compile(r"gs://(?P<bucket>[^/*?\[\]]+)(?:/(?P<name>.*))?", re.DOTALL)


class GcsStore:
    """Objects of Google Cloud Storage, with the application default credentials.

    Every request, uploads included, is retried on transient errors for two minutes (DEFAULT_RETRY):
    each one is either conditional or writes the same bytes again. `STORAGE_EMULATOR_HOST` names another
    server, which the client then uses without credentials.
    """

    @named
    def match(self, pattern: str, closed: Callable[[str], None] | None = None) -> list[FileInfo]:
        if exact := self.stat(pattern):
            return [exact]
        head, expression = split_glob(pattern)
        return [info for info in self._below(head) if expression.fullmatch(info.path)]

    @named
    def stat(self, path: str) -> FileInfo | None:
        blob = _live(path)
        return None if blob is None else _info(blob)

    @named
    def open(self, path: str, version: str | None = None) -> BinaryIO:
        blob = _live(path)
        if blob is None and version is None:
            raise FileNotFoundError(f"{path}: no such object")
        found = "no object" if blob is None else str(blob.generation)
        if version not in (None, found):
            raise file_changed(path, str(version), found)
        return _Reader(blob)

    def create(self, path: str) -> BinaryIO:
        return _Writer(_blob(path), chunk_size=_CHUNK, ignore_flush=True, retry=DEFAULT_RETRY)

    @named
    def read(self, path: str, most: int | None = None) -> bytes | None:
        data = _download(path)[0]
        if data is not None and most is not None and len(data) > most:
            raise TooLargeError(f"{path}: is larger than {most:,} bytes")
        return data

    @named
    def write(self, path: str, data: bytes) -> None:
        _blob(path).upload_from_string(data, "application/octet-stream", retry=DEFAULT_RETRY)

    @named
    def swap(self, path: str, old: bytes | None, new: bytes) -> bool:
        current, generation = _download(path)
        if current != old:
            return False
        try:
            # One conditional request up to 8 MiB; beyond, a resumable upload under the same condition.
            _blob(path).upload_from_string(
                new, "application/octet-stream", if_generation_match=generation, retry=DEFAULT_RETRY
            )
        except PreconditionFailed:
            # Someone else was first, or our own first attempt was written and only its answer was lost.
            return self.read(path) == new
        return True

    @named
    def checksum(self, path: str) -> str | None:
        blob = _live(path)
        return None if blob is None else f"crc32c:{base64.b64decode(blob.crc32c).hex()}"

    @named
    def copy(self, source: str, target: str) -> None:
        blob, token = _blob(target), None
        try:
            token, _, _ = blob.rewrite(_blob(source), retry=DEFAULT_RETRY)
            while token:
                token, _, _ = blob.rewrite(_blob(source), token=token, retry=DEFAULT_RETRY)
        except NotFound as error:
            if self.stat(source):  # Then it is the target's bucket that is missing.
                with refusals(target):
                    raise
            raise FileNotFoundError(f"{source}: no such object to copy to {target}") from error

    @named
    def list(self, folder: str, begin: str = "") -> builtins.list[str]:
        return [info.path for info in self._below(folder.rstrip("/") + "/" + begin)]

    def link_on(self, path: str, below: str) -> str | None:
        """Nothing: there are no links on `gs://`."""
        return None

    @named
    def delete(self, path: str) -> None:
        try:
            _blob(path).delete(retry=DEFAULT_RETRY)
        except NotFound:
            return

    def prune(self, folder: str) -> None:
        """Nothing: there are no folders on `gs://`."""

    def _below(self, prefix: str) -> builtins.list[FileInfo]:
        bucket, name = _split(prefix)
        blobs = _client().list_blobs(
            bucket,
            prefix=name,
            fields="items(bucket,name,size,generation),nextPageToken",
            retry=DEFAULT_RETRY,
        )
        # Consoles mark an empty folder by an object whose name ends with a slash.
        infos = (_info(blob) for blob in blobs if not blob.name.endswith("/"))
        return sorted(infos, key=lambda info: info.path)


class _Reader(BlobReader):
    """Reads the generation that `blob` was when it was opened."""

    def __init__(self, blob: Any) -> None:
        # Raw: the server would ignore ranges of objects stored with Content-Encoding: gzip.
        super().__init__(blob, chunk_size=_CHUNK, retry=DEFAULT_RETRY, raw_download=True)

    def read(self, size: int = -1) -> bytes:
        with refusals(_path(self._blob)):
            try:
                return bytes(super().read(size))
            except NotFound as error:
                raise self._changed() from error

    def _changed(self) -> FileChangedError:
        now = _live(_path(self._blob))
        found = "no object" if now is None else str(now.generation)
        return file_changed(_path(self._blob), str(self._blob.generation), found)


class _Writer(BlobWriter):
    def __del__(self) -> None:
        """Nothing: the base class would close, and so publish half a file."""

    def write(self, data: Any) -> int:
        with refusals(_path(self._blob)):
            return int(super().write(data))

    def close(self) -> None:
        with refusals(_path(self._blob)):
            super().close()


@functools.cache
def _client_of(process: int, emulator: str | None) -> Any:
    # Objects need no project; without one, credentials that name none are good enough.
    client = Client(project=None)
    client._http.hooks["response"].append(_read_error)
    return client


def _read_error(response: Any, *args: object, **kwargs: object) -> None:
    # Downloads are streamed and the library leaves the body of a refusal unread, such as the 404 of a
    # manifest that is not there yet: its connection would stay open, unusable, until collected.
    if not response.ok:
        _ = response.content


def _client() -> Any:
    # One a process: connections inherited by fork would be shared with the parent.
    return _client_of(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST"))


def _split(path: str) -> tuple[str, str]:
    parts = _PATH.fullmatch(path)
    if parts is None:
        raise ValueError(f"{path!r}: not a path like gs://bucket/object (bucket without wildcards)")
    return parts["bucket"], parts["name"] or ""


def _blob(path: str) -> Any:
    bucket, name = _split(path)
    return Blob(name, _client().bucket(bucket))


def _live(path: str) -> Any:
    """The object with its metadata and generation, or None; a folder's name is no object."""
    bucket, name = _split(path)
    if not name or name.endswith("/"):
        return None
    return _client().bucket(bucket).get_blob(name, retry=DEFAULT_RETRY)


def _download(path: str) -> tuple[bytes | None, int]:
    """The bytes of an object and their generation, from one answer; (None, 0) where there is none."""
    blob = _blob(path)
    try:
        data = blob.download_as_bytes(raw_download=True, retry=DEFAULT_RETRY)
    except NotFound:
        return None, 0
    if blob.generation is None:
        blob.reload(retry=DEFAULT_RETRY)  # The service says it with the bytes; an emulator does not.
    return bytes(data), int(blob.generation)


def _path(blob: Any) -> str:
    return f"gs://{blob.bucket.name}/{blob.name}"


def _info(blob: Any) -> FileInfo:
    return FileInfo(path=_path(blob), size=int(blob.size), version=str(blob.generation))
