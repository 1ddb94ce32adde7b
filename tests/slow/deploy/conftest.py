"""The demo job on Cloud Storage, and a stand-in for Dataflow."""

import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from support.cloud.dataflow_stub import DataflowStub
from support.cloud.emulators import Emulators
from support.cloud.submission import (
    GIVEN,
    upload,
)
from support.jobs import DATE

from pipeline.jobs.config import JobConfig


@pytest.fixture
def silence(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam warns of the emulator's bucket, and waits between looks and between tries; here for a moment."""
    caplog.set_level(logging.CRITICAL + 1)
    sleep = time.sleep
    fast = SimpleNamespace(sleep=lambda seconds: sleep(0.01), time=time.time)
    monkeypatch.setattr("apache_beam.runners.dataflow.dataflow_runner.time", fast)
    monkeypatch.setattr("apache_beam.utils.retry.time", fast)


@pytest.fixture(scope="session")
def uploaded(running_emulators: Emulators) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running_emulators.environment.items():
            patch.setenv(name, value)
        folder = f"gs://{running_emulators.bucket}/demo"
        upload(folder)
    return folder


@pytest.fixture
def demo(uploaded: str, bucket_folder: str) -> JobConfig:
    """The demo job, all on Cloud Storage."""
    return JobConfig(
        bundle=f"{uploaded}/bundle",
        input=f"{uploaded}/validation.parquet",
        output=f"{bucket_folder}/out",
        date=DATE,
        rename={"label": "gold_label"},
    )


@pytest.fixture
def given(bucket_folder: str) -> dict[str, str]:
    return {**GIVEN, "temp": f"{bucket_folder}/temp"}


@pytest.fixture
def stub() -> Iterator[DataflowStub]:
    with DataflowStub() as running:
        yield running
