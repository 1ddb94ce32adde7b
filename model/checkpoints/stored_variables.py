"""The variables of a TensorFlow checkpoint as they are stored; one that is not whole is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from model.checkpoints.checkpoint import as_weights
from model.errors import CheckpointError

# TensorFlow looks for a checkpoint by pattern.
_PATTERN = frozenset("*?[\\")


class Stored:
    """A checkpoint opened by its prefix: `shapes` by stored key. Raises CheckpointError where it cannot be read."""

    def __init__(self, prefix: str | Path) -> None:
        self.origin = str(prefix)
        if _PATTERN & set(self.origin):
            raise CheckpointError(
                f"{self.origin}: TensorFlow takes *, ?, [ and \\ in a path for a pattern; rename or move the checkpoint"
            )
        with self._whole():
            self._reader = tf.train.load_checkpoint(self.origin)
            self.shapes: dict[str, list[int]] = self._reader.get_variable_to_shape_map()
            self._types: dict[str, tf.DType] = self._reader.get_variable_to_dtype_map()

    def get(self, key: str) -> Any:
        """What is stored under `key`, in its own type."""
        with self._whole():
            return self._reader.get_tensor(key)

    def weights(self, key: str) -> np.ndarray:
        """A variable as float32; raises CheckpointError for one of another type, or that is not finite."""
        if not self._types[key].is_floating:
            raise CheckpointError(
                f"{self.origin}: {key} has type {self._types[key].name}, which is no weight of a BERT; save the model "
                "with weights in float32"
            )
        return as_weights(self.origin, key, self.get(key))

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except (tf.errors.OpError, IndexError) as error:
            raise CheckpointError(
                f"{self.origin}: is damaged, or its .index and .data files are not all there; copy all of them again"
            ) from error
