"""AdamW against the same rule in NumPy: dense variables whole, tables only in the rows that were looked up."""

import numpy as np
import pytest
import tensorflow as tf

from model.training.optimizer import AdamW


class Adam:
    """One array of plain AdamW; `rows` are those that a step changes."""

    def __init__(self, value: np.ndarray, decay: float) -> None:
        self.value, self.decay = value.astype(np.float64), decay
        self.mean, self.square = np.zeros_like(self.value), np.zeros_like(self.value)

    def step(self, gradient: np.ndarray, rate: float, count: int, rows: list[int]) -> None:
        for row in rows:
            self.mean[row] = 0.9 * self.mean[row] + 0.1 * gradient[row]
            self.square[row] = 0.999 * self.square[row] + 0.001 * gradient[row] ** 2
            corrected = rate * np.sqrt(1 - 0.999**count) / (1 - 0.9**count)
            self.value[row] -= rate * self.decay * self.value[row]
            self.value[row] -= corrected * self.mean[row] / (np.sqrt(self.square[row]) + 1e-6)


def test_steps_are_those_of_adamw_and_of_a_table_only_the_rows_looked_up() -> None:
    generator = np.random.default_rng(0)
    table = tf.Variable(generator.normal(size=(5, 3)).astype(np.float32), name="embeddings")
    kernel = tf.Variable(generator.normal(size=(3, 2)).astype(np.float32), name="kernel")
    bias = tf.Variable(generator.normal(size=2).astype(np.float32), name="bias")
    variables = [table, kernel, bias]
    expected = [Adam(v.numpy(), decay) for v, decay in zip(variables, (0.1, 0.1, 0.0), strict=True)]
    optimizer = AdamW(variables, weight_decay=0.1)
    for count, rows in enumerate([[1, 3, 1], [3], [0, 0]], 1):
        rate = 0.01 * count
        looked_up = generator.normal(size=(len(rows), 3)).astype(np.float32)
        dense = [generator.normal(size=v.shape).astype(np.float32) for v in (kernel, bias)]
        optimizer.apply([tf.IndexedSlices(looked_up, rows, [5, 3]), *map(tf.constant, dense)], tf.constant(rate))
        summed = np.zeros((5, 3))
        np.add.at(summed, rows, looked_up)
        norm = np.sqrt(sum(np.sum(np.square(g)) for g in (summed, *dense)))
        changed = (sorted(set(rows)), [0, 1, 2], [0, 1])
        for mine, gradient, those in zip(expected, (summed, *dense), changed, strict=True):
            mine.step(gradient / max(1.0, norm), rate, count, those)
    for variable, mine in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), mine.value, rtol=2e-5, atol=1e-6)


def test_a_variable_without_a_gradient_stays() -> None:
    variable = tf.Variable([1.0, 2.0], name="kernel")
    other = tf.Variable([1.0], name="bias")
    AdamW([variable, other], weight_decay=0.1).apply([None, tf.constant([1.0])], tf.constant(0.5))
    assert variable.numpy().tolist() == [1.0, 2.0]
    assert other.numpy() == pytest.approx(0.5, rel=1e-4)
