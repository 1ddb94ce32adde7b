"""The fused graph that a bundle holds."""
