"""Beam's runners: presets of options, and the processes that a command starts."""
