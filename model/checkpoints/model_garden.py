"""TensorFlow checkpoints with an object graph, as Model Garden and Keras write them.

Stored keys are accidents of the layout; what counts is the graph beside them, walked here by attribute name. It is
the same for `Checkpoint(model=…)`, the trainer's layout, `save_weights`, a SavedModel's variables and a lone encoder.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from model.checkpoints.checkpoint import Checkpoint, some
from model.checkpoints.run_configs import FORMULA, RunConfig, merged_config
from model.checkpoints.stored_variables import Stored
from model.errors import CheckpointError

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

# Edges that lead to nodes which also have a name of their own.
_SECOND_NAMES = ("layer-", "layer_with_weights-", "_cls_head", "_config", "_position_embeddings", "keras_api")
_LISTS = ("variables", "trainable_variables", "regularization_losses", "inputs")

# The layers of an encoder. One with others, which need not have weights (Funnel's pooling), is no BERT.
_PARTS = {
    "_embedding_layer",
    "_position_embedding_layer",
    "_type_embedding_layer",
    "_embedding_norm_layer",
    "_transformer_layers",
    "_attention_mask_layer",
    "_pooler_layer",
}

# First part of a stored key -> why nobody misses it in the model.
_IGNORED = {
    "optimizer": "state of the optimizer",
    "global_step": "counter of the training",
    "save_counter": "counter of the training",
    "masked_lm": "head of pretraining",
    "next_sentence..pooler_dense": "head of pretraining",
}

Node = int  # place in the list of nodes


def read_model_garden(prefix: str | Path, run: RunConfig | None, *, head: bool = True) -> Checkpoint:
    """Reads the checkpoint `prefix` in any of its layouts.

    Sizes come from the shapes; what shapes cannot say (activation, norm_first) from `run`. Without `head` only the
    encoder is read. Raises CheckpointError, also for a model variable that would be left over.
    """
    stored = Stored(prefix)
    origin = stored.origin
    graph = _Graph(origin, stored.get(GRAPH))
    layout, encoder, classifier = graph.find()
    keys = {f"_network/{name}": key for name, key in graph.encoder(encoder).items()}
    if classifier is not None and head:
        keys |= {f"classifier/{name}": key for name, key in graph.below(classifier).items()}
    unwanted = _names(graph, classifier, head)
    pooler = _pretrained_pooler(stored, graph, keys)
    unwanted |= {keys[name]: "the encoder's own pooler, which pretraining did not use" for name in pooler}
    keys |= pooler
    ignored = _ignored(stored, graph, set(keys.values()), unwanted)
    weights = {name: stored.weights(key) for name, key in keys.items()}
    found = _sizes(origin, weights)
    has_head = classifier is not None and head
    if has_head:
        found["use_encoder_pooler"] = "classifier/dense/kernel" not in weights
    elif run:
        run = RunConfig(path=run.path, fields={k: v for k, v in run.fields.items() if k != "use_encoder_pooler"})
    config, assumed = merged_config(origin, found, run)
    notes = [*assumed.values(), *(_head_notes(weights, run) if has_head else [])]
    checkpoint = Checkpoint(
        origin=origin,
        layout=layout,
        config=config,
        weights=weights,
        ignored=ignored,
        notes=tuple(notes),
        said_by={name: str(run.path) for name in FORMULA if run and name not in assumed},
        lower_case=run.lower_case if run else None,
        seq_length=run.seq_length if run else None,
        text_fields=run.text_fields if run else (),
    )
    if run and run.num_classes and checkpoint.outputs not in (None, run.num_classes):
        raise CheckpointError(
            f"{run.path}: num_classes is {run.num_classes}, but the head in {origin} has {checkpoint.outputs} outputs; "
            "does the file belong to this checkpoint?"
        )
    return checkpoint


def _head_notes(weights: Mapping[str, np.ndarray], run: RunConfig | None) -> list[str]:
    """What a head computes is in no checkpoint; one is sure of a task alone, which says use_encoder_pooler."""
    if "classifier/kernel" in weights:
        return ["head: one Dense layer, assumed to read the encoder's pooled output and to have no activation"]
    if run and "use_encoder_pooler" in run.fields:
        return []
    form = "read the encoder's pooled output"
    if "classifier/dense/kernel" in weights:
        form = "have a pooling layer of its own, which reads the first token and ends with tanh"
    return [f"head: assumed to {form}, as BertClassifier's own does (no file says use_encoder_pooler)"]


class _Graph:
    """The object graph of a checkpoint: nodes with named edges, and variables at the ends."""

    def __init__(self, origin: str, serialized: bytes) -> None:
        self._origin = origin
        self._nodes = TrackableObjectGraph.FromString(serialized).nodes
        self.root = 0

    def children(self, node: Node) -> dict[str, Node]:
        return {child.local_name: child.node_id for child in self._nodes[node].children}

    def find(self) -> tuple[str, Node, Node | None]:
        """Name of the layout, the encoder's node, and the head's node or None."""
        top = self.children(self.root)
        trainer = ", trainer layout" if "global_step" in top else ""
        exported = ", SavedModel" if "signatures" in top else ""
        for name, holder in (("model", top.get("model")), ("root", self.root)):
            inside = self.children(holder) if holder is not None else {}
            layers = self._keras_layers(inside)
            old = self._is_old_classifier(layers)
            network = inside.get("_network", layers[0] if old else None)
            classifier = inside.get("classifier", layers[-1] if old else None)
            if holder is not None and network is not None and classifier is not None:
                return f"Model Garden classifier at {name}{trainer}{exported}", network, classifier
            if holder is not None and self._is_encoder(inside):
                return f"Model Garden encoder at {name}{trainer}{exported}", holder, None
        if "encoder" in top:
            return f"Model Garden encoder{trainer}{exported}", top["encoder"], None
        raise CheckpointError(
            f"{self._origin}: its object graph has {some(sorted(top))} at the top, and no BERT encoder below model, "
            "encoder or the top itself; save it with tf.train.Checkpoint(model=classifier)"
        )

    def encoder(self, node: Node) -> dict[str, str]:
        """Canonical name below the encoder -> stored key."""
        inside = self.children(node)
        if not self._is_encoder(inside):
            raise CheckpointError(
                f"{self._origin}: its encoder has {some(sorted(inside))}, but no embedding layer and transformer "
                "layers; only BertEncoder and BertEncoderV2 can be loaded: bring one, or use --as-exported"
            )
        if odd := sorted(name for name in inside.keys() - _PARTS if name.startswith("_") and "layer" in name):
            raise CheckpointError(
                f"{self._origin}: its encoder has {some(odd)}, a part that no BERT has, so it computes something else; "
                "only BertEncoder and BertEncoderV2 can be loaded: bring one, or use --as-exported"
            )
        if "_embedding_layer" in inside:
            return self.below(node)
        return self._old_encoder(self._keras_layers(inside))

    def below(self, node: Node, path: str = "", seen: set[Node] | None = None) -> dict[str, str]:
        """Attribute path -> stored key of every variable below `node`, each once."""
        seen = set() if seen is None else seen
        if node in seen:
            return {}
        seen.add(node)
        if keys := [a.checkpoint_key for a in self._nodes[node].attributes if a.name == "VARIABLE_VALUE"]:
            return {path: keys[0]}
        found: dict[str, str] = {}
        for name, child in self.children(node).items():
            if not name.startswith(_SECOND_NAMES) and name not in _LISTS:
                found |= self.below(child, f"{path}/{name}" if path else name, seen)
        return found

    def _keras_layers(self, inside: dict[str, Node]) -> list[Node]:
        """The layers with weights, in the order that Keras gave them."""
        name = "layer_with_weights-"
        layers: list[Node] = []
        while f"{name}{len(layers)}" in inside:
            layers.append(inside[f"{name}{len(layers)}"])
        return layers

    def _is_encoder(self, inside: dict[str, Node]) -> bool:
        layers = self._keras_layers(inside)
        is_old = any("_attention_layer" in self.children(layer) for layer in layers)
        return {"_embedding_layer", "_transformer_layers"} <= inside.keys() or is_old

    def _is_old_classifier(self, layers: list[Node]) -> bool:
        return len(layers) == 2 and self._is_encoder(self.children(layers[0]))

    def _old_encoder(self, layers: list[Node]) -> dict[str, str]:
        """Before attributes were tracked, an encoder had only numbered layers; each is known by what it holds."""
        names = ["_embedding_layer", "_position_embedding_layer", "_type_embedding_layer", "_embedding_norm_layer"]
        count = 0
        for layer in layers[len(names) :]:
            if "_attention_layer" in self.children(layer):
                names.append(f"_transformer_layers/{count}")
                count += 1
            else:
                names.append("_pooler_layer" if count else "_embedding_projection")
        return {
            f"{name}/{leaf}": key
            for name, layer in zip(names, layers, strict=True)
            for leaf, key in self.below(layer).items()
        }


def _names(graph: _Graph, classifier: Node | None, head: bool) -> dict[str, str]:
    """Stored keys of a head that is not wanted."""
    if head or classifier is None:
        return {}
    return dict.fromkeys(graph.below(classifier).values(), "head, to be trained anew")


def _pretrained_pooler(stored: Stored, graph: _Graph, keys: dict[str, str]) -> dict[str, str]:
    """The pooler of a next-sentence head, of the encoder's sizes: the one that a pretrainer of Model Garden trains."""
    node = graph.children(graph.root).get("next_sentence.pooler_dense")
    found = graph.below(node, "_network/_pooler_layer") if node is not None else {}
    fits = all(name in keys and stored.shapes[keys[name]] == stored.shapes[key] for name, key in found.items())
    return found if fits else {}


def _ignored(stored: Stored, graph: _Graph, used: set[str], unwanted: dict[str, str]) -> dict[str, str]:
    ignored, left_over = {}, []
    pretrainer = "masked_lm" in graph.children(graph.root) or any("masked_lm" in p for p in _second_level(graph))
    for key in sorted(stored.shapes.keys() - used - {GRAPH}):
        first = key.split("/")[0]
        if key in unwanted:
            ignored[key] = unwanted[key]
        elif first in _IGNORED:
            ignored[key] = _IGNORED[first]
        elif "/.OPTIMIZER_SLOT/" in key:
            ignored[key] = _IGNORED["optimizer"]
        elif pretrainer and key.startswith(("model/masked_lm/", "model/classification_heads/")):
            ignored[key] = _IGNORED["masked_lm"]
        else:
            left_over.append(key)
    if left_over:
        raise CheckpointError(
            f"{stored.origin}: {some(left_over)} would not be used, so the scores would be wrong; only a "
            "BertClassifier with the default head (or a Dense head), its encoder and its optimizer are understood"
        )
    return ignored


def _second_level(graph: _Graph) -> Iterator[set[str]]:
    for child in graph.children(graph.root).values():
        yield set(graph.children(child))


def _sizes(origin: str, weights: dict[str, np.ndarray]) -> dict[str, Any]:
    try:
        words = weights["_network/_embedding_layer/embeddings"].shape
        hidden, heads, _ = weights["_network/_transformer_layers/0/_attention_layer/_query_dense/kernel"].shape
        layers = {name.split("/")[2] for name in weights if name.startswith("_network/_transformer_layers/")}
        return {
            "vocab_size": words[0],
            "embedding_width": None if words[1] == hidden else words[1],
            "hidden_size": hidden,
            "num_layers": len(layers),
            "num_attention_heads": heads,
            "inner_dim": weights["_network/_transformer_layers/0/_intermediate_dense/bias"].shape[0],
            "max_sequence_length": weights["_network/_position_embedding_layer/embeddings"].shape[0],
            "type_vocab_size": weights["_network/_type_embedding_layer/embeddings"].shape[0],
        }
    except KeyError as error:
        raise CheckpointError(
            f"{origin}: has no weights for {error}; is it a BERT, and was the whole model saved?"
        ) from error
