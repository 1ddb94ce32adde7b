"""The Keras classifier (attribute for attribute the Model Garden's) under tf.function, on padded rows."""

import time

import numpy as np
import tensorflow as tf

from benchmarks.harness.turns import Reply, serve
from benchmarks.workloads.steps import padded
from model.checkpoints.checkpoint import build_from
from model.checkpoints.hugging_face import read_hugging_face
from model.network.encoder import INPUT_NAMES

_MODEL = {}


def load(folder: str) -> Reply:
    classifier = build_from(read_hugging_face(folder))
    specs = {name: tf.TensorSpec([None, None], tf.int32) for name in INPUT_NAMES}
    _MODEL["forward"] = tf.function(lambda inputs: classifier(inputs, training=False), input_signature=[specs])
    return {}


def step(rows: int, width: int, seed: int) -> Reply:
    ids = padded(rows, width, seed)
    inputs = {"input_word_ids": ids, "input_mask": np.ones_like(ids), "input_type_ids": np.zeros_like(ids)}
    start = time.perf_counter()
    logits = _MODEL["forward"]({name: tf.constant(array) for name, array in inputs.items()}).numpy()
    return {"seconds": time.perf_counter() - start, "logits": logits.tolist()}


serve({"load": load, "step": step})
