"""The weights of the exported function as those of an ordinary BERT, which computes the same."""

from dataclasses import dataclass

import numpy as np

from benchmarks.gpu.workload import Array, Workload

Pair = tuple[Array, Array]


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """Each a kernel `[I, O]` and its bias `[O]`, or a gamma and its beta; attention divides by sqrt(d) itself."""

    query: Pair
    key: Pair
    value: Pair
    attended: Pair
    attention_norm: Pair
    intermediate: Pair
    output: Pair
    output_norm: Pair


def layer_weights(workload: Workload, weights: dict[str, Array], index: int) -> LayerWeights:
    """The weights of one layer. The exported query is divided by sqrt(d) already, the last layer rearranged."""
    hidden = workload.config["hidden_size"]
    last = index == workload.config["num_layers"] - 1
    place = "last_layer" if last else f"layers/{index}"
    if last:
        query, query_bias = weights[f"{place}/query/kernel"], weights[f"{place}/query/bias"]
        key = weights[f"{place}/key_kernel"].transpose(2, 0, 1).reshape(hidden, hidden)
        value = weights[f"{place}/value_kernel"].transpose(1, 0, 2).reshape(hidden, hidden)
        # Softmax does not see the key's bias, so the export has none.
        key_bias, value_bias = np.zeros(hidden, np.float32), weights[f"{place}/value_bias"]
    else:
        query, key, value = np.split(weights[f"{place}/query_key_value/kernel"], 3, axis=1)
        query_bias, key_bias, value_bias = np.split(weights[f"{place}/query_key_value/bias"], 3)
    scale = np.float32(np.sqrt(hidden // workload.config["num_attention_heads"]))
    rest = {
        name: (weights[f"{place}/{name}/{first}"], weights[f"{place}/{name}/{second}"])
        for names, first, second in (
            (("attended", "intermediate", "output"), "kernel", "bias"),
            (("attention_norm", "output_norm"), "gamma", "beta"),
        )
        for name in names
    }
    return LayerWeights(
        query=(query * scale, query_bias * scale), key=(key, key_bias), value=(value, value_bias), **rest
    )
