"""Where files are: a local disk or gs://, compare-and-swap, local copies of bundles."""
