"""TensorFlow notes for each operation of a graph by which calls it was made; here every operation has the same note.

Below pytest a call stands sixty frames deep, and a network has thousands of operations: a tenth of the time in which
graphs are made. The note is shown in errors and written beside a SavedModel; nothing is computed from it.
"""

from typing import Any

from tensorflow.python.util import tf_stack


def one_stack_for_all() -> None:
    """Patches TensorFlow in this process."""
    kept = tf_stack.extract_stack()

    def extract_stack(stacklevel: int = 1) -> Any:
        return kept

    tf_stack.extract_stack = extract_stack
