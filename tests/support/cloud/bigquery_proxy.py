"""A proxy before the emulator of BigQuery: records requests, answers 409 for a job id it has seen, and fails on demand.

Unlike BigQuery, the emulator runs a job again whose id it knows.
"""

import http.client
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(kw_only=True)
class Request:
    """One request; `body` is parsed, and what is left in it is passed on."""

    method: str
    path: str
    body: dict[str, Any]

    @property
    def load(self) -> dict[str, Any] | None:
        """The configuration of the load job that is being inserted, if one is."""
        found: dict[str, Any] | None = self.body.get("configuration", {}).get("load")
        return found if self.method == "POST" else None

    @property
    def sql(self) -> str:
        """The SQL of the query job that is being inserted, if one is."""
        return str(self.body.get("configuration", {}).get("query", {}).get("query", ""))

    @property
    def job_id(self) -> str:
        return str(self.body.get("jobReference", {}).get("jobId", ""))


Answer = tuple[int, dict[str, Any]]
LOST: Answer = (0, {})
"""What a hook gives for a request that is executed and not answered."""


class BigQueryProxy(ThreadingHTTPServer):
    """`hooks` see each request: one may change its body, or give an answer to send instead of the emulator's."""

    daemon_threads = True

    def __init__(self, emulator: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.emulator = urllib.parse.urlsplit(emulator).netloc
        self.requests: list[Request] = []
        self.jobs: set[str] = set()
        self.hooks: list[Callable[[Request], Answer | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def loads(self) -> list[Request]:
        return [request for request in self.requests if request.load]

    def next(self, count: int, wanted: Callable[[Request], bool], answer: Callable[[Request], Answer | None]) -> None:
        """Lets `answer` have the next `count` requests that are `wanted`."""
        left = [count]

        def hook(request: Request) -> Answer | None:
            if not left[0] or not wanted(request):
                return None
            left[0] -= 1
            return answer(request)

        self.hooks.append(hook)


def failed(code: int, reason: str, message: str = "made up") -> Answer:
    """An error as BigQuery answers it."""
    error = {"code": code, "message": message, "errors": [{"reason": reason, "message": message}]}
    return code, {"error": error}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BigQueryProxy

    def _pass_on(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(method=self.command, path=self.path, body=json.loads(sent) if sent else {})
        self.server.requests.append(request)
        answers = (hook(request) for hook in self.server.hooks)
        answer = next((answer for answer in answers if answer is not None), None)
        if answer is None and request.job_id in self.server.jobs:
            answer = failed(409, "duplicate", f"Already Exists: Job {request.job_id}")
        if answer not in (None, LOST):
            self._answer(answer[0], json.dumps(answer[1]).encode())
            return
        status, content = self._ask(json.dumps(request.body).encode() if sent else b"")
        if request.job_id and status < 400:
            self.server.jobs.add(request.job_id)
        if answer == LOST:
            self.close_connection = True
        else:
            self._answer(status, content)

    def _ask(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.server.emulator, timeout=60)
        try:
            connection.request(self.command, self.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _pass_on  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def bigquery_proxy(emulator: str) -> Iterator[BigQueryProxy]:
    """A running proxy before the emulator at this URL."""
    with BigQueryProxy(emulator) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)
