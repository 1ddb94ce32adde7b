"""TensorFlow's part of `gpu.py`: the export of a workload, and its measurement where TensorFlow has CUDA."""

import os
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tensorflow as tf
from gpu_measure import PRODUCTS, About, Score, random_square
from gpu_workload import CHECKED_ROWS, Drawn, Program, Rows, Workload, checksum

from model.network.classifier import build_classifier
from model.network.config import BertConfig
from model.serving.scoring_graph import PRECISIONS, ScoringGraph
from transforms.score.devices import find_device
from transforms.score.micro_batches import STATIC_WIDTHS, TOKEN_BUDGET, static_shape

CLASSES = 2


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A model, and the shapes in which it is measured: `widths` at the budget, `budgets` in `curve_width`."""

    config: BertConfig
    token_budget: int
    widths: tuple[int, ...]
    budgets: tuple[int, ...]
    curve_width: int
    product: int


SIZES = {
    "base": Sizes(
        config=BertConfig.preset("base"),
        token_budget=TOKEN_BUDGET["gpu"],
        widths=(16, 32, 64, 128, 256, 512),
        budgets=tuple(2**power for power in range(12, 19)),
        curve_width=128,
        product=8_192,
    ),
    "tiny": Sizes(
        config=BertConfig.preset("tiny", vocab_size=1_000),
        token_budget=256,
        widths=(16, 32),
        budgets=(128, 256, 512),
        curve_width=32,
        product=256,
    ),
}


def export(folder: Path, sizes: str, seed: int) -> Workload:
    """Writes the programs as StableHLO, the workload that says what they are, and reference results."""
    chosen = SIZES[sizes]
    folder.mkdir(parents=True, exist_ok=True)
    graph = _graph(chosen.config)
    variables = dict(_variables(graph))
    shapes = {name: tuple(variables[name].shape) for name in _order(graph, variables)}
    workload = Workload(
        sizes=sizes,
        seed=seed,
        tensorflow=tf.__version__,
        config=chosen.config.to_dict(),
        classes=CLASSES,
        token_budget=chosen.token_budget,
        curve_width=chosen.curve_width,
        product=chosen.product,
        programs=tuple(_write(folder, program, graph) for program in _programs(chosen)),
        weights=tuple(_drawn(name, shape, chosen.config.hidden_size, seed) for name, shape in shapes.items()),
    )
    _assign(variables, workload)
    rows = {one.width: workload.draw_rows(one.width, one.shortest, CHECKED_ROWS) for one in workload.programs}
    workload.save(folder, {width: graph.logits(**_tensors(some)).numpy() for width, some in rows.items()})
    return workload


class TensorFlow:
    """The Runtime of `measure` that production has: the signatures `compiled_<precision>` on TensorFlow's own device.

    The bundle has no compiled float32; here it has, so that precisions can be compared.
    """

    whole_last_layer = False

    def __init__(self, workload: Workload) -> None:
        device = find_device()
        self._gpu = device.kind == "gpu"
        self._graph = _graph(BertConfig.from_dict(workload.config))
        _assign(dict(_variables(self._graph)), workload)
        versions = {"tensorflow": tf.__version__}
        name = "CPU"
        if self._gpu:
            gpu = tf.config.list_physical_devices("GPU")[0]
            name = tf.config.experimental.get_device_details(gpu)["device_name"]
            versions["CUDA"] = str(tf.sysconfig.get_build_info()["cuda_version"])
        self.about = About(runtime="TensorFlow", device=name, kind=device.kind, versions=versions)

    def multiply(self, precision: str, side: int) -> Callable[[], object]:
        a = tf.cast(random_square(side), precision)

        def products() -> None:
            for _ in range(PRODUCTS):
                tf.matmul(a, a)
            tf.test.experimental.sync_devices()

        return products

    def compile(self, program: Program) -> Score:
        function = self._graph.compiled(tf.as_dtype(program.precision))
        return lambda rows: function(**_tensors(rows))["logits"].numpy()

    def forget_peak(self) -> None:
        if self._gpu:
            tf.config.experimental.reset_memory_stats("GPU:0")

    def peak_bytes(self) -> int | None:
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) if self._gpu else None


def sees_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _programs(sizes: Sizes) -> Iterator[Program]:
    shapes = [(width, sizes.token_budget) for width in sizes.widths]
    curve = [(sizes.curve_width, budget) for budget in sizes.budgets if budget != sizes.token_budget]
    # The precision that a GPU gets by default first, should there be time for one only.
    for precision, wanted in (("float16", shapes + curve), ("bfloat16", shapes), ("float32", shapes)):
        for longest, budget in wanted:
            rows, width = static_shape(budget // longest, longest, budget)
            shortest = STATIC_WIDTHS[STATIC_WIDTHS.index(width) - 1] + 1
            yield Program(precision=precision, rows=rows, width=width, shortest=shortest)


def _graph(config: BertConfig) -> ScoringGraph:
    return ScoringGraph.from_classifier(build_classifier(config, CLASSES), config)


def _variables(module: object, prefix: str = "") -> Iterator[tuple[str, tf.Variable]]:
    """Every variable with its place: `layers/0/query_key_value/kernel`."""
    for name, child in tf.train.TrackableView(module).children(module).items():
        place = prefix + name.lstrip("_")
        if isinstance(child, tf.Variable):
            yield place, child
        else:
            yield from _variables(child, f"{place}/")


def _order(graph: ScoringGraph, variables: dict[str, tf.Variable]) -> list[str]:
    """The names of the variables in the order in which every program takes them, after the inputs."""
    names = {id(variable.handle): name for name, variable in variables.items()}
    orders = []
    for precision in PRECISIONS:
        captured = graph.compiled(tf.as_dtype(precision)).get_concrete_function().captured_inputs
        orders.append([names[id(handle)] for handle in captured])
    if any(order != orders[0] for order in orders):
        raise ValueError(f"the programs of {', '.join(PRECISIONS)} take their weights in different orders")
    return orders[0]


def _write(folder: Path, program: Program, graph: ScoringGraph) -> Program:
    """Writes its StableHLO; gives the program with the checksum of it."""
    shapes = {"tokens": [program.rows, program.width], "lengths": [program.rows], "first_segment": [program.rows]}
    rows = {name: tf.zeros(shape, tf.int32) for name, shape in shapes.items()}
    function = graph.compiled(tf.as_dtype(program.precision))
    serialized = function.experimental_get_compiler_ir(**rows)(stage="stablehlo_serialized")
    (folder / program.file).write_bytes(serialized)
    return replace(program, checksum=zlib.crc32(serialized))


def _drawn(name: str, shape: tuple[int, ...], hidden: int, seed: int) -> Drawn:
    # A standard deviation of 0.02 in BERT-base, as in its first training step; smaller models as lively as that.
    kernels = 0.02 * (3 * 768 / hidden) ** 0.5
    centre, spread = (1.0, 0.1) if name.endswith("gamma") else (0.0, kernels)
    drawn = Drawn(name=name, shape=shape, centre=centre, spread=spread)
    return replace(drawn, checksum=checksum(drawn.values(seed)))


def _assign(variables: dict[str, tf.Variable], workload: Workload) -> None:
    for name, values in workload.draw_weights().items():
        variables[name].assign(values)


def _tensors(rows: Rows) -> dict[str, tf.Tensor]:
    return {name: tf.constant(array) for name, array in vars(rows).items()}
