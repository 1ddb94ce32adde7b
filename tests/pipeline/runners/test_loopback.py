"""What Beam starts for worker processes listens on this machine alone."""

import ipaddress
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import DirectOptions, FlinkRunnerOptions, PipelineOptions, PortableOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from pipeline import scoring
from pipeline.runners import job_server
from pipeline.runners.loopback import loopback_only
from pipeline.runners.presets import JOB_SECONDS, beam_options


def listening() -> set[tuple[str, int]]:
    """Addresses and ports on which this process listens."""
    mine = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            mine.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue  # Closed meanwhile.
    found = set()
    for table in ("tcp", "tcp6"):
        if not Path(f"/proc/net/{table}").exists():
            continue
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = fields = line.split()
            if state == "0A" and f"socket:[{fields[9]}]" in mine:
                address, port = local.split(":")
                words = struct.pack(f"={len(address) // 8}I", *(int(w, 16) for w in _words(address)))
                kind = socket.AF_INET if len(words) == 4 else socket.AF_INET6
                found.add((socket.inet_ntop(kind, words), int(port, 16)))
    return found


def _words(address: str) -> list[str]:
    return [address[i : i + 8] for i in range(0, len(address), 8)]


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


@contextmanager
def watched(before: set[tuple[str, int]]) -> Iterator[set[tuple[str, int]]]:
    """All that the process listens on meanwhile."""
    seen: set[tuple[str, int]] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            seen.update(listening() - before)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


@pytest.mark.slow
def test_two_worker_processes_are_served_on_loopback_only() -> None:
    options = PipelineOptions(
        ["--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    )
    with watched(listening()) as seen, loopback_only(), beam.Pipeline(options=options) as p:
        _ = p | beam.Create(range(4)) | beam.Reshuffle() | beam.Map(lambda number: number * 2)
    # Control, data, state, logging; logging once more for each process.
    assert len({port for _, port in seen}) >= 6
    assert {address for address, _ in seen if not is_loopback(address)} == set()


def test_the_test_sees_a_port_that_is_open_to_all() -> None:
    before = listening()
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        assert {address for address, _ in listening() - before} == {"0.0.0.0"}


def test_the_job_server_listens_on_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = listening(), set[tuple[str, int]]()

    def look(seconds: float) -> NoReturn:
        server = worker_handlers.GrpcServer(None, None, None)
        seen.update(listening() - before)
        server.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(job_server.time, "sleep", look)
    with pytest.raises(KeyboardInterrupt):
        job_server.serve(0)
    # Its own, and what a job has for its workers: control, data, state, logging.
    assert len({port for _, port in seen}) >= 5
    assert {address for address, _ in seen if not is_loopback(address)} == set()


@pytest.mark.parametrize("runner", ["direct", "portable"])
def test_a_job_runs_like_that(runner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    found: list[bool] = []

    def start(*_: Any) -> None:
        found.append(worker_handlers.grpc is grpc)

    monkeypatch.setattr(scoring, "start", start)
    prepared: Any = SimpleNamespace(
        job=SimpleNamespace(runner=runner, workers=1), run=SimpleNamespace(file=lambda name: str(tmp_path / name))
    )
    scoring._run(prepared, PipelineOptions([]), scoring.dt.datetime.now(scoring.dt.UTC), None)
    assert found == [False]
    assert worker_handlers.grpc is grpc


def test_a_portable_job_may_take_as_long_as_it_takes_unless_the_user_says_otherwise() -> None:
    def timeout(*extra: str) -> int:
        options = beam_options("portable", 1, ["--job_endpoint=localhost:1", *extra])
        return int(options.view_as(PortableOptions).job_server_timeout)

    assert timeout() == JOB_SECONDS > 365 * 24 * 3600
    assert timeout("--job_server_timeout=77") == 77
    assert timeout("--job-server-timeout", "78") == 78


def test_the_number_of_workers_reaches_engines_by_either_name_unless_the_user_says_otherwise() -> None:
    def parallelism(*extra: str) -> tuple[int, int]:
        options = beam_options("portable", 3, ["--job_endpoint=localhost:1", *extra])
        return options.view_as(DirectOptions).direct_num_workers, options.view_as(FlinkRunnerOptions).parallelism

    assert parallelism() == (3, 3)
    assert parallelism("--parallelism=7") == (3, 7)
