"""A job server and a pool of worker processes on this machine, for jobs of the portable runner."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.runs.forked import ROOT, Forked


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Where the job server and the worker pool listen, and the process id of the pool."""

    job_port: int
    pool_port: int
    pool: int

    @property
    def options(self) -> list[str]:
        """The Beam options of a job that is to run here."""
        endpoints = [f"--job_endpoint=localhost:{self.job_port}", f"--environment_config=localhost:{self.pool_port}"]
        return [*endpoints, "--environment_type=EXTERNAL"]

    @property
    def workers(self) -> list[int]:
        """The worker processes that the pool has started and that live."""
        children = Path(f"/proc/{self.pool}/task/{self.pool}/children")
        every = Path(f"/proc/{self.pool}/task").glob("*/children") if children.exists() else ()
        return sorted(int(pid) for file in every for pid in file.read_text().split() if _lives(int(pid)))


@contextmanager
def engine(log: Path, prism: Path | None = None) -> Iterator[Engine]:
    """Both, ready to take jobs; at the end every process is killed.

    The job server is this project's, or Beam's Go runner where its program is given.
    """
    job_port, pool_port = free_port(), free_port()
    # The pool starts plain `python`, and no environment but ours has the steps of the job.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **threads}
    python = [sys.executable, "-m"]
    server = [*python, "pipeline.runners.job_server", "--port", str(job_port)]
    pool = [*python, "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool_port}"]
    with log.open("wb") as out:
        start: dict[str, Any] = {"env": environment, "cwd": log.parent, "stdout": out, "stderr": out}
        if prism is None:
            serving: subprocess.Popen[bytes] = Forked(server, **start)
        else:
            command = [str(prism), f"--job_port={job_port}", "--serve_http=false"]
            serving = subprocess.Popen(command, start_new_session=True, **start)
        processes = [serving, Forked(pool, **start)]
        try:
            for port in (job_port, pool_port):
                _wait_for(port)
            yield Engine(job_port=job_port, pool_port=pool_port, pool=processes[1].pid)
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                process.wait()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nobody listens at port {port}")


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False
