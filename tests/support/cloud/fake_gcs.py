"""A Google Cloud Storage of one process: the JSON API over HTTP, objects in memory, preconditions honoured.

Speaks what google-cloud-storage sends for reading, listing, writing (media, multipart and resumable
uploads), rewriting and deleting objects, and so what Beam's FileSystems sends for match, open and create.
There are no batch requests (Beam's rename and delete), no versions but the live one, no access control.
"""

import base64
import hashlib
import itertools
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import google_crc32c
from support.cloud.gcs_messages import Answer, ApiError, Call, Object, Query, Request, as_json, parts_of, ranged
from support.cloud.gcs_server import Server


@dataclass
class Upload:
    bucket: str
    name: str
    content_type: str
    query: Query
    data: bytearray = field(default_factory=bytearray)
    finished: Answer | None = None


class FakeGcs:
    """The server, as a context manager; buckets exist from the start.

    `page_size` cuts listings into pages, `rewrite_rounds` is the number of requests that a rewrite takes.
    """

    def __init__(self, *buckets: str, page_size: int = 1000, rewrite_rounds: int = 1) -> None:
        self.page_size = page_size
        self.rewrite_rounds = rewrite_rounds
        self.requests: list[Request] = []
        self._buckets: dict[str, dict[str, Object]] = {bucket: {} for bucket in buckets or ("bucket",)}
        self._uploads: dict[str, Upload] = {}
        self._numbers = itertools.count(1_700_000_000_000_001)
        self._failures: list[tuple[str | None, int]] = []
        self._answers_to_lose = 0
        self._lock = threading.Lock()
        self._server = Server(self.handle)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        # Beam looks for credentials for twenty seconds. A token that has not run out is sent as it is.
        handle, self._credentials = tempfile.mkstemp(suffix=".json")
        with open(handle, "w", encoding="utf-8") as file:
            keys = dict.fromkeys(("client_id", "client_secret", "refresh_token", "token"), "none")
            json.dump({"type": "authorized_user", "expiry": "2099-01-01T00:00:00Z", **keys}, file)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()
        os.unlink(self._credentials)

    def environment(self) -> dict[str, str]:
        """Variables that send Google's clients, and Beam, to this server."""
        return {"STORAGE_EMULATOR_HOST": self.url, "GOOGLE_APPLICATION_CREDENTIALS": self._credentials}

    def objects(self, bucket: str = "bucket") -> dict[str, bytes]:
        """What a bucket holds now, by object name."""
        with self._lock:
            return {name: found.data for name, found in self._buckets[bucket].items()}

    def put(self, name: str, data: bytes, bucket: str = "bucket") -> None:
        """Writes an object from outside the client that is tested."""
        with self._lock:
            self._written(bucket, name, Object(data, "application/octet-stream"), {})

    def fail_next(self, count: int = 1, status: int = 503, method: str | None = None) -> None:
        """The next requests (of one method) are answered with an error and not carried out."""
        self._failures += [(method, status)] * count

    def lose_answer_next(self, count: int = 1) -> None:
        """The next requests that write are carried out and answered with 503."""
        self._answers_to_lose += count

    def handle(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        url = urlsplit(target)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        with self._lock:
            try:
                # The client asks for buckets at any time, from a thread of its own: that would disturb both.
                if not re.fullmatch(_BUCKET, url.path):
                    self.requests.append(Request(method, url.path, query))
                    self._fail_if_planned(method)
                answer = self._route(method, url.path, query, headers, body)
                if method != "GET" and self._answers_to_lose:
                    self._answers_to_lose -= 1
                    raise ApiError(503, "the answer was lost")
                return answer
            except ApiError as error:
                return as_json({"error": {"code": error.status, "message": str(error)}}, error.status)

    def _fail_if_planned(self, method: str) -> None:
        for planned in self._failures:
            if planned[0] in (None, method):
                self._failures.remove(planned)
                raise ApiError(planned[1], "a planned failure")

    def _route(self, method: str, path: str, query: Query, headers: dict[str, str], body: bytes) -> Answer:
        for verb, pattern, action in _ROUTES:
            if verb == method and (found := re.fullmatch(pattern, path)):
                names = [unquote(name) for name in found.groups()]
                if names[0] not in self._buckets:
                    raise ApiError(404, "The specified bucket does not exist.")
                return action(self, Call(names, query, headers, body))
        raise ApiError(501, f"the fake does not know {method} {path}")

    def _get_bucket(self, call: Call) -> Answer:
        return as_json({"kind": "storage#bucket", "name": call.names[0], "projectNumber": "1"})

    def _list(self, call: Call) -> Answer:
        bucket, after = call.names[0], call.query.get("pageToken", "")
        names = sorted(name for name in self._buckets[bucket] if name.startswith(call.query.get("prefix", "")))
        rest = [name for name in names if name > after]
        size = min(self.page_size, int(call.query.get("maxResults", self.page_size)))
        page = rest[:size]
        more = {"nextPageToken": page[-1]} if len(rest) > size else {}
        return as_json({"items": [self._resource(bucket, name) for name in page], **more})

    def _get(self, call: Call) -> Answer:
        bucket, name = call.names
        data = self._live(bucket, name, call.query).data
        resource = self._resource(bucket, name)
        if call.query.get("alt") != "media":
            return as_json(resource)
        about = {
            "Content-Type": resource["contentType"],
            "ETag": resource["etag"],
            "X-Goog-Generation": resource["generation"],
            "X-Goog-Metageneration": resource["metageneration"],
            "X-Goog-Hash": f"crc32c={resource['crc32c']},md5={resource['md5Hash']}",
            "X-Goog-Stored-Content-Encoding": "identity",
            "X-Goog-Stored-Content-Length": resource["size"],
        }
        return ranged(data, call.headers.get("range"), about)

    def _delete(self, call: Call) -> Answer:
        bucket, name = call.names
        self._live(bucket, name, call.query)
        del self._buckets[bucket][name]
        return Answer(204)

    def _upload(self, call: Call) -> Answer:
        bucket, content_type = call.names[0], call.headers.get("content-type", "")
        if call.query.get("uploadType") == "media":
            return self._written(bucket, call.query["name"], Object(call.body, content_type), call.query)
        if call.query.get("uploadType") == "multipart":
            about, written = parts_of(call.body, content_type)
            return self._written(bucket, about["name"], written, call.query)
        name = json.loads(call.body or b"{}").get("name") or call.query["name"]
        self._check(bucket, name, call.query)
        number = str(next(self._numbers))
        kind = call.headers.get("x-upload-content-type", "")
        self._uploads[number] = Upload(bucket, name, kind, call.query)
        place = f"{self.url}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&upload_id={number}"
        return Answer(200, headers={"Location": place})

    def _continue(self, call: Call) -> Answer:
        upload = self._uploads.get(call.query.get("upload_id", ""))
        place = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", call.headers.get("content-range", ""))
        if upload is None or place is None:
            raise ApiError(404, "no such upload")
        if upload.finished is None:
            start, total = int(place[1] or len(upload.data)), place[2]
            if start > len(upload.data):
                raise ApiError(503, f"the upload goes on at byte {len(upload.data)}")
            # A chunk sent again: what is there already is ignored.
            upload.data += call.body[len(upload.data) - start :]
            if total == "*" or len(upload.data) < int(total):
                there = {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {}
                return Answer(308, headers=there)
            written = Object(bytes(upload.data), upload.content_type)
            upload.finished = self._written(upload.bucket, upload.name, written, upload.query)
        return upload.finished

    def _cancel(self, call: Call) -> Answer:
        if self._uploads.pop(call.query.get("upload_id", ""), None) is None:
            raise ApiError(404, "no such upload")
        return Answer(499)

    def _rewrite(self, call: Call) -> Answer:
        bucket, name, to_bucket, to_name = call.names
        conditions = {"sourceGeneration": "generation", "ifSourceGenerationMatch": "ifGenerationMatch"}
        of_source = {conditions[key]: value for key, value in call.query.items() if key in conditions}
        source = self._live(bucket, name, of_source)
        size, done = len(source.data), int(call.query.get("rewriteToken", 0)) + 1
        progress = {"objectSize": str(size), "totalBytesRewritten": str(size * done // self.rewrite_rounds)}
        if done < self.rewrite_rounds:
            return as_json({**progress, "done": False, "rewriteToken": str(done)})
        copy = Object(source.data, source.content_type)
        resource = json.loads(self._written(to_bucket, to_name, copy, call.query).body)
        return as_json({**progress, "done": True, "resource": resource})

    def _written(self, bucket: str, name: str, written: Object, query: Query) -> Answer:
        if bucket not in self._buckets:
            raise ApiError(404, "The specified bucket does not exist.")
        self._check(bucket, name, query)
        written.generation = next(self._numbers)
        self._buckets[bucket][name] = written
        return as_json(self._resource(bucket, name))

    def _live(self, bucket: str, name: str, query: Query) -> Object:
        found = self._buckets[bucket].get(name)
        if found is None or query.get("generation", str(found.generation)) != str(found.generation):
            raise ApiError(404, f"No such object: {bucket}/{name}")
        self._check(bucket, name, query)
        return found

    def _check(self, bucket: str, name: str, query: Query) -> None:
        """Preconditions; generation 0 stands for an object that does not exist."""
        found = self._buckets[bucket].get(name)
        live = str(found.generation if found else 0)
        if query.get("ifGenerationMatch", live) != live:
            raise ApiError(412, "At least one of the pre-conditions you specified did not hold.")

    def _resource(self, bucket: str, name: str) -> dict[str, str]:
        found = self._buckets[bucket][name]
        place = f"storage/v1/b/{quote(bucket)}/o/{quote(name, safe='')}"
        crc = google_crc32c.value(found.data).to_bytes(4, "big")
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "generation": str(found.generation),
            "metageneration": "1",
            "size": str(len(found.data)),
            "contentType": found.content_type,
            "storageClass": "STANDARD",
            "crc32c": base64.b64encode(crc).decode(),
            "md5Hash": base64.b64encode(hashlib.md5(found.data, usedforsecurity=False).digest()).decode(),
            "etag": f"etag-{found.generation}",
            "timeCreated": "2026-11-21T00:00:00.000Z",
            "updated": "2026-11-21T00:00:00.000Z",
            "mediaLink": f"{self.url}/download/{place}?generation={found.generation}&alt=media",
        }


_BUCKET = r"/storage/v1/b/([^/]+)"
_OBJECT = _BUCKET + r"/o/([^/]+)"
_ROUTES: list[tuple[str, str, Callable[[FakeGcs, Call], Answer]]] = [
    ("GET", _BUCKET, FakeGcs._get_bucket),
    ("GET", _BUCKET + "/o", FakeGcs._list),
    ("GET", "(?:/download)?" + _OBJECT, FakeGcs._get),
    ("DELETE", _OBJECT, FakeGcs._delete),
    ("POST", "(?:/resumable)?/upload" + _BUCKET + "/o", FakeGcs._upload),
    ("PUT", "/upload" + _BUCKET + "/o", FakeGcs._continue),
    ("DELETE", "/upload" + _BUCKET + "/o", FakeGcs._cancel),
    ("POST", _OBJECT + "/rewriteTo/b/([^/]+)/o/([^/]+)", FakeGcs._rewrite),
]
