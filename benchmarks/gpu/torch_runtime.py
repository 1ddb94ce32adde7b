"""The competitor: PyTorch in half precision with SDPA and torch.compile, on the same weights, rows and shapes."""

import copy
import gc
import importlib.util
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gpu.bert_weights import LayerWeights, layer_weights
from benchmarks.gpu.measure import PRODUCTS, About, Score, random_square
from benchmarks.gpu.workload import Array, Program, Rows, Workload

GELU = {"gelu_tanh": "tanh", "gelu_erf": "none"}


class PyTorch:
    """The Runtime of `measure` with `transformers`' BertForSequenceClassification or, without, PlainBert."""

    whole_last_layer = True

    def __init__(self, workload: Workload, *, transformers: bool, compiled: bool) -> None:
        self._gpu = torch.cuda.is_available()
        self._device = torch.device("cuda" if self._gpu else "cpu")
        self._compiled = compiled
        weights = workload.draw_weights()
        if transformers:
            from benchmarks.gpu.transformers_model import TransformersBert

            self._model: nn.Module = TransformersBert(workload, weights)
        else:
            self._model = PlainBert(workload, weights)
        self._model.eval().requires_grad_(False)
        self.about = About(
            runtime=f"{'transformers' if transformers else 'plain'} PyTorch with SDPA"
            + (" and torch.compile" if compiled else ""),
            device=torch.cuda.get_device_name() if self._gpu else "cpu",
            kind="gpu" if self._gpu else "cpu",
            versions=_versions(transformers),
        )

    def multiply(self, precision: str, side: int) -> Callable[[], object]:
        a = torch.from_numpy(random_square(side)).to(self._device, getattr(torch, precision))

        def products() -> None:
            for _ in range(PRODUCTS):
                torch.mm(a, a)
            if self._gpu:
                torch.cuda.synchronize()

        return products

    def compile(self, program: Program) -> Score:
        # After eight shapes of one function the compiler would give up.
        torch.compiler.reset()
        gc.collect()
        # A copy: a model that was float16 once is not the float32 one any more.
        model = copy.deepcopy(self._model).to(self._device, getattr(torch, program.precision))
        if self._compiled:
            model = torch.compile(model, dynamic=False)

        def score(rows: Rows) -> Array:
            arrays = (rows.tokens, rows.lengths, rows.first_segment)
            with torch.inference_mode():
                logits = model(*(torch.from_numpy(array).to(self._device) for array in arrays))
                return logits.float().cpu().numpy()

        return score

    def forget_peak(self) -> None:
        if self._gpu:
            torch.cuda.reset_peak_memory_stats()

    def peak_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if self._gpu else None


class PlainBert(nn.Module):
    """BERT's classifier as one writes it for speed: int32 `[B, T]`, `[B]`, `[B]` -> logits `[B, C]`."""

    def __init__(self, workload: Workload, weights: dict[str, Array]) -> None:
        super().__init__()
        config = workload.config
        self._words = _buffer(weights["words"])
        self._positions = _buffer(weights["positions"])
        self._second_segment = _buffer(weights["second_segment"])
        self._norm = _norm(weights["embedding_norm/gamma"], weights["embedding_norm/beta"])
        heads, gelu = config["num_attention_heads"], GELU[config["activation"]]
        layers = range(config["num_layers"])
        self._layers = nn.ModuleList(PlainLayer(layer_weights(workload, weights, i), heads, gelu) for i in layers)
        self._pooler = _linear(weights["pooler/kernel"], weights["pooler/bias"])
        self._out = _linear(weights["out/kernel"], weights["out/bias"])

    def forward(self, tokens: Tensor, lengths: Tensor, first_segment: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        is_second = (place >= first_segment[:, None])[:, :, None]
        rows = F.embedding(tokens, self._words) + self._positions[: tokens.shape[1]] + is_second * self._second_segment
        rows = self._norm(rows)
        mask = (place < lengths[:, None])[:, None, None, :]
        for layer in self._layers:
            rows = layer(rows, mask)
        return self._out(torch.tanh(self._pooler(rows[:, 0])))


class PlainLayer(nn.Module):
    """One layer with one product for queries, keys and values: `[B, T, H]`, mask `[B, 1, 1, T]` -> `[B, T, H]`."""

    def __init__(self, weights: LayerWeights, heads: int, gelu: str) -> None:
        super().__init__()
        self._heads, self._gelu = heads, gelu
        kernels, biases = zip(weights.query, weights.key, weights.value, strict=True)
        self._query_key_value = _linear(np.concatenate(kernels, axis=1), np.concatenate(biases))
        self._attended = _linear(*weights.attended)
        self._attention_norm = _norm(*weights.attention_norm)
        self._intermediate = _linear(*weights.intermediate)
        self._output = _linear(*weights.output)
        self._output_norm = _norm(*weights.output_norm)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        batch, time, hidden = rows.shape
        split = self._query_key_value(rows).view(batch, time, 3, self._heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = attended.transpose(1, 2).reshape(batch, time, hidden)
        rows = self._attention_norm(rows + self._attended(attended))
        inner = F.gelu(self._intermediate(rows), approximate=self._gelu)
        return self._output_norm(rows + self._output(inner))


def has_transformers() -> bool:
    return importlib.util.find_spec("transformers") is not None


def _versions(transformers: bool) -> dict[str, str]:
    versions = {"torch": torch.__version__}
    if torch.version.cuda:
        versions["CUDA"] = torch.version.cuda
    if transformers:
        versions["transformers"] = importlib.import_module("transformers").__version__
    return versions


def _buffer(values: Array) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(values), requires_grad=False)


def _linear(kernel: Array, bias: Array) -> nn.Linear:
    linear = nn.Linear(*kernel.shape, device="meta")
    linear.weight, linear.bias = _buffer(np.ascontiguousarray(kernel.T)), _buffer(bias)
    return linear


def _norm(gamma: Array, beta: Array) -> nn.LayerNorm:
    norm = nn.LayerNorm(len(gamma), eps=1e-12, device="meta")
    norm.weight, norm.bias = _buffer(gamma), _buffer(beta)
    return norm
