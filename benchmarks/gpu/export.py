"""Writes a workload: the programs as StableHLO, what they are, and reference results. Needs TensorFlow, no GPU."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import tensorflow as tf

from benchmarks.gpu.tensorflow_runtime import CLASSES, assign, new_graph, tensors, variables_of
from benchmarks.gpu.workload import CHECKED_ROWS, Drawn, Program, Workload, checksum
from model.network.config import BertConfig
from model.serving.scoring_graph import PRECISIONS, ScoringGraph
from transforms.score.micro_batches import STATIC_WIDTHS, TOKEN_BUDGET, static_shape


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
    graph = new_graph(chosen.config)
    variables = dict(variables_of(graph))
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
    assign(variables, workload)
    rows = {one.width: workload.draw_rows(one.width, one.shortest, CHECKED_ROWS) for one in workload.programs}
    workload.save(folder, {width: graph.logits(**tensors(some)).numpy() for width, some in rows.items()})
    return workload


def _programs(sizes: Sizes) -> Iterator[Program]:
    shapes = [(width, sizes.token_budget) for width in sizes.widths]
    curve = [(sizes.curve_width, budget) for budget in sizes.budgets if budget != sizes.token_budget]
    # The precision that a GPU gets by default first, should there be time for one only.
    for precision, wanted in (("float16", shapes + curve), ("bfloat16", shapes), ("float32", shapes)):
        for longest, budget in wanted:
            rows, width = static_shape(budget // longest, longest, budget)
            shortest = STATIC_WIDTHS[STATIC_WIDTHS.index(width) - 1] + 1
            yield Program(precision=precision, rows=rows, width=width, shortest=shortest)


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
