"""The contestants, one module each: live processes that answer requests."""
