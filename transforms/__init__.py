"""The steps of the job, one verb a file. Whoever imports one runs this first, workers too: before TensorFlow starts."""

import os

# Otherwise the first process on a GPU takes all its memory. TensorFlow reads it with the first operation, and that is
# long before the model is loaded; its own setter would come too late.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
