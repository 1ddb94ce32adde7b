"""What a worker scores on: the device, the precision that suits it, and how many tokens fit a micro-batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.python.client import device_lib

from transforms.micro_batches import TOKEN_BUDGET

GPU_BYTES = 14 * 1024**3
"""Free memory of the smallest GPU on which the whole budget of a GPU is used (a T4 has 16 GB); less memory, less."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """`kind` is cpu or gpu; of a GPU its free memory in bytes."""

    kind: str
    memory: int = 0

    @property
    def token_budget(self) -> int:
        """Padded tokens of one micro-batch."""
        budget = TOKEN_BUDGET[self.kind]
        # Down to a power of two: shapes stay few and even.
        return budget if self.kind == "cpu" else min(budget, 1 << (budget * self.memory // GPU_BYTES).bit_length() - 1)

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


def find_device() -> Device:
    """The device TensorFlow computes on; from now on it takes memory of a GPU as it needs it."""
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            # Otherwise the first process on a GPU takes all its memory.
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            break
    if not gpus:
        return Device(kind="cpu")
    free = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return Device(kind="gpu", memory=min(free, default=0))
