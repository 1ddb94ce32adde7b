"""ONNX Runtime, OpenVINO and PyTorch on the same weights, each as its documentation advises."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import BertWordPieceTokenizer

from benchmarks.harness.turns import Reply, serve
from benchmarks.workloads.steps import padded

# ONNX Runtime takes as long for a token at 1,024 as at 4,096, and pads less.
BUDGET = 1_024
Batch = tuple[np.ndarray, np.ndarray]
Engine = Callable[[np.ndarray, np.ndarray], np.ndarray]
_STATE: dict[str, Any] = {}


def export(folder: str) -> Path:
    """The ONNX model of a Hugging Face folder, and beside it the one fused by ONNX Runtime's own optimizer."""
    plain, fused = Path(folder) / "model.onnx", Path(folder) / "fused.onnx"
    if fused.is_file():
        return fused
    import torch
    from onnxruntime.transformers import optimizer
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
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


def onnx_runtime(folder: str) -> Engine:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(export(folder)), providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


def _compile(folder: str, **settings: str) -> Any:
    import openvino as ov

    export(folder)
    compiled = ov.Core().compile_model(str(Path(folder) / "model.onnx"), "CPU", settings)
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    _STATE["precision"] = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}[precision]
    return compiled


def _request(compiled: Any) -> Engine:
    request = compiled.create_infer_request()
    return lambda ids, mask: request.infer({"input_ids": ids, "attention_mask": mask})["logits"].copy()


def openvino(folder: str) -> Engine:
    return _request(_compile(folder, PERFORMANCE_HINT="LATENCY", INFERENCE_PRECISION_HINT="f32"))


def openvino_default(folder: str) -> Engine:
    """Without a hint it computes in bfloat16 where the processor has instructions for it."""
    return _request(_compile(folder))


def openvino_throughput(folder: str) -> Engine:
    """What its documentation advises where the latency of one batch does not matter: several requests at once."""
    import openvino as ov

    queue = ov.AsyncInferQueue(_compile(folder, PERFORMANCE_HINT="THROUGHPUT", INFERENCE_PRECISION_HINT="f32"))

    def run_all(batches: Sequence[Batch]) -> list[np.ndarray]:
        found: dict[int, np.ndarray] = {}
        queue.set_callback(lambda request, at: found.update({at: request.get_output_tensor().data.copy()}))
        for at, (ids, mask) in enumerate(batches):
            queue.start_async({"input_ids": ids, "attention_mask": mask}, at)
        queue.wait_all()
        return [found[at] for at in range(len(batches))]

    _STATE["run_all"] = run_all
    return lambda ids, mask: run_all([(ids, mask)])[0]


def pytorch(folder: str) -> Engine:
    import torch
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa").eval()

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(ids), torch.from_numpy(mask)).logits.numpy()

    return run


ENGINES = (onnx_runtime, openvino, openvino_default, openvino_throughput, pytorch)


def load(folder: str, engine: str) -> Reply:
    _STATE["precision"] = "float32"
    _STATE["engine"] = {each.__name__: each for each in ENGINES}[engine](folder)
    return {"precision": _STATE["precision"]}


def step(rows: int, width: int, seed: int) -> Reply:
    ids = padded(rows, width, seed).astype(np.int64)
    start = time.perf_counter()
    logits = _STATE["engine"](ids, np.ones_like(ids))
    return {"seconds": time.perf_counter() - start, "logits": logits.tolist()}


def _micro_batches(rows: Sequence[Sequence[int]]) -> Iterator[tuple[np.ndarray, Batch]]:
    """Which rows, and their tokens and mask: longest first, at most BUDGET tokens with their padding."""
    order = np.argsort([-len(row) for row in rows], kind="stable")
    at = 0
    while at < len(order):
        longest = len(rows[order[at]])
        chosen = order[at : at + max(1, BUDGET // longest)]
        ids, mask = np.zeros((2, len(chosen), longest), np.int64)
        for i, row in enumerate(chosen):
            ids[i, : len(rows[row])], mask[i, : len(rows[row])] = rows[row], 1
        yield chosen, (ids, mask)
        at += len(chosen)


def script(folder: str, input: str, output: str, max_tokens: int) -> Reply:
    """What one would write by hand: sorted by length, padded to the longest row of a micro-batch."""
    start = time.perf_counter()
    table = pq.read_table(input)
    tokenizer = _STATE.setdefault("tokenizer", BertWordPieceTokenizer(f"{folder}/vocab.txt", lowercase=True))
    tokenizer.enable_truncation(max_tokens)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(table.column("text").to_pylist())]
    chosen, batches = zip(*_micro_batches(rows), strict=True)
    if "run_all" in _STATE:
        found = _STATE["run_all"](batches)
    else:
        found = [_STATE["engine"](ids, mask) for ids, mask in batches]
    logits = np.concatenate(found)[np.argsort(np.concatenate(chosen))]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    columns = {
        "id": table.column("id"),
        "label": probabilities.argmax(axis=1),
        "probability": probabilities.max(axis=1),
    }
    pq.write_table(pa.table({**columns, "probabilities": list(probabilities)}), output, compression="zstd")
    return {"seconds": time.perf_counter() - start}


serve({"load": load, "step": step, "script": script})
