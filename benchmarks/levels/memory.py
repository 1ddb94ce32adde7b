"""Peak memory of a whole command on rows that are much too large: `make bench-memory`.

Each file is made in a process of its own: a child's peak is never below what its parent has when it is started.
"""

import argparse
import base64
import csv
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.levels.growth import run
from benchmarks.paths import DEMO_BUNDLE, ROOT

LIMIT_MB = 1_500
"""Of 1,000,000 bytes."""
MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file of `rows` rows: `text_mb` is the size of one text, `kept_kb` of the kept value of every row."""

    suffix: str
    rows: int = 8
    text_mb: int = 0
    kept_kb: int = 0


CASES = {
    "a few rows": Case(suffix="parquet"),
    "JSONL, a text of 100 MB": Case(suffix="jsonl", text_mb=100),
    "JSONL, a text of 250 MB": Case(suffix="jsonl", text_mb=250),
    "CSV, a text of 100 MB": Case(suffix="csv", text_mb=100),
    "CSV, a text of 250 MB": Case(suffix="csv", text_mb=250),
    "CSV, a kept column of 300 KB, 2,048 rows": Case(suffix="csv", rows=2_048, kept_kb=300),
    "TSV, a text of 250 MB": Case(suffix="tsv", text_mb=250),
    "text, a line of 100 MB": Case(suffix="txt", text_mb=100),
    "text, a line of 250 MB": Case(suffix="txt", text_mb=250),
    "Parquet, a text of 100 MB": Case(suffix="parquet", text_mb=100),
    "Parquet, a text of 250 MB": Case(suffix="parquet", text_mb=250),
    "Parquet, a kept column of 300 KB, 2,048 rows": Case(suffix="parquet", rows=2_048, kept_kb=300),
    "Parquet, a kept column of 300 KB, 8,192 rows": Case(suffix="parquet", rows=8_192, kept_kb=300),
}
"""All that is large is random letters: what compresses well is small while it is read."""


def make(case: Case, file: Path) -> None:
    """Writes the file of a case; one large text stands between small ones."""
    draw = random.Random(0)
    texts = ["play some music"] * case.rows
    if case.text_mb:
        texts[case.rows // 2] = base64.b64encode(draw.randbytes(case.text_mb * MB * 3 // 4)).decode()
    kept = (base64.b64encode(draw.randbytes(case.kept_kb * 750)).decode() for _ in range(case.rows))
    rows = _rows(texts, kept)
    if case.suffix == "txt":
        file.write_text("".join(f"{text}\n" for text in texts))
    elif case.suffix in ("csv", "tsv"):
        with file.open("w", newline="") as out:
            written = csv.DictWriter(out, ["id", "text", "note"], delimiter="," if case.suffix == "csv" else "\t")
            written.writeheader()
            written.writerows(rows)
    elif case.suffix == "jsonl":
        with file.open("w") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(rows)), file)


def _rows(texts: list[str], kept: Iterator[str]) -> Iterator[dict[str, str]]:
    for number, (text, value) in enumerate(zip(texts, kept, strict=True)):
        yield {"id": f"r{number}", "text": text, "note": value}


def peak_mb(name: str, folder: Path) -> float:
    """Peak resident megabytes of `bert-batch score` with the demo bundle on the file of a case."""
    file = folder / f"in.{CASES[name].suffix}"
    subprocess.run([sys.executable, "-m", "benchmarks.levels.memory", "--make", name, str(file)], cwd=ROOT, check=True)
    command = [sys.executable, "-m", "pipeline", "score", "--bundle", str(DEMO_BUNDLE), "--input", str(file)]
    command += ["--output", str(folder / "out"), "--date", "2026-11-21", "--max-dead-fraction", "1"]
    _, mebibytes = run(command)
    file.unlink()
    return mebibytes * 1024 * 1024 / MB


def main() -> None:
    """Prints the peak of every case, and exits 1 if one is above the limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.levels.memory", description=main.__doc__)
    parser.add_argument("--make", nargs=2, metavar=("CASE", "FILE"), help="only write the file of a case")
    parser.add_argument("cases", nargs="*", help="those with one of these words in their names; all by default")
    given = parser.parse_args()
    if given.make:
        make(CASES[given.make[0]], Path(given.make[1]))
        return
    missed = []
    for name in CASES:
        if given.cases and not any(word in name for word in given.cases):
            continue
        with tempfile.TemporaryDirectory() as folder:
            peak = peak_mb(name, Path(folder))
        print(f"{name}: {peak:,.0f} MB (at most {LIMIT_MB:,})", flush=True)
        missed += [name] if peak > LIMIT_MB else []
    sys.exit("\n".join(f"above the limit: {name}" for name in missed) or 0)


if __name__ == "__main__":
    main()
