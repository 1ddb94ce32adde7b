"""AdamW on TensorFlow's fused Adam kernel.

Keras' AdamW makes a dozen passes over every variable of each step, which on CPU costs more than the gradients of
a small encoder with a large vocabulary.
"""

from typing import Any, TypeAlias

import tensorflow as tf

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-6
_CLIP_NORM = 1.0

Gradient: TypeAlias = Any
"""A tensor, IndexedSlices, or None of a variable that nothing depended on."""


class AdamW(tf.Module):
    """Decoupled weight decay (not on biases and LayerNorm), gradients clipped to a global norm of 1.

    Of a table only the rows that a step has looked up are changed by it (as in LazyAdam): half of a small network is
    its word embeddings, and a step meets a few hundred of them.
    """

    def __init__(self, variables: list[tf.Variable], *, weight_decay: float) -> None:
        super().__init__()
        self._variables = variables
        self._weight_decay = weight_decay
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._first = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self._second = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]

    def apply(self, gradients: list[Gradient], rate: tf.Tensor) -> None:
        """Changes the variables by one step of the learning rate `rate`; a variable without gradient stays."""
        clipped, _ = tf.clip_by_global_norm([_summed(gradient) for gradient in gradients], _CLIP_NORM)
        count = tf.cast(self._step.assign_add(1), tf.float32)
        powers = (_BETA_1**count, _BETA_2**count)
        for gradient, variable, first, second in zip(clipped, self._variables, self._first, self._second, strict=True):
            decays = not variable.name.endswith(("bias:0", "gamma:0", "beta:0"))
            decay = rate * self._weight_decay if decays else tf.constant(0.0)
            if isinstance(gradient, tf.IndexedSlices):
                _change_rows(variable, first, second, gradient, rate, decay, powers)
            elif gradient is not None:
                if decays:
                    variable.assign_sub(decay * variable)
                tf.raw_ops.ResourceApplyAdam(
                    var=variable.handle,
                    m=first.handle,
                    v=second.handle,
                    beta1_power=powers[0],
                    beta2_power=powers[1],
                    lr=rate,
                    beta1=_BETA_1,
                    beta2=_BETA_2,
                    epsilon=_EPSILON,
                    grad=gradient,
                )


def _change_rows(
    variable: tf.Variable,
    first: tf.Variable,
    second: tf.Variable,
    gradient: tf.IndexedSlices,
    rate: tf.Tensor,
    decay: tf.Tensor,
    powers: tuple[tf.Tensor, tf.Tensor],
) -> None:
    """What ResourceApplyAdam does, with the decay, for the rows of a gradient that has each of them once."""
    rows, values = gradient.indices, gradient.values
    mean = _BETA_1 * tf.gather(first, rows) + (1 - _BETA_1) * values
    square = _BETA_2 * tf.gather(second, rows) + (1 - _BETA_2) * tf.square(values)
    first.scatter_update(tf.IndexedSlices(mean, rows))
    second.scatter_update(tf.IndexedSlices(square, rows))
    corrected = rate * tf.sqrt(1 - powers[1]) / (1 - powers[0])
    change = decay * tf.gather(variable, rows) + corrected * mean / (tf.sqrt(square) + _EPSILON)
    variable.scatter_sub(tf.IndexedSlices(change, rows))


def _summed(gradient: Gradient) -> Gradient:
    """Adds up the rows that a look-up met more than once, before anything is clipped by their size."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)
