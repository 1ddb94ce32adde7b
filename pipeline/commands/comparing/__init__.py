"""`bert-batch compare`."""
