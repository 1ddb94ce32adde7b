"""Peak memory of a training by its number of rows: `python -m benchmarks.nightly.training_memory`.

Trains the smallest network for one epoch on 25,000 and on 100,000 rows of 60 words, each in a process of its own, and
fails where the larger training needs more than 1.2 times the memory of the smaller one.
"""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.paths import ROOT

FEW, MANY, WORDS, AT_MOST = 25_000, 100_000, 60, 1.2
KIB = 1024


def write_rows(path: Path, rows: int) -> None:
    """Texts of random words, one of which says the class."""
    draw = random.Random(rows)
    words = [f"word{i}" for i in range(2_000)]
    with pq.ParquetWriter(path, pa.schema([("id", pa.string()), ("text", pa.string()), ("label", pa.string())])) as out:
        for start in range(0, rows, 5_000):
            numbers = range(start, min(rows, start + 5_000))
            texts = [" ".join((f"class{i % 4}", *draw.choices(words, k=WORDS - 1))) for i in numbers]
            columns = {"id": [f"r{i}" for i in numbers], "text": texts, "label": [f"c{i % 4}" for i in numbers]}
            out.write_table(pa.table(columns))


def peak(folder: Path, rows: int) -> float:
    """MiB that a training of so many rows has had at most."""
    file = folder / f"{rows}.parquet"
    write_rows(file, rows)
    command = ["train", "--name", "n", "--input", str(file), "--id-column", "id", "--output", str(folder / str(rows))]
    command += ["--epochs", "1", "--batch-size", "128"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = os.posix_spawn(sys.executable, [sys.executable, "-m", "pipeline", *command], environment)
    _, status, used = os.wait4(process, 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"the training of {rows:,} rows ended with exit code {code}")
    return used.ru_maxrss / KIB


def main() -> None:
    """Prints both peaks; exits 1 if the larger training needs too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs=2, default=(FEW, MANY), metavar=("FEW", "MANY"))
    few, many = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        small, large = (peak(Path(folder), rows) for rows in (few, many))
    print(f"peak memory: {few:,} rows {small:,.0f} MiB, {many:,} rows {large:,.0f} MiB, ratio {large / small:.3f}")
    sys.exit(0 if large <= AT_MOST * small else f"above {AT_MOST}")


if __name__ == "__main__":
    main()
