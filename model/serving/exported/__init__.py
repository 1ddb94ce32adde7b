"""Networks of any architecture behind the signature of a bundle: read, tried, and computed by their own graph."""
