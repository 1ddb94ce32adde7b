"""Job servers with their worker pools, on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.paths import ROOT

SECONDS = 60


@contextmanager
def served(server: Sequence[str], log: Path) -> Iterator[list[str]]:
    """A job server and a pool of workers; gives the Beam options of a job for them. `{port}` stands for its port.

    Exits if one of the two does not listen within a minute; every process is killed at the end.
    """
    job_port, pool_port = _free_port(), _free_port()
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    pool = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool_port}"]
    commands = [[part.format(port=job_port) for part in server], pool]
    with log.open("wb") as out:
        started = [
            subprocess.Popen(command, env=environment, cwd=log.parent, stdout=out, stderr=out, start_new_session=True)
            for command in commands
        ]
        try:
            for command, port in zip(commands, (job_port, pool_port), strict=True):
                _wait_for(command[0], port, log)
            endpoints = [f"--job_endpoint=localhost:{job_port}", f"--environment_config=localhost:{pool_port}"]
            yield [*endpoints, "--environment_type=EXTERNAL"]
        finally:
            for process in started:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def _wait_for(what: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"{what}: nobody listens at port {port} after {SECONDS} s; see {log}")
