"""The graph of production with a workload's weights, and its measurement where TensorFlow has CUDA."""

import os
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from benchmarks.gpu.measure import PRODUCTS, About, Score, random_square
from benchmarks.gpu.workload import Program, Rows, Workload
from model.network.classifier import build_classifier
from model.network.config import BertConfig
from model.serving.scoring_graph import ScoringGraph
from transforms.score.devices import find_device

CLASSES = 2


class TensorFlow:
    """The Runtime of `measure` that production has: the signatures `compiled_<precision>` on TensorFlow's own device.

    The bundle has no compiled float32; here it has, so that precisions can be compared.
    """

    whole_last_layer = False

    def __init__(self, workload: Workload) -> None:
        device = find_device()
        self._gpu = device.kind == "gpu"
        self._graph = new_graph(BertConfig.from_dict(workload.config))
        assign(dict(variables_of(self._graph)), workload)
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
        return lambda rows: function(**tensors(rows))["logits"].numpy()

    def forget_peak(self) -> None:
        if self._gpu:
            tf.config.experimental.reset_memory_stats("GPU:0")

    def peak_bytes(self) -> int | None:
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"]) if self._gpu else None


def sees_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def new_graph(config: BertConfig) -> ScoringGraph:
    """The scoring graph of an untrained classifier."""
    return ScoringGraph.from_classifier(build_classifier(config, CLASSES), config)


def variables_of(module: object, prefix: str = "") -> Iterator[tuple[str, tf.Variable]]:
    """Every weight with its place: `layers/0/query_key_value/kernel`; a single number is none."""
    for name, child in tf.train.TrackableView(module).children(module).items():
        place = prefix + name.lstrip("_")
        if isinstance(child, tf.Variable):
            if child.shape.rank:
                yield place, child
        else:
            yield from variables_of(child, f"{place}/")


def assign(variables: dict[str, tf.Variable], workload: Workload) -> None:
    """Gives the variables the weights of the workload."""
    for name, values in workload.draw_weights().items():
        variables[name].assign(values)


def tensors(rows: Rows) -> dict[str, tf.Tensor]:
    """The arguments of the graph."""
    return {name: tf.constant(array) for name, array in vars(rows).items()}
