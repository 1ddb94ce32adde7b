"""Every way in which a SavedModel cannot be scored as it was exported."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from support.checkpoints.exports import (
    Clamped,
    Tiny,
    by_chance,
    by_xla,
    constant,
    counts_its_calls,
    edit,
    for_each_token,
    in_a_batch_of_one,
    mean_with_padding,
    over_the_batch,
    partly_masked,
    reads_a_file,
    sees_its_neighbour,
    sigmoid,
    signatures_of,
    softmax,
    write_export,
    write_words,
)


class Refusal(NamedTuple):
    spoil: Callable[[], object]
    flags: str


def own(network: Callable[[], Tiny] = Tiny, **settings: Any) -> Callable[[], object]:
    """Writes the SavedModel `own` and its vocabulary."""

    def write() -> None:
        write_words(Path())
        write_export(Path("own"), network(), **settings)

    return write


def spoiled(logits: Callable[..., tf.Tensor], outputs: int = 3) -> Callable[[], Tiny]:
    return lambda: Tiny(outputs, logits=logits)


def with_a_table() -> Tiny:
    keys = tf.range(60, dtype=tf.int32)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, keys), 1)
    network = Tiny()
    network.table = table

    def logits(it: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return it.sound(rows, mask) + tf.cast(table.lookup(0 * tf.shape(rows)[:1]), tf.float32)

    network._logits = logits
    return network


class WritesWhenLoaded(tf.saved_model.experimental.TrackableResource):
    """A resource whose making writes a file."""

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64)

    def _initialize(self) -> None:
        tf.io.write_file("touched", "x")


def writes_when_loaded() -> Tiny:
    network = Tiny()
    network.resource = WritesWhenLoaded()
    network.resource.resource_handle  # noqa: B018
    return network


def of_one_row(network: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    found = network.sound(rows, mask)
    with tf.control_dependencies([tf.debugging.assert_less(tf.shape(rows)[0], 12)]):
        return tf.cond(tf.shape(rows)[1] > 40, lambda: tf.reshape(found, [3, -1]), lambda: found)


def infinite(network: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return network.sound(rows, mask) / tf.zeros([])


def nan_weights() -> Tiny:
    network = Tiny()
    network.head.assign(network.head * float("nan"))
    return network


def two_rows(network: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return network.sound(rows, mask)[:1]


def never(network: Tiny, rows: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(rows)[0], 2)]):
        return network.sound(rows, mask)


def no_serve() -> None:
    own()()
    Path("own/saved_model.pb").write_bytes(b"")


def uncalled() -> None:
    own()()
    edit(Path("own"), lambda meta: signatures_of(meta).ClearField("children"))


def listed_otherwise() -> None:
    def rename(meta: Any) -> None:
        outputs = meta.signature_def["serving_default"].outputs
        outputs["topic"].CopyFrom(outputs["scores"])
        del outputs["scores"]

    own()()
    edit(Path("own"), rename)


def pad_is_5() -> None:
    own(names={"ids": "input_word_ids"}, length=20)()
    first, *others = Path("vocab.txt").read_text().split()
    Path("vocab.txt").write_text("".join(f"{token}\n" for token in (*others[:5], first, *others[5:])))


def small_ids() -> None:
    write_export(Path("own"), Tiny(vocabulary=300), types={"ids": tf.uint8})
    write_words(Path(), 300)


PLAIN = {"ids": "input_1", "mask": "input_2", "types": "input_3"}
IMPORT = "own --as-exported --vocabulary vocab.txt --labels a,b,c"
USUAL = f"{IMPORT} --outputs-are logits"
EXPORTED = [
    Refusal(lambda: None, "hf --as-exported"),
    Refusal(lambda: (own()(), Path("own/saved_model.pb").write_bytes(b"\xff\xff no")), USUAL),
    Refusal(no_serve, USUAL),
    Refusal(own(signature="mine"), f"{USUAL} --signature serve"),
    Refusal(own(names=PLAIN), USUAL),
    Refusal(own(names=PLAIN), f"{USUAL} --inputs ids=input_1,mask=input_2"),
    Refusal(own(names=PLAIN), f"{USUAL} --inputs ids=input_0,mask=input_2,types=input_3"),
    Refusal(own(types={"ids": tf.float32}), USUAL),
    Refusal(own(batch=4), USUAL),
    Refusal(own(lengths={"ids": 20, "mask": 24, "types": 24}), USUAL),
    Refusal(own(), IMPORT),
    Refusal(own(output="topic", more=lambda found: {"tone": -found}), USUAL),
    Refusal(own(spoiled(for_each_token)), USUAL),
    Refusal(own(spoiled(reads_a_file)), USUAL),
    Refusal(own(spoiled(by_xla)), USUAL),
    Refusal(uncalled, USUAL),
    Refusal(own(writes_when_loaded), USUAL),
    Refusal(lambda: (own()(), os.remove("own/variables/variables.index")), USUAL),
    Refusal(listed_otherwise, USUAL),
    Refusal(own(with_a_table), USUAL),
    Refusal(own(nan_weights), USUAL),
    Refusal(own(spoiled(never)), USUAL),
    Refusal(own(spoiled(in_a_batch_of_one)), USUAL),
    Refusal(own(spoiled(two_rows)), USUAL),
    Refusal(small_ids, USUAL),
    Refusal(own(lambda: Tiny(vocabulary=50)), USUAL),
    Refusal(own(lambda: Clamped(vocabulary=50)), USUAL),
    Refusal(own(spoiled(of_one_row)), USUAL),
    Refusal(own(spoiled(infinite)), USUAL),
    Refusal(own(spoiled(by_chance)), USUAL),
    Refusal(own(spoiled(over_the_batch)), USUAL),
    Refusal(own(spoiled(sees_its_neighbour)), USUAL),
    Refusal(own(spoiled(mean_with_padding)), USUAL),
    Refusal(own(spoiled(constant)), USUAL),
    Refusal(own(spoiled(partly_masked), length=20), USUAL),
    Refusal(pad_is_5, USUAL),
    Refusal(own(spoiled(counts_its_calls)), USUAL),
    Refusal(own(length=20), f"{USUAL} --max-tokens 21"),
    Refusal(own(names={"ids": "input_word_ids"}), f"{USUAL} --segments 2"),
    Refusal(own(), f"{USUAL} --norm-first"),
    Refusal(own(), f"{IMPORT} --outputs-are probabilities"),
    Refusal(own(spoiled(sigmoid)), f"{IMPORT} --outputs-are probabilities"),
    Refusal(own(spoiled(softmax)), f"{IMPORT} --outputs-are probabilities --long-texts windows"),
    Refusal(own(spoiled(softmax), output="logits"), IMPORT),
    Refusal(
        own(spoiled(sigmoid, 1)),
        "own --as-exported --vocabulary vocab.txt --outputs-are probabilities --activation sigmoid",
    ),
]
