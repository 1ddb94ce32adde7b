"""A SavedModel of any network: what a signature of it takes and gives, read as data, or a refusal.

Nothing is executed here. What the graph of the signature would do besides computing is refused before anybody loads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from model.errors import CheckpointError
from model.serving.exported.operations import check_operations

IDS, MASK, TYPES = "ids", "mask", "types"
LOGITS, PROBABILITIES = "logits", "probabilities"
KINDS = (LOGITS, PROBABILITIES)
NAMES = {
    IDS: ("input_word_ids", "input_ids"),
    MASK: ("input_mask", "attention_mask"),
    TYPES: ("input_type_ids", "token_type_ids", "segment_ids"),
}
"""What Model Garden, google-research and transformers call the inputs: these names say what an input is."""
DEFAULT = "serving_default"
_NO_SIGNATURES = ("__saved_model_init_op", "__saved_model_train_op")


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of a signature: `dtype` by TensorFlow's name; `shape` None where the rank is not known."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        shape = "unknown shape" if self.shape is None else [("None" if n is None else n) for n in self.shape]
        return f"{self.name} ({self.dtype}, {shape})".replace("'", "")


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A signature of the SavedModel at `path`: its inputs and outputs by name; `origin` is what errors call it.

    `keeps` is an operation by which one call changes the next, if there is one; `graph` is the whole file.
    """

    origin: str
    path: Path
    name: str
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    keeps: str | None
    graph: bytes

    @property
    def has_tokenizer(self) -> bool:
        """Whether another signature of the file tokenizes, as Model Garden does it."""
        return b"WordpieceTokenize" in self.graph


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """Which input of a signature takes what (`inputs`: ids, mask, types), and which output is given as what (`kind`).

    `length` is the one to which every row is padded, None where any will do; `said` whether a flag says the kind.
    """

    inputs: Mapping[str, Port]
    output: str
    kind: str
    said: bool
    length: int | None


def read_signature(path: str | Path, name: str | None = None) -> Signature:
    """The signature `name` of the SavedModel at `path`, by default the one that serves, or the only one.

    Raises CheckpointError, also for a graph that does more than compute.
    """
    path = Path(path)
    file = path / "saved_model.pb"
    if not file.is_file():
        raise CheckpointError(
            f"{path}: is no SavedModel, it has no saved_model.pb; only one can be scored as exported. Write it with "
            "tf.saved_model.save(model, folder), or leave --as-exported out"
        )
    data = file.read_bytes()
    meta = _meta_graph(file, data)
    found = {key: value for key, value in meta.signature_def.items() if key not in _NO_SIGNATURES}
    chosen = _choose(path, found, name)
    keeps = check_operations(path, chosen, meta, found[chosen].outputs.values())
    return Signature(
        origin=f"{path}, signature {chosen}",
        path=path,
        name=chosen,
        inputs={key: _port(key, info) for key, info in sorted(found[chosen].inputs.items())},
        outputs={key: _port(key, info) for key, info in sorted(found[chosen].outputs.items())},
        keeps=keeps,
        graph=data,
    )


def wire(signature: Signature, inputs: Mapping[str, str], output: str | None, kind: str | None) -> Wiring:
    """Decides what each input is and what the output means: by what is given, else by names that say it.

    `inputs` maps ids, mask and types to names, and is empty where nothing is given. Raises CheckpointError where
    nothing says it: an order of inputs is never taken for what they mean.
    """
    roles = _roles(signature, inputs)
    lengths = {_length(signature, port) for port in roles.values()} - {None}
    if len(lengths) > 1:
        raise CheckpointError(
            f"{signature.origin}: its inputs have different fixed lengths, {', '.join(map(str, roles.values()))}; "
            "export all of them with one length, or with None"
        )
    chosen = _output(signature, output)
    meant = kind or (chosen if chosen in KINDS else None)
    if meant is None:
        raise CheckpointError(
            f"{signature.origin}: its output {signature.outputs[chosen]} may be logits or probabilities, and nothing "
            "in the file says which; say it with --outputs-are logits, or --outputs-are probabilities"
        )
    return Wiring(inputs=roles, output=chosen, kind=meant, said=kind is not None, length=next(iter(lengths), None))


def _meta_graph(file: Path, data: bytes) -> Any:
    try:
        content = saved_model_pb2.SavedModel.FromString(data)
    except DecodeError as error:
        raise CheckpointError(f"{file}: is damaged, or no SavedModel; copy the whole folder again") from error
    served = [meta for meta in content.meta_graphs if "serve" in meta.meta_info_def.tags]
    if len(served) != 1 or not served[0].HasField("object_graph_def"):
        raise CheckpointError(
            f"{file}: has no graph to serve that TensorFlow 2 wrote; write it anew with tf.saved_model.save"
        )
    return served[0]


def _choose(path: Path, found: Mapping[str, Any], name: str | None) -> str:
    if name is None and len(found) == 1:
        return next(iter(found))
    wanted = name or DEFAULT
    if wanted not in found:
        there = f"its signatures are {', '.join(sorted(found))}: name one with --signature" if found else "it has none"
        raise CheckpointError(f"{path}: has no signature {wanted}; {there}")
    return wanted


def _port(name: str, info: Any) -> Port:
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim)
    return Port(name=name, dtype=tf.as_dtype(info.dtype).name, shape=shape)


def _roles(signature: Signature, given: Mapping[str, str]) -> dict[str, Port]:
    there = ", ".join(map(str, signature.inputs.values()))
    roles = dict(given)
    if not given:
        roles = {role: name for role, names in NAMES.items() for name in names if name in signature.inputs}
        if set(roles.values()) != set(signature.inputs) or IDS not in roles:
            raise CheckpointError(
                f"{signature.origin}: takes {there}, and these names do not say which has the token ids, the mask and "
                "the type ids; say it with --inputs ids=…,mask=…,types=… (no order is safe)"
            )
    if unknown := sorted(set(roles.values()) - signature.inputs.keys()):
        raise CheckpointError(f"--inputs: {signature.origin} has no input {', '.join(unknown)}; it takes {there}")
    if left_out := sorted(signature.inputs.keys() - set(roles.values())):
        raise CheckpointError(
            f"--inputs: does not say what the input {', '.join(left_out)} of {signature.origin} takes; it must be ids, "
            "mask or types: a network with other inputs cannot be scored"
        )
    found = {role: signature.inputs[name] for role, name in roles.items()}
    for role, port in found.items():
        kind = tf.as_dtype(port.dtype)
        if not (kind.is_integer or (role != IDS and (kind.is_floating or kind.is_bool))):
            raise CheckpointError(
                f"{signature.origin}: its input {port} takes no {role} as numbers; choose a signature that takes token "
                "ids with --signature, or export one"
            )
    return found


def _length(signature: Signature, port: Port) -> int | None:
    """The length that an input asks for; raises CheckpointError for one that is no batch of rows."""
    shape = (None, None) if port.shape is None else port.shape
    if len(shape) != 2 or shape[0] is not None:
        raise CheckpointError(
            f"{signature.origin}: its input {port} is no batch of any number of rows of tokens; export the signature "
            "with the shape [None, None], or [None, length]"
        )
    return shape[1]


def _output(signature: Signature, given: str | None) -> str:
    there = ", ".join(map(str, signature.outputs.values()))
    numbers = [
        name
        for name, port in signature.outputs.items()
        if tf.as_dtype(port.dtype).is_floating and (port.shape is None or len(port.shape) in (1, 2))
    ]
    if given is None and len(numbers) > 1:
        # Two names for the same thing: logits are what the other is made of.
        given = next((name for name in KINDS if name in numbers), None)
        if given is None:
            raise CheckpointError(
                f"{signature.origin}: gives {there}; say which one has the scores, and what they are, with "
                f"--outputs-are {numbers[0]}=logits, for example"
            )
    if not numbers or given not in (None, *numbers):
        raise CheckpointError(
            f"{signature.origin}: gives {there}; {f'{given} is no' if given else 'none of them is a'} batch of numbers "
            "for the rows, [None, outputs]: export the scores of each row, one for each label"
        )
    return given or numbers[0]


def check_keeps_nothing(signature: Signature) -> None:
    """Raises CheckpointError if one call changes what the next one gives: what the trials of a moment need not show."""
    if signature.keeps is not None:
        raise CheckpointError(
            f"{signature.origin}: has the operation {signature.keeps}, which changes its own weights while it scores; "
            "export it with training=False"
        )


def check_ids(signature: Signature, wiring: Wiring, vocabulary: int) -> None:
    """Raises CheckpointError if the type of the ids is too small for a vocabulary: its numbers begin anew."""
    port = wiring.inputs[IDS]
    if (most := int(tf.as_dtype(port.dtype).max)) < vocabulary - 1:
        raise CheckpointError(
            f"{signature.origin}: its input {port} holds ids up to {most:,}, and the vocabulary has {vocabulary:,} "
            "tokens; export it with int32 ids, or give the vocabulary that the model was trained with"
        )
