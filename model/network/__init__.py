"""The BERT encoder and its classification or regression head, as Keras models."""
