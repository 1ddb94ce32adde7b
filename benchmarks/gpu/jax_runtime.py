"""Runs the exported StableHLO through JAX's PJRT client, where TensorFlow has no CUDA libraries."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import jaxlib
import numpy as np

from benchmarks.gpu.measure import PRODUCTS, About, Score, random_square
from benchmarks.gpu.workload import Array, Program, Rows, Workload


class StableHlo:
    """The Runtime of `measure` without TensorFlow."""

    whole_last_layer = False

    def __init__(self, workload: Workload, folder: Path) -> None:
        self._workload, self._folder = workload, folder
        device = jax.devices()[0]
        self.about = About(
            runtime="StableHLO through JAX",
            device=device.device_kind,
            kind="cpu" if device.platform == "cpu" else "gpu",
            versions={
                "jax": jax.__version__,
                "jaxlib": jaxlib.__version__,
                "PJRT": device.client.platform_version.splitlines()[0],
            },
        )
        self._weights = [jax.device_put(values) for values in workload.draw_weights().values()]
        self._bytes: int | None = None

    def multiply(self, precision: str, side: int) -> Callable[[], object]:
        a = jax.device_put(random_square(side)).astype(precision)
        product = jax.jit(jnp.matmul)
        return lambda: jax.block_until_ready([product(a, a) for _ in range(PRODUCTS)])

    def compile(self, program: Program) -> Score:
        inputs = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in _shapes(program)]
        called = _called(program.read(self._folder), [*inputs, *self._weights], self._results(program))
        loaded = jax.jit(called).lower(*inputs, *self._weights).compile()
        self._bytes = _needed(loaded.memory_analysis())

        def score(rows: Rows) -> Array:
            arrays = (jax.device_put(array) for array in (rows.tokens, rows.lengths, rows.first_segment))
            return np.asarray(loaded(*arrays, *self._weights)[0])

        return score

    def forget_peak(self) -> None:
        """Nothing to forget: the compiler says what each program needs."""

    def peak_bytes(self) -> int | None:
        return self._bytes

    def _results(self, program: Program) -> list[tuple[int, ...]]:
        classes = self._workload.classes
        return [(program.rows, classes), (program.rows, classes) if classes > 1 else (program.rows,)]


def _called(serialized: bytes, arguments: list, results: list[tuple[int, ...]]) -> Callable[..., list[jax.Array]]:
    """The program as a JAX function: one of the same signature, exported by JAX, with the program in its place."""

    def same_signature(*_: jax.Array) -> list[jax.Array]:
        return [jnp.zeros(shape) for shape in results]

    exported = jax.export.export(jax.jit(same_signature, keep_unused=True))(*arguments)
    return dataclasses.replace(exported, mlir_module_serialized=serialized).call


def _shapes(program: Program) -> list[tuple[int, ...]]:
    return [(program.rows, program.width), (program.rows,), (program.rows,)]


def _needed(memory: object) -> int | None:
    parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    sizes = [getattr(memory, part, math.nan) for part in parts]
    return None if any(math.isnan(size) for size in sizes) else sum(sizes)
