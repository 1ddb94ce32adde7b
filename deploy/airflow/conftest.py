"""An Airflow of its own for the tests: SQLite in a temporary folder, no examples, no cloud."""

import datetime as dt
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
DAGS, ROOT = HERE / "dags", HERE.parent.parent
HOME = tempfile.mkdtemp(prefix="airflow-")
COMMAND, FLEX = "bert_batch_nightly_command", "bert_batch_nightly_flex"
# The night after 2026-11-20.
NIGHT = dt.datetime(2026, 11, 21, 3, tzinfo=dt.UTC)

# Airflow reads these when it is imported.
os.environ.update(
    AIRFLOW_HOME=HOME,
    AIRFLOW__CORE__DAGS_FOLDER=str(DAGS),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
    AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT=json.dumps(
        {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "none"}}
    ),
)

# The stand-in of Dataflow is the one of the other tests.
sys.path.insert(0, str(ROOT / "tests"))


@pytest.fixture(scope="session", autouse=True)
def _database() -> Iterator[None]:
    from airflow.utils.db import initdb

    initdb()
    yield
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job file with relative paths beside its input; the input of 2026-11-20 is the shipped sample."""
    day = tmp_path / "texts/day=2026-11-20"
    day.mkdir(parents=True)
    shutil.copy(ROOT / "examples/snips/validation.parquet", day / "part.parquet")
    path = tmp_path / "nightly.yaml"
    bundle = ROOT / "examples/snips/bundle"
    path.write_text(f"bundle: {bundle}\ninput: texts/day={{date}}/*.parquet\noutput: scored\nkeep: none\n")
    return path


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of the emulator of Cloud Storage."""
    from gcp_storage_emulator.server import create_server
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="texts")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    yield storage.Client(project="demo-project", credentials=AnonymousCredentials()).bucket("texts")
    server.stop()


def parse_dags() -> Any:
    """The DAG folder as Airflow's processes parse it."""
    from airflow.dag_processing.dagbag import BundleDagBag

    return BundleDagBag(str(DAGS), bundle_path=DAGS, bundle_name="dags-folder")


def run(dag: Any, night: dt.datetime | None = NIGHT, **conf: str) -> tuple[str, int, str]:
    """State of the task, number of its tries, and state of the run."""
    done = dag.test(logical_date=night, run_conf=conf)
    (task,) = done.get_task_instances()
    return str(task.state), task.try_number, str(done.state)


Load = Callable[..., dict[str, Any]]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, job: Path) -> Callable[..., None]:
    """Sets what both DAGs need, and what the test says; None removes a setting."""

    def give(**changed: str | None) -> None:
        given = {
            "command": os.environ.get("BERT_BATCH", str(ROOT / ".venv/bin/bert-batch")),
            "job": str(job),
            "first_date": "2026-11-01",
            "retries": "2",
            "retry_seconds": "0",
            "project": "demo-project",
            "region": "europe-west4",
            "template": "gs://templates/bert-batch.json",
            "flex_job": "gs://jobs/nightly.yaml",
            "profile": "dataflow-gpu-l4",
            **changed,
        }
        for name, value in given.items():
            if value is None:
                monkeypatch.delenv(f"BERT_BATCH_{name.upper()}", raising=False)
            else:
                monkeypatch.setenv(f"BERT_BATCH_{name.upper()}", value)

    return give


@pytest.fixture
def load(settings: Callable[..., None]) -> Load:
    """The DAGs by their ids, parsed with these settings."""

    def parse(**changed: str | None) -> dict[str, Any]:
        settings(**changed)
        bag = parse_dags()
        assert bag.import_errors == {}
        return bag.dags

    return parse
