"""What a worker scores on: the device, the precision that suits it, and how many tokens fit a micro-batch."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.python.client import device_lib

from transforms.errors import DeviceError
from transforms.score.micro_batches import LEAST_BUDGET, TOKEN_BUDGET

GPU_BYTES = 14 * 1024**3
"""Free memory of the smallest GPU on which the whole budget of a GPU is used (a T4 has 16 GB); less memory, less."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Device:
    """`kind` is cpu or gpu; of a GPU its free memory in bytes."""

    kind: str
    memory: int = 0

    @property
    def token_budget(self) -> int:
        """Padded tokens of one micro-batch."""
        budget = TOKEN_BUDGET[self.kind]
        if self.kind == "cpu":
            return budget
        fits = max(LEAST_BUDGET, budget * self.memory // GPU_BYTES)
        # Down to a power of two: shapes stay few and even.
        return min(budget, 1 << fits.bit_length() - 1)

    def precision(self, wanted: str | None, exported: Sequence[str]) -> str:
        """The precision that is `wanted`, else the one that suits the device, of those the bundle has.

        float32 on a CPU, float16 on a GPU: as fast there as bfloat16 and eight times as exact; sums and norms, which
        could leave its range, are float32 anyway. Raises ValueError if the bundle does not have the wanted one.
        """
        if wanted is not None:
            if wanted not in exported:
                raise ValueError(f"precision {wanted} is not in the bundle, which has {', '.join(exported)}")
            return wanted
        best = "float32" if self.kind == "cpu" else "float16"
        return best if best in exported else "float32"


def require_gpu(device: Device) -> None:
    """Raises DeviceError if the device is no GPU: scoring on a CPU instead would be slow, and cost a GPU."""
    if device.kind != "gpu":
        raise DeviceError(
            "this worker must score on a GPU, and TensorFlow sees none. Look at the driver (install-nvidia-driver in "
            "the accelerator), the image (its TensorFlow must have CUDA: built with TARGET=gpu) and the placement "
            "(accelerator hint on Score, or worker_accelerator for all workers); or take a profile without gpu"
        )


def find_device() -> Device:
    """The device TensorFlow computes on; warns if TensorFlow was told to take all memory of a GPU at once."""
    if not tf.config.list_physical_devices("GPU"):
        return Device(kind="cpu")
    growth = os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH")
    if growth != "true":
        _log.warning("TF_FORCE_GPU_ALLOW_GROWTH is %r: this process takes the whole GPU from others; unset it", growth)
    # The first to make a device decides how it takes memory.
    config = tf.compat.v1.ConfigProto(gpu_options=tf.compat.v1.GPUOptions(allow_growth=True))
    devices = device_lib.list_local_devices(session_config=config)
    return Device(kind="gpu", memory=min((d.memory_limit for d in devices if d.device_type == "GPU"), default=0))
