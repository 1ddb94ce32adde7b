"""Flags in, exit code out. What is heavy to import is imported inside functions."""
