"""Input files of the benchmarks, made once below .cache/bench."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.paths import CACHE
from benchmarks.workloads import corpora
from benchmarks.workloads.corpora import sample, texts

# In the names of files of texts, so that none is older than what it is made by.
RECIPES = hashlib.sha256(Path(corpora.__file__).read_bytes()).hexdigest()[:8]


def parquet(name: str, rows: int | None = None, *, sampled: int | None = None) -> Path:
    """A corpus, or its first rows, or `sampled` of them, as a Parquet file with columns id and text."""
    part = f"{rows or 'all'}" + (f"-{sampled}" if sampled else "")
    file = CACHE / "texts" / f"{name}-{part}-{RECIPES}.parquet"
    if not file.is_file():
        found = texts(name)[:rows]
        found = sample(found, sampled) if sampled else found
        file.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table({"id": [f"r{i}" for i in range(len(found))], "text": found})
        pq.write_table(table, file, row_group_size=65_536)
    return file


def repeated(rows: int, times: int) -> Path:
    """`times` files of distinct rows in one folder."""
    folder = CACHE / "texts" / f"growth-{rows}x{times}-{RECIPES}"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        found = texts("banking77_200k")[:rows]
        for copy in range(times):
            ids = [f"{copy}-{i}" for i in range(rows)]
            distinct = [f"{text} {copy}" for text in found]
            pq.write_table(pa.table({"id": ids, "text": distinct}), folder / f"{copy:02}.parquet")
    return folder
