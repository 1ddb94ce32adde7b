"""Dataflow: from a profile to Beam's options, and what is refused before it costs money."""
