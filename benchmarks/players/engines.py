"""ONNX Runtime, OpenVINO and PyTorch on the same weights, each as its documentation advises.

An engine is a function of ids and mask, int64 `[rows, width]` each, that returns logits, float32 `[rows, classes]`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Batch = tuple[np.ndarray, np.ndarray]
PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """`run` computes one batch, `run_all` several at once where the engine can; `precision` is what it computes in."""

    run: Callable[[np.ndarray, np.ndarray], np.ndarray]
    precision: str = "float32"
    run_all: Callable[[Sequence[Batch]], list[np.ndarray]] | None = None

    def all(self, batches: Sequence[Batch]) -> list[np.ndarray]:
        """The logits of each batch."""
        return self.run_all(batches) if self.run_all else [self.run(ids, mask) for ids, mask in batches]


def export(folder: str) -> Path:
    """The ONNX model of a Hugging Face folder, and beside it the one fused by ONNX Runtime's own optimizer."""
    plain, fused = Path(folder) / "model.onnx", Path(folder) / "fused.onnx"
    if fused.is_file():
        return fused
    import torch
    from onnxruntime.transformers import optimizer
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    ids = torch.ones(2, 8, dtype=torch.int64)
    axes = {0: "rows", 1: "width"}
    # The newer exporter (dynamo) gives other logits than the model it exports: off by more than 2 where they reach 2.
    torch.onnx.export(
        model,
        (ids, ids),
        str(plain),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "rows"}},
        opset_version=17,
        dynamo=False,
    )
    config = model.config
    optimized = optimizer.optimize_model(
        str(plain), model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size
    )
    print(optimized.get_fused_operator_statistics())
    optimized.save_model_to_file(str(fused))
    return fused


def quantized(folder: str) -> Path:
    """The fused ONNX model with the weights of its products in int8, their inputs quantized while it runs."""
    file = Path(folder) / "int8.onnx"
    if not file.is_file():
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # Shapes of the optimizer's own operations are not inferred.
        options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(
            str(export(folder)), str(file), weight_type=QuantType.QInt8, per_channel=True, extra_options=options
        )
    return file


def _session(model: Path) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


def onnx_runtime(folder: str) -> Engine:
    return Engine(run=_session(export(folder)))


def onnx_runtime_int8(folder: str) -> Engine:
    return Engine(run=_session(quantized(folder)), precision="int8")


def _compile(folder: str, **settings: str) -> tuple[Any, str]:
    import openvino as ov

    export(folder)
    compiled = ov.Core().compile_model(str(Path(folder) / "model.onnx"), "CPU", settings)
    return compiled, PRECISIONS[compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()]


def _request(compiled: Any, precision: str) -> Engine:
    request = compiled.create_infer_request()

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        logits: np.ndarray = request.infer({"input_ids": ids, "attention_mask": mask})["logits"].copy()
        return logits

    return Engine(run=run, precision=precision)


def openvino(folder: str) -> Engine:
    return _request(*_compile(folder, PERFORMANCE_HINT="LATENCY", INFERENCE_PRECISION_HINT="f32"))


def openvino_default(folder: str) -> Engine:
    """Without a hint it computes in bfloat16 where the processor has instructions for it."""
    return _request(*_compile(folder))


def _queue(compiled: Any, precision: str) -> Engine:
    import openvino as ov

    queue = ov.AsyncInferQueue(compiled)

    def run_all(batches: Sequence[Batch]) -> list[np.ndarray]:
        found: dict[int, np.ndarray] = {}
        queue.set_callback(lambda request, at: found.update({at: request.get_output_tensor().data.copy()}))
        for at, (ids, mask) in enumerate(batches):
            queue.start_async({"input_ids": ids, "attention_mask": mask}, at)
        queue.wait_all()
        return [found[at] for at in range(len(batches))]

    return Engine(run=lambda ids, mask: run_all([(ids, mask)])[0], precision=precision, run_all=run_all)


def openvino_throughput(folder: str) -> Engine:
    """What its documentation advises where the latency of one batch does not matter: several requests at once."""
    return _queue(*_compile(folder, PERFORMANCE_HINT="THROUGHPUT", INFERENCE_PRECISION_HINT="f32"))


def openvino_throughput_default(folder: str) -> Engine:
    """The same in the precision that it takes by itself."""
    return _queue(*_compile(folder, PERFORMANCE_HINT="THROUGHPUT"))


def pytorch(folder: str) -> Engine:
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa").eval()

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = model(torch.from_numpy(ids), torch.from_numpy(mask)).logits.numpy()
        return logits

    return Engine(run=run)


ENGINES: dict[str, Callable[[str], Engine]] = {
    engine.__name__: engine
    for engine in (
        onnx_runtime,
        onnx_runtime_int8,
        openvino,
        openvino_default,
        openvino_throughput,
        openvino_throughput_default,
        pytorch,
    )
}
