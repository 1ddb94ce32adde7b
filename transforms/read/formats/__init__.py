"""One module a file format: where its rows are, and how they are read."""
