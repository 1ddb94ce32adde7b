"""Fixtures that many tests share: bundles built the real way, a way to run a job, and clouds."""

import datetime as dt
import fcntl
import os
import shlex
import signal
import string
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.runners.portability import local_job_service
from google.auth.transport.requests import AuthorizedSession
from support.bundles import Built, planned_bundle, write_bundle
from support.checkpoints.fitted_once import InFloat32, fitted_once
from support.checkpoints.networks import case_model
from support.cloud.bigquery_proxy import BigQueryProxy, bigquery_proxy
from support.cloud.emulators import Emulators, empty_dataset, emulators
from support.cloud.fake_gcs import FakeGcs
from support.cloud.in_process import answering
from support.cloud.storage_proxy import StorageProxy
from support.cloud.table_publishing import Place
from support.jobs import DATE, NOW, WORDS, Outcome, Score
from support.runs.beam_memo import keep_what_beam_inspects
from support.runs.forked import Forked
from support.runs.graph_stacks import one_stack_for_all

from model.serving.scoring_graph import ScoringGraph
from model.tokenizer.tokenization import SPECIAL_TOKENS
from pipeline.dataflow import checks
from pipeline.jobs.config import JobConfig
from pipeline.scoring import score

keep_what_beam_inspects()
one_stack_for_all()
# Tests would spend a tenth of their time in fsync, and no test cuts the power.
os.fsync = lambda handle: None


@pytest.fixture(scope="session", autouse=True)
def imports_are_fitted_once(of_all_workers: Path) -> Iterator[None]:
    """A tenth of the time of the fast tests went into graphs that another test had made before."""

    def kept(key: str, fit: Callable[[Path], object]) -> Path:
        return made_once(of_all_workers / "fitted" / key, fit)

    with fitted_once(kept):
        yield


@pytest.fixture(scope="module")
def every_precision() -> Iterator[None]:
    """Imports of this module have the signatures of every precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InFloat32, "whole", True)
        yield


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Characters, their continuations and a few words: enough for any English text without many [UNK]."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = [*SPECIAL_TOKENS, *characters, *("##" + c for c in string.ascii_lowercase + string.digits), *WORDS[2:]]
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(dict.fromkeys(tokens)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def classes(of_all_workers: Path, vocabulary: Path) -> Built:
    """A classifier with three labels."""
    planned = planned_bundle(of_all_workers / "classes", vocabulary, labels=("play", "book", "rate"))
    made_once(planned.path, lambda path: write_bundle(replace(planned, path=path)))
    return planned


@pytest.fixture(scope="session")
def regression(of_all_workers: Path, vocabulary: Path) -> Built:
    """A regressor."""
    planned = planned_bundle(of_all_workers / "regression", vocabulary, labels=())
    made_once(planned.path, lambda path: write_bundle(replace(planned, path=path)))
    return planned


@pytest.fixture(scope="session")
def of_all_workers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of this run of the tests have in common."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if hasattr(request.config, "workerinput") else base) / "bundles"


def made_once(path: Path, make: Callable[[Path], object]) -> Path:
    """Makes a folder unless another process has; the others wait, and see it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            making = Path(tempfile.mkdtemp(dir=path.parent)) / path.name
            make(making)
            making.rename(path)
    return path


@pytest.fixture(scope="session")
def exports(of_all_workers: Path) -> Callable[..., Path]:
    """The exported graphs of networks.CASES, each written once: `whole` with the signatures of every precision."""

    def export(case: str, *, whole: bool = False) -> Path:
        graph = ScoringGraph if whole else InFloat32
        path = of_all_workers / f"{case}-{graph.__name__}"
        return made_once(path, lambda path: graph.from_classifier(*case_model(case)).export(path))

    return export


@pytest.fixture
def run_job(tmp_path: Path, classes: Built) -> Score:
    """Runs `score` on FnApiRunner; hostile rows are allowed unless the test says otherwise."""

    def run(input: Any, *, output: Path = tmp_path / "out", now: dt.datetime = NOW, **settings: Any) -> Outcome:
        job = {"bundle": str(classes.path), "date": DATE, "max_dead_fraction": 1.0, **settings}
        paths = [str(path) for path in input] if isinstance(input, list) else str(input)
        verdict = score(JobConfig(input=paths, output=str(output), **job), now=now)
        return Outcome(verdict=verdict, output=output)

    return run


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker processes of a job are forked: for tests of what they compute together, not of how they start."""

    def popen(line: str, *, shell: bool, env: dict[str, str]) -> Forked:
        return Forked(shlex.split(line), env=env)

    monkeypatch.setattr(local_job_service, "subprocess", SimpleNamespace(Popen=popen))


@pytest.fixture(autouse=True)
def image_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are checked on every Python: the image has that of the tests."""
    monkeypatch.setattr(checks, "IMAGE_PYTHON", f"{sys.version_info.major}.{sys.version_info.minor}")


@pytest.fixture
def gcs(gcs_over_http: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> FakeGcs:
    """The server below; requests of this process to it need no connection."""
    monkeypatch.setattr(AuthorizedSession, "request", answering(gcs_over_http, AuthorizedSession.request))
    return gcs_over_http


@pytest.fixture
def gcs_over_http(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeGcs]:
    """A server with the bucket `bucket`; retries do not wait; bundles are kept in a temporary folder of the test."""
    fast = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
    monkeypatch.setattr("google.api_core.retry.retry_unary.time", fast)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with FakeGcs() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def running_emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """The emulators of BigQuery and Cloud Storage; fails where they do not start."""
    with emulators(tmp_path_factory.mktemp("emulators")) as running:
        yield running


@pytest.fixture
def cloud(running_emulators: Emulators, monkeypatch: pytest.MonkeyPatch) -> Emulators:
    """Google's clients of this process, and of processes it starts, talk to the emulators."""
    for name, value in running_emulators.environment.items():
        monkeypatch.setenv(name, value)
    return running_emulators


@pytest.fixture
def dataset(cloud: Emulators) -> Iterator[str]:
    """An empty BigQuery dataset of this test alone, as `project.dataset`."""
    with empty_dataset(cloud.project) as name:
        yield name


@pytest.fixture
def bucket_folder(cloud: Emulators) -> str:
    """A gs:// folder of this test alone on the storage emulator (which ignores preconditions)."""
    return f"gs://{cloud.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def proxy(cloud: Emulators, monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryProxy]:
    """Every request of ours to BigQuery passes it; nobody waits between two tries."""
    fast = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
    monkeypatch.setattr("google.api_core.retry.retry_unary.time", fast)
    monkeypatch.setattr("transforms.publish.table_commit.LONGEST_PAUSE", 0.0)
    with bigquery_proxy(cloud.environment["BIGQUERY_EMULATOR_HOST"]) as running:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", running.url)
        yield running


@pytest.fixture(params=["local", "gs"])
def place(request: pytest.FixtureRequest, dataset: str, bucket_folder: str, tmp_path: Path) -> Place:
    """A table beside a local folder, and a table alone."""
    if request.param == "gs":
        return Place(home=bucket_folder, table=f"{dataset}.scores")
    return Place(home=str(tmp_path / "out"), table=f"{dataset}.scores", staging=bucket_folder)


@pytest.fixture(params=["local", "gs"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An output folder of each store."""
    if request.param == "local":
        return str(tmp_path / "out")
    request.getfixturevalue("gcs")
    return "gs://bucket/out"


@pytest.fixture
def two_minutes() -> Iterator[None]:
    """A test that takes longer fails: gRPC would wait for ever."""

    def end(*_: object) -> None:
        raise TimeoutError("the test takes longer than two minutes")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def storage_proxy(cloud: Emulators, monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageProxy]:
    """Where the Storage Read API of this test is."""
    with StorageProxy(cloud.environment["BIGQUERY_STORAGE_EMULATOR_HOST"]) as running:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", running.address)
        yield running
