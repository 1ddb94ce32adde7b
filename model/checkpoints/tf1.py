"""TF1 checkpoints of google-research/bert: names and shapes of 2018, Adam's moments beside the weights."""

from pathlib import Path

import numpy as np

from model.checkpoints.checkpoint import Checkpoint, some
from model.checkpoints.run_configs import FORMULA, RunConfig, merged_config
from model.checkpoints.stored_variables import Stored
from model.errors import CheckpointError
from model.network.weights import encoder_shapes

WORDS = "bert/embeddings/word_embeddings"

_EMBEDDINGS = {
    "_embedding_layer/embeddings": WORDS,
    "_position_embedding_layer/embeddings": "bert/embeddings/position_embeddings",
    "_type_embedding_layer/embeddings": "bert/embeddings/token_type_embeddings",
}
_LAYERS = {
    "_embedding_norm_layer": "bert/embeddings/LayerNorm",
    "_pooler_layer": "bert/pooler/dense",
    "_attention_layer/_query_dense": "attention/self/query",
    "_attention_layer/_key_dense": "attention/self/key",
    "_attention_layer/_value_dense": "attention/self/value",
    "_attention_layer/_output_dense": "attention/output/dense",
    "_attention_layer_norm": "attention/output/LayerNorm",
    "_intermediate_dense": "intermediate/dense",
    "_output_dense": "output/dense",
    "_output_layer_norm": "output/LayerNorm",
}
# Its FullTokenizer asks the Python that it runs on for the class of a character.
_TOKENIZER = (
    "tokenizer: google_research, with Unicode 14; a training on a Python with another Unicode version took characters "
    "that only one of the two knows otherwise"
)
_HEAD_NOTE = "head: output_weights is taken for that of run_classifier.py, which reads the encoder's pooled output"
_HEAD = {"classifier/out_proj/kernel": "output_weights", "classifier/out_proj/bias": "output_bias"}


def read_tf1(prefix: str | Path, run: RunConfig | None, *, head: bool = True) -> Checkpoint:
    """Reads a google-research checkpoint; `run` is its bert_config.json, which alone knows the number of heads.

    Raises CheckpointError for a missing file or variable, a wrong shape, or a variable that would be left over.
    """
    origin = str(prefix)
    if run is None or "num_attention_heads" not in run.fields:
        raise CheckpointError(
            f"{Path(prefix).parent / 'bert_config.json'}: not there, or without num_attention_heads, which the "
            f"checkpoint {origin} cannot tell; put the bert_config.json that came with the model beside it"
        )
    reader = Stored(prefix)
    stored = reader.shapes
    found = {"vocab_size": stored[WORDS][0], "hidden_size": stored[WORDS][1], "use_encoder_pooler": True}
    config, assumed = merged_config(origin, found, run)
    shapes = encoder_shapes(config)
    if head and "output_weights" in stored:
        outputs = stored["output_weights"][0]
        shapes |= {"classifier/out_proj/kernel": (config.hidden_size, outputs), "classifier/out_proj/bias": (outputs,)}
    ignored = _ignored(origin, stored, {_key(name) for name in shapes}, head)
    weights = {}
    for name, shape in shapes.items():
        key = _key(name)
        wanted = _stored_shape(name, shape)
        if key not in stored:
            raise CheckpointError(
                f"{origin}: has no {key} for {name}, which {run.path} asks for; do they belong together?"
            )
        if tuple(stored[key]) != wanted:
            raise CheckpointError(
                f"{origin}: {key} has shape {stored[key]}, but {run.path} asks for {list(wanted)}; is it the right one?"
            )
        array = reader.weights(key)
        weights[name] = (array.T if key == "output_weights" else array).reshape(shape)
    assumed.pop("norm_first", None)  # It had none.
    notes = [*assumed.values(), _TOKENIZER]
    if "classifier/out_proj/kernel" in shapes:
        notes.append(_HEAD_NOTE)
    return Checkpoint(
        origin=origin,
        layout="TF1 checkpoint of google-research/bert",
        config=config,
        weights=weights,
        ignored=ignored,
        notes=tuple(notes),
        said_by={
            name: str(run.path) if name in run.fields else "google-research/bert"
            for name in FORMULA
            if name not in assumed
        },
        flavour="google_research",
    )


def _key(name: str) -> str:
    if name in _HEAD:
        return _HEAD[name]
    name = name.removeprefix("_network/")
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, leaf = name.rsplit("/", 1)
    if not layer.startswith("_transformer_layers/"):
        return f"{_LAYERS[layer]}/{leaf}"
    index, sublayer = layer.removeprefix("_transformer_layers/").split("/", 1)
    return f"bert/encoder/layer_{index}/{_LAYERS[sublayer]}/{leaf}"


def _stored_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if name == "classifier/out_proj/kernel":
        return shape[::-1]
    if name.endswith("/kernel"):
        inputs = 2 if name.endswith("_attention_layer/_output_dense/kernel") else 1
        return int(np.prod(shape[:inputs])), int(np.prod(shape[inputs:]))
    return (int(np.prod(shape)),) if name.endswith("/bias") else shape


def _ignored(origin: str, stored: dict[str, list[int]], used: set[str], head: bool) -> dict[str, str]:
    ignored, left_over = {}, []
    for key in sorted(stored.keys() - used):
        if key.endswith(("/adam_m", "/adam_v")):
            ignored[key] = "state of the optimizer"
        elif key == "global_step":
            ignored[key] = "counter of the training"
        elif key.startswith("cls/"):
            ignored[key] = "head of pretraining"
        elif key in _HEAD.values() and not head:
            ignored[key] = "head, to be trained anew"
        else:
            left_over.append(key)
    if left_over:
        raise CheckpointError(
            f"{origin}: {some(left_over)} would not be used, so the scores would be wrong; only the encoder, the head "
            "of run_classifier.py and Adam's state are understood"
        )
    return ignored
