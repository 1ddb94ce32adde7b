"""Which precision and how many tokens suit a device."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf
from support.commands import ROOT

from transforms.score.devices import Device, device_lib, find_device

ALL = ("float32", "bfloat16", "float16")
H100 = Device(kind="gpu", memory=78 * 1024**3)
T4 = Device(kind="gpu", memory=14 * 1024**3)


@pytest.mark.parametrize(
    ("device", "wanted", "exported", "precision"),
    [
        (Device(kind="cpu"), None, ALL, "float32"),
        (H100, None, ALL, "float16"),
        (H100, "bfloat16", ALL, "bfloat16"),
        (H100, None, ("float32",), "float32"),
        (H100, "float32", ALL, "float32"),
        (Device(kind="cpu"), "bfloat16", ALL, "bfloat16"),
    ],
)
def test_the_device_chooses_the_precision_unless_it_is_forced(
    device: Device, wanted: str | None, exported: tuple[str, ...], precision: str
) -> None:
    assert device.precision(wanted, exported) == precision


def test_a_precision_the_bundle_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="bfloat16 is not in the bundle, which has float32"):
        H100.precision("bfloat16", ("float32",))


def test_the_budget_of_a_gpu_follows_its_free_memory() -> None:
    assert H100.token_budget == T4.token_budget == 65_536
    assert Device(kind="gpu", memory=7 * 1024**3).token_budget == 32_768
    assert Device(kind="gpu", memory=6 * 1024**3).token_budget == 16_384
    assert Device(kind="cpu").token_budget == 4_096


def test_the_budget_of_a_gpu_without_free_memory_is_the_least_there_is() -> None:
    assert [Device(kind="gpu", memory=memory).token_budget for memory in (0, 1, 200 * 1024**2)] == [512, 512, 512]
    assert Device(kind="gpu", memory=250 * 1024**2).token_budget == 1_024


def test_without_a_gpu_there_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert find_device() == Device(kind="cpu")


def test_the_smallest_gpu_is_found_without_taking_its_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def listed(session_config: Any) -> list[SimpleNamespace]:
        assert session_config.gpu_options.allow_growth
        found = [("CPU", 1), ("GPU", 14), ("GPU", 7)]
        return [SimpleNamespace(device_type=kind, memory_limit=size * 1024**3) for kind, size in found]

    # A command that ran in this process has silenced the libraries.
    caplog.set_level("WARNING")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    monkeypatch.setattr(device_lib, "list_local_devices", listed)
    assert find_device() == Device(kind="gpu", memory=7 * 1024**3)
    assert not caplog.messages
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")
    find_device()
    assert "TF_FORCE_GPU_ALLOW_GROWTH is 'false'" in caplog.messages[0]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["transforms.batches.fingerprints", "pipeline.scoring"])
def test_growth_is_on_before_tensorflow_makes_its_devices(module: str) -> None:
    """The id pass runs TensorFlow before any model is loaded; what is set later counts for nothing."""
    code = (
        f"import os; os.environ.pop('TF_FORCE_GPU_ALLOW_GROWTH', None); import {module}\n"
        "from tensorflow.python.eager import context\n"
        "print(os.environ['TF_FORCE_GPU_ALLOW_GROWTH'], context.context()._initialized)"
    )
    root = ROOT
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "true False\n"
