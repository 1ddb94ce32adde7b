"""Stands in for the REST API of Dataflow, by the standard library alone: it records what it is asked and runs nothing.

    with DataflowStub(states=["JOB_STATE_DONE"]) as stub:
        ...  # --dataflow_endpoint=<stub.url>, credentials of stub.write_credentials(path)
        stub.created[0]["environment"]["workerPools"]

Any prefix before `/v1b3/` is accepted. What the service would make of a request it does not show.
"""

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PROJECT = "demo-project"
_ROUTE = re.compile(r".*/v1b3/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/(?P<rest>[^?]*)")
_JOB = re.compile(r"jobs/(?P<id>[^/]+)(?P<part>/.*)?")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request: method, path with query, and the body as JSON (None without one)."""

    method: str
    path: str
    body: Any = None


@dataclass(kw_only=True)
class DataflowStub:
    """A context manager; `url` is there inside.

    `states` are what the job of the next looks is in, the last one for ever; `fail` answers a creation or a launch by
    (HTTP status, message); `duplicate` answers it as if a job of that name were active.
    """

    states: Sequence[str] = ("JOB_STATE_RUNNING", "JOB_STATE_DONE")
    fail: tuple[int, str] | None = None
    duplicate: bool = False
    requests: list[Request] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __enter__(self) -> "DataflowStub":
        self._left = list(self.states)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The endpoint; of localhost, as Beam's validator refuses the port of any other host."""
        return f"http://localhost:{self._server.server_address[1]}"

    @property
    def created(self) -> list[dict[str, Any]]:
        """Bodies of the jobs that somebody asked for, refused ones too."""
        return [r.body for r in self.requests if r.method == "POST" and r.path.split("?")[0].endswith("/jobs")]

    @property
    def launched(self) -> list[dict[str, Any]]:
        """Bodies of the flex templates that somebody launched."""
        return [r.body for r in self.requests if r.path.split("?")[0].endswith("/flexTemplates:launch")]

    def write_credentials(self, path: Path, project: str = PROJECT) -> Path:
        """A key of a service account that only this stub gives tokens to, for GOOGLE_APPLICATION_CREDENTIALS."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content = {
            "type": "service_account",
            "project_id": project,
            "private_key_id": "none",
            "private_key": key.decode(),
            "client_email": f"tests@{project}.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """HTTP status and JSON for one request."""
        if path == "/token":
            return 200, {"access_token": "none", "expires_in": 3600, "token_type": "Bearer"}
        with self._lock:
            self.requests.append(Request(method=method, path=path, body=body))
            if (route := _ROUTE.fullmatch(path.split("?")[0])) is None:
                return _error(404, path)
            place = {"projectId": route["project"], "location": route["location"]}
            if method == "POST" and route["rest"] in ("jobs", "flexTemplates:launch"):
                return self._create(body, place)
            if (job := _JOB.fullmatch(route["rest"])) is None:
                return (200, {"jobs": []}) if route["rest"] in ("jobs", "jobs:aggregated") else _error(404, path)
            return self._look(method, job["id"], job["part"] or "", body, place)

    def _create(self, body: Any, place: dict[str, str]) -> tuple[int, Any]:
        if self.fail is not None:
            return _error(*self.fail)
        launch = body.get("launchParameter")
        name = body["name"] if launch is None else launch["jobName"]
        if self.duplicate and launch is not None:
            return _error(409, f"There is already an active job named {name}")
        job = {**place, "id": f"2026-11-22_02_00_00-{len(self.jobs) + 1}", "name": name, "type": "JOB_TYPE_BATCH"}
        self.jobs[job["id"]] = job
        if launch is not None:
            return 200, {"job": {**job, "currentState": "JOB_STATE_QUEUED"}}
        # The service answers with the job that is there: its request id is another one.
        request_id = "another" if self.duplicate else body.get("clientRequestId")
        return 200, {**job, "clientRequestId": request_id, "currentState": "JOB_STATE_PENDING"}

    def _look(self, method: str, job_id: str, part: str, body: Any, place: dict[str, str]) -> tuple[int, Any]:
        job = self.jobs.get(job_id, {**place, "id": job_id, "name": "", "type": "JOB_TYPE_BATCH"})
        if method == "PUT":
            return 200, {**job, "currentState": body.get("requestedState")}
        if part.startswith("/messages"):
            return 200, {"jobMessages": []}
        if part.startswith("/metrics"):
            return 200, {"metrics": []}
        return 200, {**job, "currentState": self._left.pop(0) if len(self._left) > 1 else self._left[0]}


def _error(code: int, message: str) -> tuple[int, Any]:
    return code, {"error": {"code": code, "message": message, "status": "FAILED"}}


def _handler(stub: DataflowStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw) if raw and self.path != "/token" else None
            code, content = stub.answer(self.command, self.path, body)
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PUT = do_GET  # noqa: N815

    return Handler
