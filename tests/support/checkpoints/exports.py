"""SavedModels of any network: those that their makers' libraries wrote, and tiny ones in every form."""

import atexit
import functools
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from support.commands import DATA
from tensorflow.core.protobuf import saved_model_pb2

from model.tokenizer.tokenization import SPECIAL_TOKENS

STORED = DATA / "saved_models"
CASES = json.loads((STORED / "cases.json").read_text(encoding="utf-8"))["cases"]
"""Made with Model Garden, Keras and TensorFlow: what each is, and whether it is to be scored or refused."""
SCORED = [name for name, case in CASES.items() if case["verdict"]["action"] != "refuse"]
USUAL = {"ids": "input_word_ids", "mask": "input_mask", "types": "input_type_ids"}
VOCABULARY = 60
POSITIONS = 48


@functools.cache
def cases() -> Path:
    """The folder with the stored cases, unpacked once a process."""
    folder = Path(tempfile.mkdtemp(prefix="saved-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with tarfile.open(STORED / "cases.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return folder


class Case(NamedTuple):
    """A stored case: the flags of its import, its rows of ids, and what the maker's function gives for them."""

    path: Path
    flags: dict[str, Any]
    texts: list[list[str]]
    tokens: list[list[int]]
    first_segment: list[int]
    wanted: np.ndarray
    probabilities: bool

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.flags.get("labels", "").split(",")) if "labels" in self.flags else ()


def stored_case(name: str) -> Case:
    """One of CASES."""
    folder, described = cases() / name, CASES[name]
    inputs, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    ((output, (_, (_, count))),) = described["outputs"].items()
    probabilities = described["verdict"].get("output") == "probabilities"
    flags: dict[str, Any] = {"as_exported": True, "vocabulary": str(folder / "vocab.txt"), "segments": 2}
    if count > 1:
        flags["labels"] = ",".join(f"label {number}" for number in range(count))
    if "inputs" in described["verdict"]:
        roles = {name: role for role, name in USUAL.items()}
        flags["inputs"] = ",".join(f"{roles[is_]}={key}" for key, is_ in described["verdict"]["inputs"].items())
    if output != "logits":
        flags["outputs_are"] = "probabilities" if probabilities else "logits"
    lengths = inputs["input_mask"].sum(axis=1)
    rows = [row[:length].tolist() for row, length in zip(inputs["input_word_ids"], lengths, strict=True)]
    second = inputs["input_type_ids"].sum(axis=1)
    return Case(
        path=folder / "saved_model",
        flags=flags,
        texts=json.loads((folder / "texts.json").read_text(encoding="utf-8")),
        tokens=rows,
        first_segment=(lengths - second).tolist(),
        wanted=outputs[f"batch/{output}"],
        probabilities=probabilities,
    )


def write_words(folder: Path, count: int = VOCABULARY) -> Path:
    """A vocabulary of so many tokens: the special ones, then w5, w6 and so on as words of letters."""
    words = [f"w{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(count - len(SPECIAL_TOKENS))]
    path = folder / "vocab.txt"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{token}\n" for token in (*SPECIAL_TOKENS, *words)), encoding="utf-8")
    return path


Logits = Callable[["Tiny", tf.Tensor, tf.Tensor], tf.Tensor]


class Tiny(tf.Module):
    """A masked mean of word, position and type vectors, and a head: `[B, T]` three times -> `[B, outputs]`.

    `logits` may stand in place of the mean and the head, to spoil them.
    """

    def __init__(self, outputs: int = 3, *, vocabulary: int = VOCABULARY, logits: Logits | None = None) -> None:
        super().__init__()
        rng = np.random.default_rng(5)
        sizes = {"words": (vocabulary, 8), "positions": (POSITIONS, 8), "types": (2, 8), "head": (8, outputs)}
        parts = {name: tf.Variable(rng.normal(size=size), dtype=tf.float32, name=name) for name, size in sizes.items()}
        self.words, self.positions, self.types, self.head = parts.values()
        self._logits = logits or Tiny.sound

    def __call__(self, ids: tf.Tensor, mask: tf.Tensor, types: tf.Tensor) -> tf.Tensor:
        width = tf.shape(ids)[1]
        tf.debugging.assert_less_equal(width, POSITIONS)
        rows = tf.gather(self.words, ids) + self.positions[:width] + tf.gather(self.types, types)
        return self._logits(self, rows, tf.cast(mask, tf.float32)[:, :, tf.newaxis])

    def sound(self, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return 3 * tf.tanh(tf.reduce_sum(rows * mask, 1) / tf.reduce_sum(mask, 1)) @ self.head


def mean_with_padding(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tf.tanh(tf.reduce_mean(rows, 1)) @ tiny.head


def constant(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return 0 * tiny.sound(rows, mask)


def partly_masked(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tiny.sound(rows, mask) + mean_with_padding(tiny, rows, mask)


def sees_its_neighbour(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """As MobileBERT: the vector behind each token is a part of it, and zero beyond the end of the tensor."""
    behind = tf.pad(rows, [[0, 0], [0, 1], [0, 0]])[:, 1:]
    return tiny.sound(rows + behind, mask)


def over_the_batch(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    found = tiny.sound(rows, mask)
    return found - tf.reduce_mean(found, 0)


def by_place(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    found = tiny.sound(rows, mask)
    return found + tf.cast(tf.range(tf.shape(found)[0]) % 2, tf.float32)[:, tf.newaxis]


def by_chance(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tf.nn.dropout(tiny.sound(rows, mask), 0.1)


def for_each_token(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return rows @ tiny.head


def softmax(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax(tiny.sound(rows, mask))


def sigmoid(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tf.sigmoid(tiny.sound(rows, mask))


def reads_a_file(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tiny.sound(rows, mask) + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def runs_python(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.py_function(lambda one: one, [tiny.sound(rows, mask)], tf.float32), [None, 3])


def counts_its_calls(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    tiny.head.assign_add(tf.zeros_like(tiny.head))
    return tiny.sound(rows, mask)


class Inverted(Tiny):
    """Counts the padding and leaves the tokens out."""

    def __call__(self, ids: tf.Tensor, mask: tf.Tensor, types: tf.Tensor) -> tf.Tensor:
        return super().__call__(ids, 1 - tf.cast(mask, tf.int32), types)


class Clamped(Tiny):
    """Takes the last row of its table for whatever lies beyond it, as what XLA compiles does."""

    def __call__(self, ids: tf.Tensor, mask: tf.Tensor, types: tf.Tensor) -> tf.Tensor:
        return super().__call__(tf.clip_by_value(ids, 0, self.words.shape[0] - 1), mask, types)


class OneHot(Tiny):
    """Has no vector at all for what lies beyond its table."""

    def __call__(self, ids: tf.Tensor, mask: tf.Tensor, types: tf.Tensor) -> tf.Tensor:
        width, counted = tf.shape(ids)[1], tf.cast(mask, tf.float32)[:, :, tf.newaxis]
        words = tf.one_hot(ids, self.words.shape[0]) @ self.words
        return self.sound(words + self.positions[:width] + tf.gather(self.types, types), counted)


def by_xla(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tf.function(tiny.sound, jit_compile=True, autograph=False)(rows, mask)


def in_a_batch_of_one(tiny: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tiny.sound(rows, mask), [1, 3])


def edit(path: Path, change: Callable[[Any], None]) -> Path:
    """Changes the graph that a SavedModel at `path` serves, in place."""
    file = path / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(content.meta_graphs[0])
    file.write_bytes(content.SerializeToString())
    return path


def signatures_of(meta: Any) -> Any:
    """The object of a served graph whose children are called by the names of the signatures."""
    (child,) = (child for child in meta.object_graph_def.nodes[0].children if child.local_name == "signatures")
    return meta.object_graph_def.nodes[child.node_id]


def write_export(
    path: Path,
    tiny: Tiny | None = None,
    *,
    names: dict[str, str] | None = None,
    types: dict[str, tf.DType] | None = None,
    batch: int | None = None,
    length: int | None = None,
    lengths: dict[str, int] | None = None,
    output: str = "scores",
    more: Callable[[tf.Tensor], dict[str, tf.Tensor]] = lambda found: {},
    signature: str = "serving_default",
) -> Path:
    """Writes a SavedModel with one signature; `names` has the inputs that it takes, the others are made of the ids."""
    tiny = tiny or Tiny()
    names, kinds = names or USUAL, types or {}
    shapes = {role: [batch, (lengths or {}).get(role, length)] for role in names}
    specs = {role: tf.TensorSpec(shapes[role], kinds.get(role, tf.int32), name) for role, name in names.items()}

    def serve(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        given = {role: inputs[name] for role, name in names.items()}
        ids = tf.cast(given["ids"], tf.int64 if kinds.get("ids") == tf.int64 else tf.int32)
        if lengths:
            given = {role: one[:, : min(lengths.values())] for role, one in given.items()}
            ids = given["ids"]
        mask = given.get("mask", tf.cast(tf.not_equal(ids, 0), tf.int32))
        segments = tf.cast(given["types"], tf.int32) if "types" in given else tf.zeros_like(ids, tf.int32)
        found = tiny(ids, mask, segments)
        return {output: found, **more(found)}

    specification = {name: specs[role] for role, name in names.items()}
    tiny.serve = tf.function(serve, input_signature=[specification], autograph=False)
    tf.saved_model.save(tiny, str(path), signatures={signature: tiny.serve})
    return path
