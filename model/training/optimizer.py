"""AdamW with a linear warm-up and decay, on TensorFlow's fused Adam kernel.

Keras' AdamW makes a dozen passes over every variable of each step, which on CPU costs more than the gradients of
a small encoder with a large vocabulary.
"""

import tensorflow as tf

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-6
_CLIP_NORM = 1.0


class AdamW(tf.Module):
    """Decoupled weight decay (not on biases and LayerNorm), gradients clipped to a global norm of 1.

    The learning rate rises linearly to `peak` over `warmup` steps and falls linearly to 0 at `steps`.
    """

    def __init__(
        self, variables: list[tf.Variable], *, peak: float, warmup: int, steps: int, weight_decay: float
    ) -> None:
        super().__init__()
        self._variables = variables
        self._peak, self._warmup, self._steps = peak, warmup, steps
        self._weight_decay = weight_decay
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._first = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self._second = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]

    def rate(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate of a step, counted from 0."""
        step = tf.cast(step, tf.float32)
        rise = (step + 1) / max(self._warmup, 1)
        fall = (self._steps - step) / max(self._steps - self._warmup, 1)
        return self._peak * tf.maximum(tf.minimum(rise, fall), 0.0)

    def apply(self, gradients: list[tf.Tensor | tf.IndexedSlices | None]) -> None:
        """Changes the variables by one step; a variable without gradient stays."""
        pairs = zip(gradients, self._variables, strict=True)
        dense = [None if g is None else _dense(g, v) for g, v in pairs]
        dense, _ = tf.clip_by_global_norm(dense, _CLIP_NORM)
        rate = self.rate(self._step)
        count = tf.cast(self._step.assign_add(1), tf.float32)
        for gradient, variable, first, second in zip(dense, self._variables, self._first, self._second, strict=True):
            if gradient is None:
                continue
            if not variable.name.endswith(("bias:0", "gamma:0", "beta:0")):
                variable.assign_sub(rate * self._weight_decay * variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=_BETA_1**count,
                beta2_power=_BETA_2**count,
                lr=rate,
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=_EPSILON,
                grad=gradient,
            )


def _dense(gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> tf.Tensor:
    """Adds up the rows that a look-up met more than once, before anything is clipped by their size."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, variable.shape[0])
    return gradient
