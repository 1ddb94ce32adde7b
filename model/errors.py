"""Errors that commands explain without importing TensorFlow."""


class CheckpointError(ValueError):
    """A checkpoint does not fit the model; the message names file, key, shape and way out."""
