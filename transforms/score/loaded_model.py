"""A loaded bundle as the macro-batch uses it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.bundle import Bundle
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.macro_batch import Scorer
from transforms.score.memo import Memo
from transforms.score.micro_batches import Indices, plan_micro_batches, plan_static, static_shape
from transforms.stores.loaded import once_a_process


class ScoringModel(Scorer):
    """The exported scoring graph of a bundle, loaded: on a GPU in half precision compiled for static shapes."""

    def __init__(self, bundle: Bundle, compute: Compute, device: Device) -> None:
        self.width = max(1, len(bundle.labels))
        self.precision = device.precision(compute.precision, bundle.precisions)
        self.token_budget = compute.token_budget or device.token_budget
        self.memo = Memo(self.width)
        self._positions = bundle.model["max_sequence_length"]
        # bfloat16 needs no compiler on a CPU that has instructions for it; float16 has no other form.
        self._static = self.precision != "float32" and (device.kind, self.precision) != ("cpu", "bfloat16")
        name = "score" if self.precision == "float32" else f"score_{self.precision}"
        # The signature dies with the object it came from.
        self._loaded = once_a_process("scoring", bundle.fingerprint, lambda: tf.saved_model.load(bundle.scoring))
        self._signature: Any = self._loaded.signatures[f"compiled_{self.precision}" if self._static else name]
        self._output = "probabilities" if bundle.task == "classification" else "value"

    def plan(self, lengths: npt.NDArray[np.integer]) -> list[Indices]:
        return (plan_static if self._static else plan_micro_batches)(lengths, self.token_budget)

    def shape(self, rows: int, longest: int) -> tuple[int, int]:
        return static_shape(rows, longest, self.token_budget) if self._static else (rows, longest)

    def __call__(
        self,
        values: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int32],
        first_segment: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.float32]:
        count = len(lengths)
        if self._static:
            values, lengths, first_segment = self._padded(values, lengths, first_segment)
        outputs = self._signature(
            tokens=tf.constant(values), lengths=tf.constant(lengths), first_segment=tf.constant(first_segment)
        )
        return outputs[self._output].numpy()[:count].reshape(count, self.width)  # type: ignore[no-any-return]

    def _padded(
        self,
        values: npt.NDArray[np.int32],
        lengths: npt.NDArray[np.int32],
        first_segment: npt.NDArray[np.int32],
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        longest = int(lengths.max(initial=1))
        if longest > self._positions:
            # What is compiled checks nothing; the other signatures raise this themselves.
            raise tf.errors.InvalidArgumentError(None, None, f"{longest} tokens, and {self._positions} positions")
        rows, width = self.shape(len(lengths), longest)
        spare = (0, rows - len(lengths))
        # Token 0 exists in every vocabulary; a spare row has one token.
        tokens = np.zeros((rows, width), np.int32)
        tokens[: len(lengths)][np.arange(width) < lengths[:, np.newaxis]] = values
        return tokens, np.pad(lengths, spare, constant_values=1), np.pad(first_segment, spare, constant_values=1)
