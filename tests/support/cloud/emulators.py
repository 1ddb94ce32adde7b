"""Starts the emulators of BigQuery and Cloud Storage, and says how Google's clients find them.

Both are processes of an environment of their own (`make .venv-emulators/.ready`). They share a folder: bqemulator reads
the objects of the storage emulator from disk. What they do not show is in docs/facts/limits.md.
"""

import json
import os
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from google.cloud import bigquery
from support.commands import ROOT

PROJECT, BUCKET = "test-project", "test-bucket"
BIN = Path(os.environ.get("EMULATORS", ROOT / ".venv-emulators")).resolve() / "bin"
START_SECONDS = 90


@dataclass(frozen=True, kw_only=True)
class Emulators:
    """Two running emulators; `environment` sends Google's clients, and ours, to them."""

    environment: Mapping[str, str]
    storage: "Process"
    bigquery: "Process"
    project: str = PROJECT
    bucket: str = BUCKET


@dataclass(frozen=True, kw_only=True)
class Process:
    """One emulator."""

    popen: "subprocess.Popen[bytes]"
    log: Path


@contextmanager
def emulators(work: Path) -> Iterator[Emulators]:
    """Runs both below `work`, an absolute path; raises RuntimeError with the end of its log if one does not start."""
    storage_port, rest_port, grpc_port = _free_ports(3)
    started: list[Process] = []
    try:
        address = ["--host", "127.0.0.1", "--port", str(storage_port), "--default-bucket", BUCKET]
        log = work / "storage.log"
        storage = _start(
            "gcp-storage-emulator", "--data-dir", str(work), "start", *address, log=log, STORAGE_DIR="buckets"
        )
        started.append(storage)
        address = ["--rest-port", str(rest_port), "--grpc-port", str(grpc_port), "--project", PROJECT, "--ephemeral"]
        objects = str(work / "buckets")
        log = work / "bigquery.log"
        bigquery = _start("bqemulator", "start", *address, log=log, BQEMU_GCS_LOCAL_ROOT=objects)
        started.append(bigquery)
        _wait(storage, f"http://127.0.0.1:{storage_port}/")
        _wait(bigquery, f"http://127.0.0.1:{rest_port}/readyz")
        environment = {
            "GOOGLE_APPLICATION_CREDENTIALS": str(_credentials(work)),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{storage_port}",
            "BIGQUERY_EMULATOR_HOST": f"http://127.0.0.1:{rest_port}",
            "BIGQUERY_STORAGE_EMULATOR_HOST": f"127.0.0.1:{grpc_port}",
        }
        yield Emulators(environment=environment, storage=storage, bigquery=bigquery)
    finally:
        for process in started:
            process.popen.terminate()
        for process in started:
            try:
                process.popen.wait(15)
            except subprocess.TimeoutExpired:
                process.popen.kill()


@contextmanager
def empty_dataset(project: str) -> Iterator[str]:
    """An empty BigQuery dataset, as `project.dataset`, in a process that talks to the emulators; deleted at the end."""
    name = f"{project}.t_{uuid.uuid4().hex[:12]}"
    with bigquery.Client(project=project) as client:
        client.create_dataset(name)
        yield name
        client.delete_dataset(name, delete_contents=True, not_found_ok=True)


def _start(name: str, *arguments: str, log: Path, **environment: str) -> Process:
    program = BIN / name
    if not program.exists():
        raise RuntimeError(
            f"{program}: is not installed; `make .venv-emulators/.ready` does that, or say where: EMULATORS"
        )
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [str(program), *arguments],
            # DuckDB's extensions lie below this home.
            env={**os.environ, "HOME": str(BIN.parent), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Process(popen=popen, log=log)


def _wait(process: Process, url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.popen.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{process.popen.args[0]} does not answer:\n{process.log.read_text(errors='replace')[-2000:]}")  # type: ignore[index]


def _credentials(work: Path) -> Path:
    # A token that has not run out is sent as it is: nobody is asked for one.
    keys = dict.fromkeys(("client_id", "client_secret", "refresh_token", "token"), "none")
    path = work / "credentials.json"
    path.write_text(json.dumps({"type": "authorized_user", "expiry": "2099-01-01T00:00:00Z", **keys}), encoding="utf-8")
    return path


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
