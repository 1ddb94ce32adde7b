"""TensorFlow: computes every bundle in every precision, on CPUs and GPUs."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.bundle import AS_EXPORTED, TENSORFLOW, Bundle
from transforms.errors import BadRowError, OutOfMemoryError
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.scorer import Limits, Scorer, Tokens, beside, check_rows, folding_of, outputs_of, padded
from transforms.score.memo import Memo
from transforms.score.micro_batches import Indices, plan_micro_batches, plan_static, static_shape
from transforms.stores.loaded import once_a_process


class TensorFlowScorer(Scorer):
    """The exported scoring graph of a bundle, loaded: on a GPU in half precision compiled for static shapes."""

    engine = TENSORFLOW

    def __init__(self, bundle: Bundle, compute: Compute, device: Device) -> None:
        self._outputs = outputs_of(bundle, compute)
        self.width, self.classes = sum(self._outputs.values()), max(1, len(bundle.labels))
        self.precision = device.precision(compute.precision, bundle.precisions)
        self.token_budget = compute.token_budget or device.token_budget
        self.memo = Memo(self.width)
        self.fold = folding_of(bundle)
        self._limits = Limits.of(bundle.model)
        # The graph of a network as exported pads every row to the length that it asks for.
        self._fixed: int | None = bundle.model.get("fixed_length")
        # bfloat16 needs no compiler on a CPU that has instructions for it; float16 has no other form.
        self._static = self.precision != "float32" and (device.kind, self.precision) != ("cpu", "bfloat16")
        name = "score" if self.precision == "float32" else f"score_{self.precision}"
        if bundle.graph == AS_EXPORTED:
            # The proof is of float32: a GPU would round the factors of a product to TF32.
            tf.config.experimental.enable_tensor_float_32_execution(False)
        # The signature dies with the object it came from.
        self._loaded = once_a_process("scoring", bundle.fingerprint, lambda: tf.saved_model.load(bundle.scoring))
        self._signature: Any = self._loaded.signatures[f"compiled_{self.precision}" if self._static else name]

    def plan(self, lengths: npt.NDArray[np.integer]) -> list[Indices]:
        if self._fixed is not None:
            lengths = np.full_like(lengths, self._fixed)
        return (plan_static if self._static else plan_micro_batches)(lengths, self.token_budget)

    def shape(self, rows: int, longest: int) -> tuple[int, int]:
        longest = self._fixed or longest
        return static_shape(rows, longest, self.token_budget) if self._static else (rows, longest)

    def __call__(self, values: Tokens, lengths: Tokens, first_segment: Tokens) -> npt.NDArray[np.float32]:
        # What is compiled checks nothing, and no graph looks at the ids on a GPU.
        check_rows(values, lengths, first_segment, self._limits)
        count = len(lengths)
        if self._static:
            values, lengths, first_segment = self._in_its_shape(values, lengths, first_segment)
        try:
            outputs = self._signature(
                tokens=tf.constant(values), lengths=tf.constant(lengths), first_segment=tf.constant(first_segment)
            )
        except tf.errors.ResourceExhaustedError as error:
            raise OutOfMemoryError("TensorFlow has no memory for a micro-batch") from error
        except tf.errors.InvalidArgumentError as error:
            # The only error that a row can be at fault for: others would fail every row while the device is gone.
            raise BadRowError("TensorFlow refuses a row") from error
        # What is not asked for is not brought to the host.
        return beside([outputs[name].numpy()[:count] for name in self._outputs], count)

    def _in_its_shape(self, values: Tokens, lengths: Tokens, first_segment: Tokens) -> tuple[Tokens, Tokens, Tokens]:
        shape = self.shape(len(lengths), int(lengths.max(initial=1)))
        spare = (0, shape[0] - len(lengths))
        # A spare row has one token.
        lengths_then, first_then = (np.pad(one, spare, constant_values=1) for one in (lengths, first_segment))
        return padded(values, lengths, shape), lengths_then, first_then
