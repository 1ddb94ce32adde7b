"""transformers' BertForSequenceClassification with the weights of the workload."""

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.gpu.bert_weights import layer_weights
from benchmarks.gpu.workload import Array, Workload

ACTIVATIONS = {"gelu_tanh": "gelu_pytorch_tanh", "gelu_erf": "gelu", "relu": "relu"}
PRODUCTS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}
NORMS = {"attention_norm": "attention.output.LayerNorm", "output_norm": "output.LayerNorm"}


class TransformersBert(nn.Module):
    """int32 `[B, T]`, `[B]`, `[B]` -> logits `[B, C]`."""

    def __init__(self, workload: Workload, weights: dict[str, Array]) -> None:
        super().__init__()
        sizes = workload.config
        config = BertConfig(
            vocab_size=sizes["vocab_size"],
            hidden_size=sizes["hidden_size"],
            num_hidden_layers=sizes["num_layers"],
            num_attention_heads=sizes["num_attention_heads"],
            intermediate_size=sizes["inner_dim"],
            max_position_embeddings=sizes["max_sequence_length"],
            hidden_act=ACTIVATIONS[sizes["activation"]],
            num_labels=workload.classes,
            attn_implementation="sdpa",
        )
        self._model = BertForSequenceClassification(config)
        self._model.load_state_dict(_state(workload, weights))

    def forward(self, tokens: Tensor, lengths: Tensor, first_segment: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        mask, types = ((place < lengths[:, None]).long(), (place >= first_segment[:, None]).long())
        return self._model(input_ids=tokens, attention_mask=mask, token_type_ids=types).logits


def _state(workload: Workload, weights: dict[str, Array]) -> dict[str, Tensor]:
    second = torch.from_numpy(weights["second_segment"])
    embeddings = "bert.embeddings."
    state = {
        f"{embeddings}word_embeddings.weight": torch.from_numpy(weights["words"]),
        f"{embeddings}position_embeddings.weight": torch.from_numpy(weights["positions"]),
        # The first type's vector is inside the positions.
        f"{embeddings}token_type_embeddings.weight": torch.stack([torch.zeros_like(second), second]),
        **_norm(f"{embeddings}LayerNorm", weights["embedding_norm/gamma"], weights["embedding_norm/beta"]),
        **_product("bert.pooler.dense", weights["pooler/kernel"], weights["pooler/bias"]),
        **_product("classifier", weights["out/kernel"], weights["out/bias"]),
    }
    for index in range(workload.config["num_layers"]):
        layer = layer_weights(workload, weights, index)
        for ours, theirs in PRODUCTS.items():
            state |= _product(f"bert.encoder.layer.{index}.{theirs}", *getattr(layer, ours))
        for ours, theirs in NORMS.items():
            state |= _norm(f"bert.encoder.layer.{index}.{theirs}", *getattr(layer, ours))
    return state


def _product(name: str, kernel: Array, bias: Array) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.from_numpy(kernel.T), f"{name}.bias": torch.from_numpy(bias)}


def _norm(name: str, gamma: Array, beta: Array) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.from_numpy(gamma), f"{name}.bias": torch.from_numpy(beta)}
