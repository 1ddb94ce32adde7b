"""Weights that somebody else trained: read by name and complete, or refused."""
