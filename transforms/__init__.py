"""The steps of the job, each named by a verb. This file runs first, on workers too, and so before TensorFlow starts."""

import os

# Otherwise the first process on a GPU takes all of its memory. TensorFlow reads the variable at its first operation,
# long before the model is loaded; a call of its own setter would come too late.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
