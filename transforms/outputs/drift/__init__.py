"""Drift: how far the summary of a night is from those of earlier dates and from the baseline of the bundle."""
