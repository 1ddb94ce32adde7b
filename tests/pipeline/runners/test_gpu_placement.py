"""Where scoring must have a GPU, a machine without one does not score: this is such a machine."""

import datetime as dt
import logging
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
import tensorflow as tf
from support.bundles import Built
from support.jobs import DATE, NOW, many_texts, write_parquet

from pipeline.errors import RunFailedError
from pipeline.jobs.config import JobConfig
from pipeline.scoring import score
from transforms.batches.schemas import Columns
from transforms.errors import DeviceError
from transforms.read.columns import ColumnsRequest, resolve
from transforms.runs.labelling import Labelling
from transforms.runs.run import Run
from transforms.score.compute import Compute
from transforms.score.devices import Device, require_gpu
from transforms.score.step import BertModelHandler, ScoreTokens
from transforms.stores.bundles import BundleReference

HINTS = {"accelerator": "type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver", "min_ram": "14GB"}


@pytest.fixture(autouse=True)
def no_gpu_here() -> None:
    assert tf.config.list_physical_devices("GPU") == []


def test_a_worker_with_a_gpu_may_score() -> None:
    require_gpu(Device(kind="gpu", memory=2**34))


def test_the_model_is_not_loaded_without_the_gpu_it_must_have(classes: Built, tmp_path: Path) -> None:
    reference = BundleReference(path=str(classes.path), fingerprint=classes.bundle.fingerprint)
    columns = _columns(tmp_path)
    with pytest.raises(DeviceError) as found:
        BertModelHandler(reference, columns, Compute(needs_gpu=True)).load_model()
    for way_out in ("install-nvidia-driver", "TARGET=gpu", "worker_accelerator", "profile without gpu"):
        assert way_out in str(found.value)
    assert BertModelHandler(reference, columns, Compute()).load_model().precision == "float32"


def test_a_run_fails_early_and_says_why_and_publishes_nothing(
    classes: Built, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    file = write_parquet(tmp_path / "in.parquet", {"id": ["a", "b", "c"], "text": many_texts(3)})
    job = JobConfig(bundle=str(classes.path), input=str(file), output=str(tmp_path / "out"), date=DATE)
    with pytest.raises(RunFailedError, match=r"DeviceError: this worker must score on a GPU, and TensorFlow sees none"):
        score(job, now=NOW, hints=HINTS)
    assert not (tmp_path / "out" / f"dt={DATE}").exists()
    # The same work without the demand goes on where the other try ended.
    assert score(job, now=NOW).status == "published"


def test_no_hint_reaches_a_step_of_ours(classes: Built, tmp_path: Path) -> None:
    reference = BundleReference(path=str(classes.path), fingerprint=classes.bundle.fingerprint)
    columns, run = _columns(tmp_path), Run.from_json(_RUN)
    labelling = Labelling(labels=classes.bundle.labels, columns=columns, run=run, top_k=None)
    p = beam.Pipeline(runner="FnApiRunner")
    tokens = p | beam.Create([]).with_output_types(pa.RecordBatch)
    tokens | "Score" >> ScoreTokens(reference, labelling, Compute(hints=HINTS))
    components = p.to_runner_api().components
    hinted = {
        step.unique_name
        for step in components.transforms.values()
        if step.environment_id and components.environments[step.environment_id].resource_hints
    }
    assert hinted
    assert all(name.startswith("Score/RunInference") for name in hinted)


_RUN: dict[str, Any] = {
    "run_id": "20261122T020000Z-000000",
    "output": "out",
    "date": DATE,
    "started": dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC).isoformat(),
    "sequence": 0,
    "bundle": "test@0",
    "budget": {"fraction": 0.01, "rows": None},
}


def _columns(tmp_path: Path) -> Columns:
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    return resolve(schema, ColumnsRequest(text="text", text_pair=None, id="id", keep=None, rename={}, types={}))
