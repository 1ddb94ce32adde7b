"""ONNX Runtime, OpenVINO and PyTorch on the same weights, each as its documentation advises."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from steps import padded
from tokenizers import BertWordPieceTokenizer
from turns import Reply, serve

BUDGET = 4_096
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


def openvino(folder: str) -> Engine:
    import openvino as ov

    export(folder)
    core = ov.Core()
    # Without the hint OpenVINO computes in bfloat16 where the processor can.
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(str(Path(folder) / "model.onnx"), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda ids, mask: request.infer({"input_ids": ids, "attention_mask": mask})["logits"].copy()


def pytorch(folder: str) -> Engine:
    import torch
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa").eval()

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(ids), torch.from_numpy(mask)).logits.numpy()

    return run


def load(folder: str, engine: str) -> Reply:
    _STATE["engine"] = {"onnx_runtime": onnx_runtime, "openvino": openvino, "pytorch": pytorch}[engine](folder)
    return {}


def step(rows: int, width: int, seed: int) -> Reply:
    ids = padded(rows, width, seed).astype(np.int64)
    start = time.perf_counter()
    logits = _STATE["engine"](ids, np.ones_like(ids))
    return {"seconds": time.perf_counter() - start, "logits": logits[:8].tolist()}


def script(folder: str, input: str, output: str, max_tokens: int) -> Reply:
    """What one would write by hand: sorted by length, padded to the longest row of a micro-batch of 4,096 tokens."""
    start = time.perf_counter()
    table = pq.read_table(input)
    tokenizer = _STATE.setdefault("tokenizer", BertWordPieceTokenizer(f"{folder}/vocab.txt", lowercase=True))
    tokenizer.enable_truncation(max_tokens)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(table.column("text").to_pylist())]
    order = np.argsort([-len(row) for row in rows], kind="stable")
    probabilities = np.empty((len(rows), 7), np.float32)
    at = 0
    while at < len(order):
        longest = len(rows[order[at]])
        batch = order[at : at + max(1, BUDGET // longest)]
        ids, mask = np.zeros((2, len(batch), longest), np.int64)
        for i, row in enumerate(batch):
            ids[i, : len(rows[row])], mask[i, : len(rows[row])] = rows[row], 1
        logits = _STATE["engine"](ids, mask)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities[batch] = exponentials / exponentials.sum(axis=1, keepdims=True)
        at += len(batch)
    best = probabilities.argmax(axis=1)
    columns = {"id": table.column("id"), "label": best, "probability": probabilities.max(axis=1)}
    pq.write_table(pa.table({**columns, "probabilities": list(probabilities)}), output, compression="zstd")
    return {"seconds": time.perf_counter() - start, "rows": len(rows), "first": probabilities[:8].tolist()}


serve({"load": load, "step": step, "script": script})
