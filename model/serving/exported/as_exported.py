"""AsExported: a network of any architecture behind the signature that bundles have, computed by its own graph.

Nothing is rewritten. The graph takes the rows of tokens that a ScoringGraph takes, pads them, makes mask and type ids,
and calls the function that its maker exported.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.errors import CheckpointError
from model.serving.exported.scores import TOLERANCE, Proof, difference
from model.serving.scoring_graph import SIGNATURE

Array = npt.NDArray[Any]
PROBABILITIES = "probabilities"


class Input(NamedTuple):
    """An input of a network: its name, and the type it asks for by TensorFlow's name."""

    name: str
    dtype: str


class Network(tf.Module):
    """A function of somebody else: int32 `[B, T]`, `[B]`, `[B]` (tokens, lengths, first segment) -> float32 `[B, C]`.

    `inputs` maps ids, mask (1 for tokens, 0 for padding) and types (1 from the first segment on, 0 for padding) to the
    inputs it has. `length` is the T that it asks for, None where any will do. `pad` stands behind the tokens.
    """

    def __init__(
        self,
        function: Callable[..., Mapping[str, tf.Tensor]],
        variables: list[tf.Variable],
        inputs: Mapping[str, Input],
        output: str,
        *,
        length: int | None,
        pad: int,
    ) -> None:
        super().__init__(name="as_exported")
        self._function, self._kept = function, variables
        self._inputs, self._output = dict(inputs), output
        self.length, self.pad = length, pad
        self.weights = sum(int(np.prod(variable.shape)) for variable in variables)
        specs = [tf.TensorSpec(shape, tf.int32) for shape in ([None, length], [None], [None])]
        self._raw = tf.function(self._scores, input_signature=specs, autograph=False)

    def _scores(
        self, tokens: tf.Tensor, lengths: tf.Tensor, first_segment: tf.Tensor, *, behind: bool = False
    ) -> tf.Tensor:
        place = tf.range(tf.shape(tokens)[1])
        is_token = place < lengths[:, tf.newaxis]
        known = {
            "ids": tokens if behind else tf.where(is_token, tokens, self.pad),
            "mask": is_token,
            "types": is_token & (place >= first_segment[:, tf.newaxis]),
        }
        given = {one.name: tf.cast(known[role], tf.as_dtype(one.dtype)) for role, one in self._inputs.items()}
        return tf.cast(self._function(**given)[self._output], tf.float32)

    def raw(self, tokens: Array, lengths: Array, first_segment: Array) -> Array:
        """What the function gives, in float32, whatever its shape; for trials, so on the CPU."""
        with tf.device("/CPU:0"):
            found: Array = self._raw(*(tf.constant(one, tf.int32) for one in (tokens, lengths, first_segment))).numpy()
        return found

    def raw_behind(self, tokens: Array, lengths: Array, first_segment: Array) -> Array:
        """The same, with the ids behind a row as they are given, in place of padding."""
        with tf.device("/CPU:0"):
            given = (tf.constant(one, tf.int32) for one in (tokens, lengths, first_segment))
            found: Array = self._scores(*given, behind=True).numpy()
        return found

    def __call__(self, tokens: tf.Tensor, lengths: tf.Tensor, first_segment: tf.Tensor) -> tf.Tensor:
        """The function itself, inside another graph."""
        return self._raw(tokens, lengths, first_segment)


class AsExported(tf.Module):
    """The exported network: rows of tokens -> logits and probabilities, logits and a value, or probabilities alone.

    Inputs and outputs of `score` are those of a ScoringGraph, and so are its errors; where the network gives
    probabilities there are no `logits`. There is no other signature: float32, by TensorFlow.
    """

    def __init__(self, network: Network, *, outputs: int, kind: str, activation: str, longest: int) -> None:
        """`kind`: logits or probabilities; `activation`: softmax, sigmoid or none; `longest`: the most tokens."""
        super().__init__(name="scoring_graph")
        self.network = network
        self._outputs, self._kind, self._activation, self._longest = outputs, kind, activation, longest
        specs = [tf.TensorSpec([None], tf.int32, name) for name in ("tokens", "lengths", "first_segment")]
        self.score = tf.function(self._score, input_signature=specs, autograph=False)

    def _score(self, tokens: tf.Tensor, lengths: tf.Tensor, first_segment: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies(self._checks(tokens, lengths)):
            width = self.network.length or tf.reduce_max(tf.concat([lengths, [1]], axis=0))
        places = (tf.cumsum(lengths) - lengths)[:, tf.newaxis] + tf.range(width)
        padded = tf.gather(tokens, tf.minimum(places, tf.size(tokens) - 1))
        found = self.network(padded, lengths, first_segment)
        scores = tf.reshape(found, [tf.size(lengths), self._outputs])
        if self._kind == PROBABILITIES:
            return {PROBABILITIES: scores} if self._outputs > 1 else {"value": scores[:, 0]}
        if self._outputs > 1:
            probabilities = tf.nn.softmax(scores) if self._activation == "softmax" else tf.sigmoid(scores)
            return {"logits": scores, PROBABILITIES: probabilities}
        value = scores[:, 0]
        return {"logits": scores, "value": tf.sigmoid(value) if self._activation == "sigmoid" else value}

    def _checks(self, tokens: tf.Tensor, lengths: tf.Tensor) -> list[tf.Operation]:
        too_long = f"a row has more than the {self._longest} tokens of the bundle; truncate it before scoring"
        return [
            tf.debugging.assert_less_equal(lengths, self._longest, too_long, summarize=3),
            tf.debugging.assert_positive(lengths, "a row has no tokens; every row needs at least [CLS]"),
            tf.debugging.assert_equal(tf.reduce_sum(lengths), tf.size(tokens), "lengths must add up to tokens"),
        ]

    def export(self, path: str | Path) -> None:
        """Writes a SavedModel whose signature "score" is `score`, with the variables that it needs and no others."""
        tf.saved_model.save(self, str(path), signatures={SIGNATURE: self.score})


def load_network(
    origin: str,
    path: str | Path,
    signature: str,
    inputs: Mapping[str, Input],
    output: str,
    *,
    length: int | None,
    pad: int,
) -> Network:
    """The function of a signature of the SavedModel at `path`, with its variables.

    Loading executes what the file says: whoever calls this has looked at its operations. Raises CheckpointError.
    """
    try:
        with tf.device("/CPU:0"):
            loaded = tf.saved_model.load(str(path))
    except Exception as error:
        # Anything may be in somebody else's file.
        raise CheckpointError(
            f"{path}: TensorFlow cannot load it ({type(error).__name__}): a file is damaged or "
            "missing, or it has operations of another library; copy it again, or export it with this version"
        ) from error
    function = loaded.signatures[signature]
    takes, gives = set(function.structured_input_signature[1]), function.structured_outputs
    if takes != {one.name for one in inputs.values()} or output not in gives:
        raise CheckpointError(
            f"{origin}: is listed with {', '.join(one.name for one in inputs.values())} and {output}, and its function "
            f"takes {', '.join(sorted(takes))} and gives {', '.join(sorted(gives))}; write it anew with "
            "tf.saved_model.save"
        )
    held = {id(handle) for handle in function.captured_inputs if handle.dtype in (tf.resource, tf.variant)}
    every = (node for node in tf.train.TrackableView(loaded).descendants() if isinstance(node, tf.Variable))
    variables = [variable for variable in every if id(variable.handle) in held]
    if len({id(variable.handle) for variable in variables}) < len(held):
        raise CheckpointError(
            f"{origin}: needs a resource that is no variable (a table, for example); export a signature from token ids "
            "to scores alone"
        )
    for variable in variables:
        if variable.dtype.is_floating and not np.isfinite(values := variable.numpy().astype(np.float64)).all():
            raise CheckpointError(
                f"{origin}: its variable {variable.name.split(':')[0]} has {int((~np.isfinite(values)).sum()):,} of "
                f"{values.size:,} weights that are NaN or infinite; bring an earlier export of the model"
            )
    return Network(function, variables, inputs, output, length=length, pad=pad)


def check_written(path: str | Path, proof: Proof) -> float:
    """By how much the graph that `export` wrote differs from its proof; raises CheckpointError if it does."""
    score = tf.saved_model.load(str(path)).signatures[SIGNATURE]
    rows = proof.rows
    flat = {"tokens": np.concatenate(rows.tokens), "lengths": rows.lengths, "first_segment": rows.first_segment}
    with tf.device("/CPU:0"):
        outputs = score(**{name: tf.constant(value, tf.int32) for name, value in flat.items()})
    found = next(outputs[name] for name in ("logits", PROBABILITIES, "value") if name in outputs)
    differs = difference(proof.scores, found.numpy().reshape(proof.scores.shape), probabilities=proof.probabilities)
    if not differs <= TOLERANCE:
        raise CheckpointError(
            f"{path}: the graph that was written scores otherwise than the one that was read (by {differs:.1e}); this "
            "version of TensorFlow cannot export this network"
        )
    return differs


def save_classifier(classifier: Any, path: str | Path) -> None:
    """Writes the graph of a Keras model, with dropout off, as a SavedModel whose inputs have the names of the model's.

    One output is called logits; several keep their names.
    """
    nest = classifier.input
    tensors = nest if isinstance(nest, Mapping) else {one.name: one for one in tf.nest.flatten(nest)}
    specs = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in tensors.items()}

    def serve(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        found = classifier(dict(inputs), training=False)
        if not isinstance(found, Mapping):
            parts = tf.nest.flatten(found)
            found = {"logits" if len(parts) == 1 else f"output_{i}": part for i, part in enumerate(parts)}
        elif len(found) == 1:
            found = {"logits": next(iter(found.values()))}
        return dict(found)

    holder = tf.Module()
    holder.variables_of_the_model = list(classifier.variables)
    holder.serve = tf.function(serve, input_signature=[specs], autograph=False)
    tf.saved_model.save(holder, str(path), signatures={"serving_default": holder.serve})
