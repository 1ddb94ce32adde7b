"""OpenVINO: the same weights, several times as fast in bfloat16 on a CPU that has instructions for it, or in int8.

An optional dependency (the extra `openvino`), imported when a job first computes with it.
"""

import functools
import importlib.util
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from model.bundle import INT8, OPENVINO, Bundle
from transforms.errors import EngineError, OutOfMemoryError
from transforms.score.compute import Compute
from transforms.score.devices import Device
from transforms.score.engines.chips import EIGHT_BIT, find_chip
from transforms.score.engines.scorer import Limits, Scorer, Tokens, beside, check_rows, folding_of, outputs_of, padded
from transforms.score.memo import Memo
from transforms.score.micro_batches import Indices, plan_micro_batches
from transforms.stores.loaded import once_a_process

INSTALL = "pip install 'bert-batch[openvino]'"
THREADS = "TF_NUM_INTRAOP_THREADS"
"""The share of the cores of one process: TensorFlow reads it itself, and never computes while OpenVINO does."""
_TYPES = {"float32": "f32", "bfloat16": "bf16", INT8: "f32"}
"""Precision -> the type of what is not quantized."""
_NO_MEMORY = (
    "bad_alloc",
    "Failed to allocate",
    "out of memory",
    "Cannot allocate memory",
    "Could not allocate memory",
    "can't alloc",
)
"""What the parts of OpenVINO say of it; the last is the assembler's, which makes a kernel for a shape that is new."""


def is_installed() -> bool:
    """Whether the package openvino is there; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


def computes(precision: str) -> bool:
    """Whether OpenVINO is there, and computes in `precision` on the chip of this machine."""
    if precision not in _TYPES or not is_installed():
        return False
    if precision == INT8:
        # It computes int8 on every chip, and on those without instructions for it slowly.
        return find_chip().kind in EIGHT_BIT and "INT8" in capabilities()
    return _TYPES[precision].upper() in {"F32", *capabilities()}


@functools.cache
def capabilities() -> tuple[str, ...]:
    """What OpenVINO says that the chip can: `BF16` where it has instructions for bfloat16, in oneDNN's limits too."""
    from openvino import properties

    return tuple(_core().get_property("CPU", properties.device.capabilities()))


class OpenVinoScorer(Scorer):
    """The scoring graph of a bundle, read by OpenVINO; on a CPU."""

    engine = OPENVINO

    def __init__(self, bundle: Bundle, compute: Compute, device: Device) -> None:
        """Raises EngineError, naming chip and flag, if this process cannot compute what the run was planned for."""
        self._outputs = outputs_of(bundle, compute)
        self.width, self.classes = sum(self._outputs.values()), max(1, len(bundle.labels))
        self.precision = compute.precision or "float32"
        self.token_budget = compute.token_budget or device.token_budget
        self.memo = Memo(self.width)
        self.fold = folding_of(bundle)
        self._limits = Limits.of(bundle.model)
        _check(bundle, self.precision, compute.chip)
        self._compiled = once_a_process(
            f"openvino {self.precision}",
            bundle.fingerprint,
            lambda: Compiled(bundle.int8 if self.precision == INT8 else bundle.scoring, self.precision),
        )

    def plan(self, lengths: npt.NDArray[np.integer]) -> list[Indices]:
        return plan_micro_batches(lengths, self.token_budget)

    def shape(self, rows: int, longest: int) -> tuple[int, int]:
        return rows, longest

    def __call__(self, values: Tokens, lengths: Tokens, first_segment: Tokens) -> npt.NDArray[np.float32]:
        check_rows(values, lengths, first_segment, self._limits)
        if not len(lengths):
            return np.empty((0, self.width), np.float32)
        tokens = padded(values, lengths, (len(lengths), int(lengths.max())))
        inputs = {"tokens": tokens, "lengths": lengths, "first_segment": first_segment}
        return beside(self._compiled.read(inputs, self._outputs), len(lengths))


class Compiled:
    """A graph that OpenVINO has compiled. Threads take turns: it is one stream that uses all cores it may.

    After an error it is compiled anew. What had no memory for its tensors computes with wrong shapes from then on, or
    brings the process down.
    """

    def __init__(self, graph: str, precision: str) -> None:
        """`graph` is a folder with a SavedModel, or a file of OpenVINO's own."""
        self._graph, self._precision = graph, precision
        self._lock = threading.Lock()
        self._request: Any = self._compile()

    def __call__(self, inputs: Mapping[str, Tokens], output: str) -> npt.NDArray[np.float32]:
        return self.read(inputs, [output])[0]

    def read(self, inputs: Mapping[str, Tokens], outputs: Iterable[str]) -> list[npt.NDArray[np.float32]]:
        """Several outputs of one run; those that nobody reads cost nothing that could be measured."""
        with self._lock:
            try:
                if self._request is None:
                    self._request = self._compile()
                found = self._infer(inputs)
                return [np.array(found[name]) for name in outputs]
            except (RuntimeError, MemoryError) as error:
                self._request = None
                if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
                    raise OutOfMemoryError("OpenVINO has no memory for a micro-batch") from error
                raise

    def _infer(self, inputs: Mapping[str, Tokens]) -> Any:
        return self._request.infer(inputs, share_inputs=True, share_outputs=True)

    def _compile(self) -> Any:
        from openvino import properties

        hint = properties.hint
        settings = {
            hint.inference_precision(): _TYPES[self._precision],
            hint.performance_mode(): hint.PerformanceMode.LATENCY,
            properties.inference_num_threads(): int(os.environ.get(THREADS, 0)),
            # Each process would pin its threads to the same first cores.
            hint.enable_cpu_pinning(): False,
        }
        # Reads the signature PADDED of scoring_graph.py; its weights are mapped, not copied.
        compiled = _core().compile_model(_core().read_model(self._graph), "CPU", settings)
        found = compiled.get_property(hint.inference_precision()).get_type_name()
        if found != _TYPES[self._precision]:
            raise EngineError(_other_chip(self._precision))
        if self._precision == INT8 and not has_int8(compiled):
            raise EngineError(f"{self._graph}: computes no product in int8; make the bundle anew with `quantize`")
        return compiled.create_infer_request()


def has_int8(compiled: Any) -> bool:
    """Whether products are computed in int8: the hint above is of what is not quantized."""
    of_products = (op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops())
    kinds = {info["runtimePrecision"].astype(str) for info in of_products if _is_product(info)}
    return bool(kinds & {"i8", "u8"})


def _is_product(info: Any) -> bool:
    return "layerType" in info and info["layerType"].astype(str) in ("FullyConnected", "MatMul")


@functools.cache
def _core() -> Any:
    import openvino

    return openvino.Core()


def _check(bundle: Bundle, precision: str, planned: str | None) -> None:
    if OPENVINO not in bundle.engines:
        raise EngineError(
            f"{bundle.name}: has no graph that OpenVINO reads, it is of an earlier version; make the bundle anew"
        )
    if precision == INT8 and INT8 not in bundle.precisions:
        raise EngineError(f"--precision int8: {bundle.name} has no graph for it; `bert-batch quantize` makes one")
    if precision not in _TYPES:
        raise EngineError(f"--precision {precision}: OpenVINO computes in {', '.join(_TYPES)} here")
    if not is_installed():
        raise EngineError(
            f"--precision {precision}: the run was planned for OpenVINO, which is not installed where this worker is; "
            f"{INSTALL} there, or take --precision float32"
        )
    chip = find_chip()
    if planned not in (None, chip.kind):
        raise EngineError(
            f"--precision {precision}: the run was planned for chips of class {planned}, and this worker's is "
            f"{chip.name} (class {chip.kind}): scores of two kinds would stand in one date. Take machines of one kind "
            "and name their class with --chip, or take --precision float32"
        )
    if not computes(precision):
        raise EngineError(_other_chip(precision))


def _other_chip(precision: str) -> str:
    chip = find_chip()
    return (
        f"--precision {precision}: the run was planned for OpenVINO, which does not compute it on this worker's chip, "
        f"{chip.name} (class {chip.kind}). Take machines of one kind and name their class with --chip, or take "
        "--precision float32"
    )
