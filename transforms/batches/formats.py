"""Formats of input files by their names, and default limits. Imports nothing, because --help shows them at once."""

FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
LONGEST_TEXT = 16 * 1024 * 1024
"""Bytes of one text at most, unless the job says otherwise: tokenizing takes some fifty times as much memory."""
MAX_RECORD_LINES = 1_000
"""Lines of one quoted field at most, unless the job says otherwise."""
